"""What one member of a conversation has stored."""

from __future__ import annotations

from collections.abc import Callable

from coterie.core.records import Put, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Membership, SnapshotMeta


class Disk:
    """Durable entries and hard state, and the batches that are under way."""

    def __init__(self, first: Entry | None) -> None:
        self.entries = [first] if first is not None else []
        self.hard_state = HardState()
        self.batches: list[StoreBatch] = []
        self.hangs = False
        self.say: Callable[[int, int], None] = lambda first, last: None
        """Told (first, last) of what is read back."""

    def perform(self, count: int) -> int:
        """Make the first `count` batches under way durable. Returns the last one's mark."""
        done, self.batches = self.batches[:count], self.batches[count:]
        for batch in done:
            for record in batch.records:
                if isinstance(record, Put):
                    for entry in record.entries:
                        self._put(entry)
                elif isinstance(record, Truncate):
                    del self.entries[record.first - 1 :]
                elif isinstance(record, SaveHardState):
                    assert record.state.epoch >= self.hard_state.epoch, "an epoch never goes back"
                    self.hard_state = record.state
        return done[-1].mark

    def _put(self, entry: Entry) -> None:
        if entry.index <= len(self.entries):
            assert entry.epoch > self.entries[entry.index - 1].epoch, "only a higher epoch overwrites"
            self.entries[entry.index - 1] = entry
        else:
            assert entry.index == len(self.entries) + 1, "entries are stored without gaps"
            self.entries.append(entry)

    def recovered(self) -> Recovered:
        """What a restart finds."""
        runs: list[tuple[int, Epoch]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=SnapshotMeta(0, NO_EPOCH, Membership((), ())),
            last_index=len(self.entries),
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.entries if entry.kind is EntryKind.MEMBERSHIP),
            settings=tuple(entry for entry in self.entries if entry.kind is EntryKind.SETTINGS),
        )

    def entries_between(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`."""
        assert 1 <= first <= len(self.entries), f"entry {first} is not on the disk"
        found: list[Entry] = []
        size = 0
        for entry in self.entries[first - 1 : last]:
            size += len(entry.payload)
            if found and size > limit_bytes:
                break
            found.append(entry)
        self.say(first, found[-1].index)
        return found


class Reader:
    """A `LogReader` of a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def entries(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`."""
        return self._disk.entries_between(first, last, limit_bytes)
