"""What one member of the lab has stored: in memory, but it takes its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from coterie.core.config import MILLISECOND
from coterie.core.errors import SafetyViolation
from coterie.core.records import Put, Record, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Index,
    Mark,
    Membership,
    Nanos,
    SnapshotMeta,
)
from coterie.lab.clockwork import Clockwork
from coterie.lab.recording import Event, Kind
from coterie.lab.wording import write_words

WRITE_TIME: Nanos = 4 * MILLISECOND
NOTHING_BEFORE = SnapshotMeta(0, NO_EPOCH, Membership((), ()))
"""Where a log begins that was never compacted: in the lab, every log."""


class Medium:
    """Hard state and entries, in memory. It is the member's `LogReader`, too."""

    def __init__(self, first: Sequence[Entry]) -> None:
        self._hard_state = HardState()
        self.log = list(first)
        """The durable entries, the first with index 1."""

    def perform(self, records: Iterable[Record]) -> None:
        """Make these durable."""
        for record in records:
            if isinstance(record, SaveHardState):
                self._hard_state = record.state
            elif isinstance(record, Truncate):
                del self.log[record.first - 1 :]
            elif isinstance(record, Put):
                for entry in record.entries:
                    # As a slice it is right for a slot that is overwritten, and for the one after the last.
                    self.log[entry.index - 1 : entry.index] = [entry]
            else:
                raise SafetyViolation(f"the lab's logs are never compacted, but {type(record).__name__} is asked for")

    def recovered(self) -> Recovered:
        """What a process finds that starts on it."""
        runs: list[tuple[Index, Epoch]] = []
        for entry in self.log:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        return Recovered(
            hard_state=self._hard_state,
            base=NOTHING_BEFORE,
            last_index=len(self.log),
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.log if entry.kind is EntryKind.MEMBERSHIP),
            settings=tuple(entry for entry in self.log if entry.kind is EntryKind.SETTINGS),
        )

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        """See `LogReader.entries`."""
        found: list[Entry] = []
        size = 0
        for entry in self.log[first - 1 : last]:
            size += len(entry.payload)
            if found and size > limit_bytes:
                break
            found.append(entry)
        return found


class Disk(Medium):
    """A medium that takes its time.

    Like the node that ships, it makes one write at a time, of all batches that came during the one before."""

    def __init__(self, clockwork: Clockwork, owner: str, first: Sequence[Entry]) -> None:
        super().__init__(first)
        self._clockwork = clockwork
        self._owner = owner
        self._waiting: list[StoreBatch] = []
        self._power = 0
        self.busy = False
        self.stored: Callable[[Mark], None] = lambda mark: None
        """Told up to which batch everything is durable."""

    def write(self, batch: StoreBatch) -> None:
        """Make it durable, after all before it."""
        self._waiting.append(batch)
        if not self.busy:
            self._begin()

    def lose_power(self) -> None:
        """The process is gone: what is not finished never will be."""
        self._power += 1
        self._waiting, self.busy = [], False

    def _begin(self) -> None:
        batches, self._waiting = self._waiting, []
        power, began = self._power, self._clockwork.ms()
        self.busy = True

        def finish() -> None:
            if power != self._power:
                return
            self.busy = False
            records = [record for batch in batches for record in batch.records]
            self.perform(records)
            event = Event(
                at_ms=self._clockwork.ms(),
                kind=Kind.DURABLE,
                source=self._owner,
                to="",
                text=write_words(records),
                mark=batches[-1].mark,
                began_ms=began,
            )
            self._clockwork.write(event)
            if self._waiting:
                self._begin()
            self.stored(batches[-1].mark)

        self._clockwork.later(WRITE_TIME, finish)
