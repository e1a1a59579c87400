"""What one member of a conversation has stored."""

from __future__ import annotations

from collections.abc import Callable

from coterie.core.records import Compact, Put, Record, Recovered, Reset, StoreBatch, Truncate
from coterie.core.replica import SnapshotChunk
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Membership, SnapshotMeta

EMPTY = SnapshotMeta(0, NO_EPOCH, Membership((), ()))


class Disk:
    """Durable entries and hard state, and the batches that are under way; snapshots, and the part of one."""

    def __init__(self, first: tuple[Entry, ...], base: SnapshotMeta = EMPTY) -> None:
        self.base = base
        self.entries = list(first)
        """Those after the base."""
        self.hard_state = HardState()
        self.batches: list[StoreBatch] = []
        self.hangs = False
        self.snapshots: dict[int, tuple[SnapshotMeta, bytes]] = {}
        self.part: tuple[SnapshotMeta, int, bytes] | None = None
        """(what it is of, bytes of the whole, bytes so far). It does not outlive the process."""
        self.say: Callable[[int, int], None] = lambda first, last: None
        """Told (first, last) of what is read back."""

    @property
    def last_index(self) -> int:
        return self.entries[-1].index if self.entries else self.base.index

    def perform(self, count: int) -> int:
        """Make the first `count` batches under way durable. Returns the last one's mark."""
        done, self.batches = self.batches[:count], self.batches[count:]
        for batch in done:
            for record in batch.records:
                self._perform(record)
        return done[-1].mark

    def perform_part(self, count: int) -> None:
        """Make the first `count` records of the batch under way durable, and no more: a crash follows."""
        for batch in self.batches[:1]:
            for record in batch.records[:count]:
                self._perform(record)

    def _perform(self, record: Record) -> None:
        if isinstance(record, Put):
            for entry in record.entries:
                self._put(entry)
        elif isinstance(record, Truncate):
            assert record.first > self.base.index, "what is compacted is never truncated"
            del self.entries[record.first - self.base.index - 1 :]
        elif isinstance(record, Compact):
            assert self.base.index < record.base.index <= self.last_index, "the log reaches as far as it is compacted"
            held = self.entries[record.base.index - self.base.index - 1].epoch
            assert held == record.base.epoch or held.node, "but for a ballot's, it is the entry that was chosen"
            assert any(index >= record.base.index for index in self.snapshots), "a durable snapshot covers it"
            del self.entries[: record.base.index - self.base.index]
            self.base = record.base
        elif isinstance(record, Reset):
            assert record.base.index in self.snapshots, "the snapshot is durable before the log is reset to it"
            self.entries = []
            self.base = record.base
        else:
            assert record.state.epoch >= self.hard_state.epoch, "an epoch never goes back"
            self.hard_state = record.state

    def _put(self, entry: Entry) -> None:
        place = entry.index - self.base.index - 1
        assert place >= 0, "what is compacted is never written"
        if place < len(self.entries):
            assert entry.epoch > self.entries[place].epoch, "only a higher epoch overwrites"
            self.entries[place] = entry
        else:
            assert place == len(self.entries), "entries are stored without gaps"
            self.entries.append(entry)

    def take(self, chunk: SnapshotChunk) -> None:
        """Append a chunk to the part; offset 0 begins a new one."""
        if chunk.offset == 0:
            self.part = (chunk.meta, chunk.size, b"")
        assert self.part is not None
        meta, size, data = self.part
        assert (meta, size, len(data)) == (chunk.meta, chunk.size, chunk.offset), "chunks come in order"
        self.part = (meta, size, data + chunk.data)

    @property
    def whole(self) -> bool:
        """Whether all bytes of a snapshot are here, and it is to be made durable."""
        return self.part is not None and len(self.part[2]) == self.part[1]

    def keep_part(self) -> SnapshotMeta:
        """Give the whole part its final name."""
        assert self.part is not None
        meta, _, data = self.part
        self.snapshots[meta.index] = (meta, data)
        self.part = None
        return meta

    def newest(self) -> tuple[SnapshotMeta, bytes] | None:
        """The newest snapshot, if there is one."""
        return self.snapshots[max(self.snapshots)] if self.snapshots else None

    def recovered(self) -> Recovered:
        """What a restart finds."""
        runs: list[tuple[int, Epoch]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=self.base,
            last_index=self.last_index,
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.entries if entry.kind is EntryKind.MEMBERSHIP),
            settings=tuple(entry for entry in self.entries if entry.kind is EntryKind.SETTINGS),
        )

    def entries_between(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`."""
        assert self.base.index < first <= self.last_index, f"entry {first} is not on the disk"
        found: list[Entry] = []
        size = 0
        for entry in self.entries[first - self.base.index - 1 : last - self.base.index]:
            size += len(entry.payload)
            if found and size > limit_bytes:
                break
            found.append(entry)
        self.say(first, found[-1].index)
        return found


class Reader:
    """A `LogReader` and `SnapshotReader` of a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def entries(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`."""
        return self._disk.entries_between(first, last, limit_bytes)

    def chunk(self, index: int, offset: int, limit_bytes: int) -> bytes:
        """See `SnapshotReader.chunk`."""
        if index not in self._disk.snapshots:
            raise LookupError(f"no snapshot at {index}")
        return self._disk.snapshots[index][1][offset : offset + limit_bytes]
