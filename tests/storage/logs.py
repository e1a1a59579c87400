"""What the tests of the log share: batches to draw, and the log that they should leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from hypothesis import strategies as st

from coterie.core.records import Compact, Put, Record, Recovered, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.settings import Settings
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Member, Membership, SnapshotMeta
from coterie.storage.frame import SECTOR, Pledge
from coterie.storage.log_store import LogHeader, LogStore

OWNER = LogHeader(0xC1, 0xA1, "raft")
OVERWRITING_OWNER = LogHeader(0xC1, 0xA1, "multipaxos")
"""Whose logs overwrite slots, and begin after what they need not hold."""
DIRECTORY = "data/log"
ALL_BYTES = 1 << 40
PLEDGE = Pledge(Epoch(3, 9), 5, 77)
"""Of frames whose content does not matter."""


def entry(index: int, payload: bytes = b"x", *, term: int = 1, kind: EntryKind = EntryKind.COMMANDS) -> Entry:
    return Entry(index, Epoch(term, 0), kind, index * 3, payload)


FIRST = entry(1, b"the first entry", kind=EntryKind.MEMBERSHIP)


def base(index: int, *, term: int = 1, voters: int = 1) -> SnapshotMeta:
    """The state of a log at `index`, with so many voters."""
    members = tuple(Member(each, f"n{each}", "h:1", "h:2", each) for each in range(1, voters + 1))
    membership = Membership(members, tuple(member.id for member in members))
    return SnapshotMeta(index, Epoch(term, 0), membership, Settings(lease_reads=True))


EMPTY_BASE = SnapshotMeta(0, NO_EPOCH, Membership((), ()))


def put(*entries: Entry, mark: int = 1) -> StoreBatch:
    return StoreBatch(mark, (Put(entries),))


@dataclass
class Model:
    """A log as plain values."""

    entries: list[Entry] = field(default_factory=list)
    hard_state: HardState = field(default_factory=HardState)
    base: SnapshotMeta = EMPTY_BASE

    @property
    def last(self) -> int:
        return self.base.index + len(self.entries)

    def copy(self) -> Model:
        return Model(list(self.entries), self.hard_state, self.base)

    def take(self, batches: Sequence[StoreBatch]) -> Model:
        """The log after these batches."""
        after = self.copy()
        for batch in batches:
            for record in batch.records:
                after._take(record)
        return after

    def _take(self, record: Record) -> None:
        if isinstance(record, Put):
            for each in record.entries:
                place = each.index - self.base.index - 1
                assert 0 <= place <= len(self.entries)
                self.entries[place : place + 1] = [each]
        elif isinstance(record, Truncate):
            del self.entries[max(0, record.first - self.base.index - 1) :]
        elif isinstance(record, SaveHardState):
            self.hard_state = record.state
        else:
            kept = isinstance(record, Compact)
            self.entries = [each for each in self.entries if kept and each.index > record.base.index]
            self.base = record.base

    def recovered(self) -> Recovered:
        """What recovery should say of it."""
        runs: list[tuple[int, Epoch]] = []
        for each in self.entries:
            if not runs or runs[-1][1] != each.epoch:
                runs.append((each.index, each.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=self.base,
            last_index=self.last,
            epochs=tuple(runs),
            memberships=tuple(each for each in self.entries if each.kind is EntryKind.MEMBERSHIP),
            settings=tuple(each for each in self.entries if each.kind is EntryKind.SETTINGS),
        )


def content(store: LogStore) -> Model:
    """All that a store just opened holds, read back."""
    first, last = store.recovered.base.index + 1, store.recovered.last_index
    entries = store.entries(first, last, ALL_BYTES) if first <= last else []
    model = Model(list(entries), store.recovered.hard_state, store.recovered.base)
    assert store.recovered == model.recovered()
    return model


def holding(model: Model) -> tuple[SnapshotMeta, list[Entry], HardState]:
    """A model as a value that compares."""
    return model.base, model.entries, model.hard_state


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Values full of zeros, whole sectors of them, at the beginning, in the middle and at the end; and others."""
    pieces = st.one_of(
        st.binary(max_size=12),
        st.sampled_from([1, 40, 300, SECTOR - 1, SECTOR, SECTOR + 1, 2 * SECTOR, 5 * SECTOR]).map(bytes),
        st.sampled_from([100, 487, SECTOR, 1200]).map(lambda size: b"\x5a" * size),
        st.just(b"\x01"),
        st.just(b"\xff" * SECTOR),
    )
    return b"".join(draw(st.lists(pieces, max_size=4)))


@st.composite
def overwritings(draw: st.DrawFn, model: Model) -> Put:
    """Entries in the place of others, and perhaps beyond them; often just behind what was overwritten before."""
    first = draw(st.integers(model.base.index + 1, model.last))
    values = draw(st.lists(payloads(), min_size=1, max_size=6))
    kind = draw(st.sampled_from([EntryKind.COMMANDS, *EntryKind]))
    replaced = model.entries[first - model.base.index - 1 :][: len(values)]
    term = max(each.epoch.round for each in replaced) + draw(st.integers(1, 2))
    return Put(tuple(entry(first + at, each, term=term, kind=kind) for at, each in enumerate(values)))


@st.composite
def batch_lists(draw: st.DrawFn, model: Model, overwrite: bool = False) -> list[StoreBatch]:
    """Store batches of one write to a log that holds so much; a log that was never compacted keeps its entry 1,
    unless it is one in which entries may be overwritten."""
    batches: list[StoreBatch] = []
    term = draw(st.integers(1, 4))
    for mark in range(1, draw(st.integers(1, 3)) + 1):
        records: list[Record] = []
        if draw(st.booleans()):
            records.append(SaveHardState(HardState(Epoch(draw(st.integers(0, 9)), 0), draw(st.integers(0, 3)))))
        lowest = max(1 if overwrite else 2, model.base.index + 1)
        if model.last >= lowest and draw(st.integers(0, 3)) == 0:
            records.append(Truncate(draw(st.integers(lowest, model.last + 1))))
        model = model.take([StoreBatch(mark, tuple(records))])
        forgetting = draw(st.lists(forgets(model, overwrite), max_size=1))
        records += forgetting
        model = model.take([StoreBatch(mark, tuple(forgetting))])
        for _ in range(draw(st.integers(0, 3)) if overwrite else 0):
            if model.entries:
                records.append(draw(overwritings(model)))
                model = model.take([StoreBatch(mark, (records[-1],))])
        values = draw(st.lists(payloads(), min_size=0 if records else 1, max_size=4))
        if values:
            kind = draw(st.sampled_from([EntryKind.COMMANDS, *EntryKind]))
            entries = (entry(model.last + 1 + at, each, term=term, kind=kind) for at, each in enumerate(values))
            written = Put(tuple(entries))
            records.append(written)
            model = model.take([StoreBatch(mark, (written,))])
        batches.append(StoreBatch(mark, tuple(records)))
    return batches


@st.composite
def forgets(draw: st.DrawFn, model: Model, rebase: bool = False) -> Record:
    """A record by which such a log forgets entries; perhaps under a snapshot of something else than it holds."""
    voters = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        index = draw(st.integers(max(1, model.base.index - 3), model.last + 5))
        return Reset(base(index, term=draw(st.integers(1, 4)), voters=voters))
    index = draw(st.integers(model.base.index, model.last))
    epoch = model.entries[index - model.base.index - 1].epoch if index > model.base.index else model.base.epoch
    if rebase and draw(st.booleans()):
        epoch = Epoch(draw(st.integers(1, 4)), 0)
    return Compact(msgspec.structs.replace(base(index, voters=voters), epoch=epoch))
