"""The simulated world's own log against plain values: a slot by its index, and which of them carry a membership."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.records import Compact, Put, Record, Reset, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, Index, Membership, SnapshotMeta
from coterie.sim.shadow import NO_MEMBERSHIP, ShadowLog, membership_of, slot_of


def entry(index: Index, epoch: int, voter: int = 0) -> Entry:
    """With a voter, it carries a membership."""
    if voter:
        return Entry(index, Epoch(epoch, 0), EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(Membership((), (voter,))))
    return Entry(index, Epoch(epoch, 0), EntryKind.COMMANDS, 0, b"")


def snapshot(index: Index, epoch: int) -> SnapshotMeta:
    return SnapshotMeta(index, Epoch(epoch, 0), Membership((), (99,)))


@given(st.data())
def test_each_entry_replaces_its_own_slot_and_nothing_else(data: st.DataObject) -> None:
    log, base = ShadowLog(), 0
    model: dict[Index, Entry] = {}
    at_base = NO_MEMBERSHIP
    for epoch in range(1, data.draw(st.integers(1, 12)) + 1):
        last = base + len(model)
        record: Record
        match data.draw(st.sampled_from(["put", "put", "truncate", "compact", "reset"])):
            case "put":
                first = data.draw(st.integers(base + 1, last + 1))
                voters = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
                record = Put(tuple(entry(first + at, epoch, voter) for at, voter in enumerate(voters)))
                states = []
                for each in record.entries:
                    model[each.index] = each
                    states.append(dict(model))
                for state, _ in zip(states, log.steps(record), strict=True):
                    # A crash may leave so much of it, and that is a log.
                    assert [log.slot(index) for index in sorted(state)] == [slot_of(state[i]) for i in sorted(state)]
                continue
            case "truncate":
                first = data.draw(st.integers(base + 1, last + 1))
                record = Truncate(first)
                model = {index: each for index, each in model.items() if index < first}
            case "compact":
                base = data.draw(st.integers(base, last))
                record = Compact(snapshot(base, epoch))
                model = {index: each for index, each in model.items() if index > base}
                at_base = record.base.membership
            case _:
                base = last + data.draw(st.integers(0, 3))
                record = Reset(snapshot(base, epoch))
                model = {}
                at_base = record.base.membership
        log.apply(record)
    assert (log.base, log.last_index) == (base, base + len(model))
    assert log.slots == [slot_of(model[index]) for index in sorted(model)]
    carried = [(index, membership_of(model[index])) for index in sorted(model)]
    expected = [(index, membership) for index, membership in carried if membership is not None]
    assert log.memberships == [(log.memberships[0][0], at_base), *expected]


@pytest.mark.parametrize(("index", "epoch"), [(1, 9), (2, 3), (2, 2), (5, 9)])
def test_what_is_no_log_is_refused(index: Index, epoch: int) -> None:
    """Before its base, an epoch that is not higher, a gap."""
    log = ShadowLog()
    log.apply(Put(tuple(entry(at, 3) for at in (1, 2, 3))))
    log.apply(Compact(snapshot(1, 3)))
    with pytest.raises(ValueError, match=f"entry {index}"):
        log.put(index, slot_of(entry(index, epoch)))
    assert (log.base, log.last_index, log.epoch_at(2)) == (1, 3, Epoch(3, 0))
