"""The replicated log as a replica sees it: recent entries in memory, older ones read back from the store.

A replica that keeps every entry in memory for one dead follower runs out of it: so only what is
not durable yet must be in memory, and durable entries are kept up to a limit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from coterie.core.errors import SafetyViolation
from coterie.core.outbox import Outbox
from coterie.core.records import Put, Recovered, Truncate
from coterie.core.replica import LogReader
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, Mark


class Log:
    """Entries `base_index` + 1 .. `last_index`. `durable_index`: own copy is on disk up to here."""

    def __init__(self, recovered: Recovered, reader: LogReader, outbox: Outbox, max_cached_bytes: int) -> None:
        self.base_index: Index = recovered.base.index
        self.base_epoch: Epoch = recovered.base.epoch
        self.last_index: Index = recovered.last_index
        self.durable_index: Index = recovered.last_index
        self._reader = reader
        self._outbox = outbox
        self._max_cached_bytes = max_cached_bytes
        self._run_starts: list[Index] = [start for start, _ in recovered.epochs]
        self._run_epochs: list[Epoch] = [epoch for _, epoch in recovered.epochs]
        self._cache: list[Entry] = []
        self._cache_first: Index = self.last_index + 1
        self._cached_bytes = 0
        self._dirty = False
        self._written: deque[tuple[Mark, Index]] = deque()

    @property
    def last_epoch(self) -> Epoch:
        """Epoch of the last entry, or of the snapshot that the log begins after."""
        return self._run_epochs[-1] if self._run_epochs else self.base_epoch

    def epoch_at(self, index: Index) -> Epoch | None:
        """The epoch of the entry at `index`; None if it is compacted away or past the end.

        None is not an epoch: a missing entry matches nothing (catalogue L14).
        """
        if index > self.last_index or index < self.base_index:
            return None
        if index == self.base_index:
            return self.base_epoch
        return self._run_epochs[bisect_right(self._run_starts, index) - 1]

    def last_at_most(self, index: Index, epoch: Epoch) -> tuple[Index, Epoch]:
        """The highest position not above `index` whose epoch is not above `epoch` (it skips whole terms)."""
        index = min(index, self.last_index)
        while index > self.base_index:
            run = bisect_right(self._run_starts, index) - 1
            if self._run_epochs[run] <= epoch:
                return index, self._run_epochs[run]
            index = self._run_starts[run] - 1
        return self.base_index, self.base_epoch if index == self.base_index else NO_EPOCH

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries at the end, in memory and in the store batch under way."""
        if not entries:
            return
        if entries[0].index != self.last_index + 1:
            raise SafetyViolation(f"entry {entries[0].index} appended to a log that ends at {self.last_index}")
        for entry in entries:
            if not self._run_epochs or self._run_epochs[-1] != entry.epoch:
                self._run_starts.append(entry.index)
                self._run_epochs.append(entry.epoch)
            self._cached_bytes += len(entry.payload)
        self._cache.extend(entries)
        self.last_index = entries[-1].index
        self._dirty = True
        self._outbox.record(Put(tuple(entries)))

    def truncate(self, first: Index) -> None:
        """Forget the entries from `first` on."""
        if first <= self.base_index:
            raise SafetyViolation(f"truncation from {first}, but the log is compacted up to {self.base_index}")
        keep = max(0, first - self._cache_first)
        for entry in self._cache[keep:]:
            self._cached_bytes -= len(entry.payload)
        del self._cache[keep:]
        self._cache_first = min(self._cache_first, first)
        while self._run_starts and self._run_starts[-1] >= first:
            self._run_starts.pop()
            self._run_epochs.pop()
        self.last_index = first - 1
        # What the disk still holds beyond this point, or is about to write there, is no longer this
        # log's; not even if the same entry comes back, for then a later batch removes it in between.
        self.durable_index = min(self.durable_index, self.last_index)
        self._written = deque((mark, min(index, self.last_index)) for mark, index in self._written)
        self._dirty = True
        self._outbox.record(Truncate(first))

    def entries(self, first: Index, last: Index, limit_bytes: int) -> tuple[Entry, ...]:
        """Entries `first` .. at most `last`: at least one, and no more than `limit_bytes` of payload
        unless the first alone is larger."""
        last = min(last, self.last_index)
        if first > last:
            return ()
        if first < self._cache_first:
            return tuple(self._reader.entries(first, min(last, self._cache_first - 1), limit_bytes))
        start = first - self._cache_first
        stop = start
        size = 0
        end = last - self._cache_first + 1
        while stop < end:
            size += len(self._cache[stop].payload)
            if size > limit_bytes and stop > start:
                break
            stop += 1
        return tuple(self._cache[start:stop])

    def batch_closed(self, mark: Mark) -> None:
        """A store batch was handed out: remember what it wrote."""
        if self._dirty:
            self._written.append((mark, self.last_index))
            self._dirty = False

    def stored(self, mark: Mark) -> None:
        """Store batches up to `mark` are durable.

        A batch counts only for what the log has held ever since: entries that a newer leader truncated
        while the disk was busy are no copy of anything (`truncate` took them off the batch).
        """
        while self._written and self._written[0][0] <= mark:
            self.durable_index = max(self.durable_index, self._written.popleft()[1])
        self._evict()

    def _evict(self) -> None:
        """Drop durable entries beyond the limit from memory, in one go."""
        if self._cached_bytes <= self._max_cached_bytes:
            return
        target = self._max_cached_bytes // 2
        drop = 0
        for entry in self._cache:
            if self._cached_bytes <= target or entry.index > self.durable_index:
                break
            self._cached_bytes -= len(entry.payload)
            drop += 1
        del self._cache[:drop]
        self._cache_first += drop
