"""What the tests of the replica's log share: a disk that follows its batches, and an empty log over it."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.core.log import Log
from coterie.core.outbox import Outbox
from coterie.core.records import Compact, Put, Recovered, Reset, StoreBatch, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState, Index, Membership, SnapshotMeta

BASE = 3
BASE_EPOCH = Epoch(2, 0)
MAX_CACHED_BYTES = 12
PLENTY = 1 << 20


def entry(index: Index, epoch: Epoch, size: int = 0) -> Entry:
    return Entry(index, epoch, EntryKind.COMMANDS, 0, bytes(size))


class Disk:
    """Entries after the base, as the batches performed so far left them. A `LogReader`."""

    def __init__(self) -> None:
        self.base = BASE
        self.entries_on_disk: list[Entry] = []

    def perform(self, batch: StoreBatch) -> None:
        for record in batch.records:
            if isinstance(record, Put):
                for each in record.entries:
                    place = each.index - self.base - 1
                    assert 0 <= place <= len(self.entries_on_disk)
                    held = self.entries_on_disk[place : place + 1]
                    assert not held or held[0].epoch < each.epoch
                    self.entries_on_disk[place : place + 1] = [each]
            elif isinstance(record, Truncate):
                del self.entries_on_disk[record.first - self.base - 1 :]
            elif isinstance(record, Compact):
                assert self.base < record.base.index <= self.base + len(self.entries_on_disk)
                del self.entries_on_disk[: record.base.index - self.base]
                self.base = record.base.index
            elif isinstance(record, Reset):
                self.base, self.entries_on_disk = record.base.index, []

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        found: list[Entry] = []
        assert first > self.base
        for each in self.entries_on_disk[first - self.base - 1 : last - self.base]:
            if found and sum(len(e.payload) for e in found) + len(each.payload) > limit_bytes:
                break
            found.append(each)
        assert found
        return found


def meta(index: Index, epoch: Epoch) -> SnapshotMeta:
    return SnapshotMeta(index, epoch, Membership((), ()))


def empty_log(disk: Disk, outbox: Outbox) -> Log:
    base = SnapshotMeta(BASE, BASE_EPOCH, Membership((), ()))
    recovered = Recovered(hard_state=HardState(), base=base, last_index=BASE, epochs=(), memberships=())
    return Log(recovered, disk, outbox, MAX_CACHED_BYTES)
