"""What the tests of the log share: batches to draw, and the log that they should leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from coterie.core.records import Put, Record, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState
from coterie.storage.frame import SECTOR
from coterie.storage.log_store import LogHeader, LogStore

OWNER = LogHeader(0xC1, 0xA1, "raft")
DIRECTORY = "data/log"
ALL_BYTES = 1 << 40


def entry(index: int, payload: bytes = b"x", *, term: int = 1, kind: EntryKind = EntryKind.COMMANDS) -> Entry:
    return Entry(index, Epoch(term, 0), kind, index * 3, payload)


FIRST = entry(1, b"the first entry", kind=EntryKind.MEMBERSHIP)


def put(*entries: Entry, mark: int = 1) -> StoreBatch:
    return StoreBatch(mark, (Put(entries),))


@dataclass
class Model:
    """A log as plain values."""

    entries: list[Entry] = field(default_factory=list)
    hard_state: HardState = field(default_factory=HardState)

    def copy(self) -> Model:
        return Model(list(self.entries), self.hard_state)

    def take(self, batches: Sequence[StoreBatch]) -> Model:
        """The log after these batches."""
        after = self.copy()
        for batch in batches:
            for record in batch.records:
                if isinstance(record, Put):
                    after.entries.extend(record.entries)
                elif isinstance(record, Truncate):
                    del after.entries[max(0, record.first - 1) :]
                else:
                    after.hard_state = record.state
        return after

    def recovered(self, base: Recovered) -> Recovered:
        """What recovery should say of it."""
        runs: list[tuple[int, Epoch]] = []
        for each in self.entries:
            if not runs or runs[-1][1] != each.epoch:
                runs.append((each.index, each.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=base.base,
            last_index=len(self.entries),
            epochs=tuple(runs),
            memberships=tuple(each for each in self.entries if each.kind is EntryKind.MEMBERSHIP),
        )


def content(store: LogStore) -> Model:
    """All that a store just opened holds, read back."""
    last = store.recovered.last_index
    entries = store.entries(1, last, ALL_BYTES) if last else []
    model = Model(list(entries), store.recovered.hard_state)
    assert store.recovered == model.recovered(store.recovered)
    return model


def holding(model: Model) -> tuple[list[Entry], HardState]:
    """A model as a value that compares."""
    return model.entries, model.hard_state


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
def batch_lists(draw: st.DrawFn, last: int) -> list[StoreBatch]:
    """Store batches of one write to a log that ends with entry `last`; entry 1 stays."""
    batches: list[StoreBatch] = []
    term = draw(st.integers(1, 4))
    for mark in range(1, draw(st.integers(1, 3)) + 1):
        records: list[Record] = []
        if draw(st.booleans()):
            records.append(SaveHardState(HardState(Epoch(draw(st.integers(0, 9)), 0), draw(st.integers(0, 3)))))
        if last > 1 and draw(st.integers(0, 3)) == 0:
            first = draw(st.integers(2, last + 1))
            records.append(Truncate(first))
            last = min(last, first - 1)
        values = draw(st.lists(payloads(), min_size=0 if records else 1, max_size=4))
        if values:
            kind = draw(st.sampled_from([EntryKind.COMMANDS, EntryKind.COMMANDS, EntryKind.MEMBERSHIP]))
            records.append(
                Put(tuple(entry(last + 1 + at, each, term=term, kind=kind) for at, each in enumerate(values)))
            )
            last += len(values)
        batches.append(StoreBatch(mark, tuple(records)))
    return batches
