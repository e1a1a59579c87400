"""The replicated log as a replica sees it: recent entries in memory, older ones read back from the store.

A replica that keeps every entry in memory for one dead follower runs out of it: so only what is
not durable yet must be in memory, and durable entries are kept up to a limit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

from coterie.core.epochs import EpochRuns
from coterie.core.errors import SafetyViolation
from coterie.core.outbox import Outbox
from coterie.core.records import Compact, Put, Recovered, Reset, Truncate
from coterie.core.replica import LogReader
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, Mark, SnapshotMeta

WEIGHT_STEP_BYTES = 64 * 1024
"""How finely the log remembers the weight of its entries: see `Log.first_within`."""


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
        self._epochs = EpochRuns(recovered.last_index, recovered.epochs)
        self._cache: list[Entry] = []
        self._cache_first: Index = self.last_index + 1
        self._cached_bytes = 0
        self._dirty = False
        self._written: deque[tuple[Mark, Index]] = deque()
        self._appended_bytes = 0
        self._weights: list[tuple[Index, int]] = []

    @property
    def last_epoch(self) -> Epoch:
        """Epoch of the last entry, or of the snapshot that the log begins after."""
        newest = self._epochs.newest
        return self.base_epoch if newest is None else newest

    def epoch_at(self, index: Index) -> Epoch | None:
        """The epoch of the entry at `index`; None if it is compacted away or past the end.

        None is not an epoch: a missing entry matches nothing (catalogue L14).
        """
        if index > self.last_index or index < self.base_index:
            return None
        if index == self.base_index:
            return self.base_epoch
        return self._epochs.epoch_at(index)

    def epochs_since(self, index: Index) -> tuple[tuple[Index, Epoch], ...]:
        """The epochs of the entries `index` .. `last_index` as runs: (first index, epoch), ascending, the first from
        `index` on. None if `index` lies past the end; it must lie after the base."""
        if index <= self.base_index:
            raise SafetyViolation(
                f"the epoch of entry {index} is asked for, but the log begins after {self.base_index}"
            )
        return self._epochs.since(index)

    def last_at_most(self, index: Index, epoch: Epoch) -> tuple[Index, Epoch]:
        """The highest position not above `index` whose epoch is not above `epoch` (it skips whole terms)."""
        index = min(index, self.last_index)
        while index > self.base_index:
            start, held = self._epochs.run_at(index)
            if held <= epoch:
                return index, held
            index = start - 1
        return self.base_index, self.base_epoch if index == self.base_index else NO_EPOCH

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries at the end, in memory and in the store batch under way."""
        if not entries:
            return
        if entries[0].index != self.last_index + 1:
            raise SafetyViolation(f"entry {entries[0].index} appended to a log that ends at {self.last_index}")
        self._touch(entries[0].index, entries[-1].index)
        self._epochs.extend(entries)
        size = 0
        for entry in entries:
            size += len(entry.payload)
        self._cache.extend(entries)
        self._cached_bytes += size
        self._appended_bytes += size
        self.last_index = entries[-1].index
        if self._appended_bytes - (self._weights[-1][1] if self._weights else 0) >= WEIGHT_STEP_BYTES:
            self._weights.append((self.last_index, self._appended_bytes))
        self._dirty = True
        self._outbox.record(Put(tuple(entries)))

    def put(self, entries: Sequence[Entry]) -> None:
        """Write entries with consecutive indexes, of which the first may be any slot after the base, or the one after
        the end (Multi-Paxos). Slots that they do not cover keep what they hold, those after them too: an acceptor
        never forgets what it accepted ("Paxos Made Simple", 2.2).

        Raises `SafetyViolation`, and writes nothing, if the entries leave a gap, or a slot holds an epoch that is as
        high: of two entries the one of the lower ballot would win, or one ballot have two values for a slot.
        """
        if not entries or entries[0].index == self.last_index + 1:
            self.append(entries)
            return
        first = entries[0].index
        if not self.base_index < first <= self.last_index:
            raise SafetyViolation(f"entry {first} put into a log of entries {self.base_index + 1} to {self.last_index}")
        inside = entries[: self.last_index + 1 - first]
        for index, entry in enumerate(inside, first):
            held = self._epochs.epoch_at(entry.index)
            if entry.index != index or held >= entry.epoch:
                raise SafetyViolation(
                    f"entry {entry.index} of epoch {entry.epoch} put in the place of entry {index} of epoch {held}"
                )
        self._overwrite(inside)
        self.append(entries[len(inside) :])

    def _overwrite(self, entries: Sequence[Entry]) -> None:
        """Put entries in the places of others, in memory and in the store batch under way."""
        first, last = entries[0].index, entries[-1].index
        self._touch(first, last)
        start = max(0, first - self._cache_first)
        replaced = self._cache[start : last + 1 - self._cache_first]
        self._cache[start : start + len(replaced)] = entries
        self._cache_first = min(self._cache_first, first)
        for entry in entries:
            self._epochs.overwrite(entry.index, entry.epoch)
        sizes = list(accumulate(len(entry.payload) for entry in entries))
        self._cached_bytes += sizes[-1] - sum(len(entry.payload) for entry in replaced)
        # What a slot held before goes on weighing: nobody knows how much that was, if it was found at the start.
        self._appended_bytes += sizes[-1]
        for place in range(bisect_left(self._weights, first, key=_index_of), len(self._weights)):
            index, total = self._weights[place]
            self._weights[place] = index, total + sizes[min(index, last) - first]
        self._only_counts_before(first)
        self._outbox.record(Put(tuple(entries)))

    def _touch(self, first: Index, last: Index) -> None:
        """Memory holds one stretch of the log, and what it lacks is on the disk: let the stretch reach to entries
        `first` .. `last`, which are about to be put into it."""
        end = self._cache_first + len(self._cache)
        if first <= end and self._cache_first <= last + 1:
            return
        between: list[Entry] = []
        if self.durable_index == self.last_index:
            # Nothing is in memory alone: the stretch begins anew. A member that is given a long log again, from far
            # before what it remembers, would read all that lies in between at each message.
            self._cache, self._cached_bytes, self._cache_first = [], 0, first
        elif first > end:
            between = self._read_back(end, first - 1)
            self._cache.extend(between)
        else:
            between = self._read_back(last + 1, self._cache_first - 1)
            self._cache[:0] = between
            self._cache_first = last + 1
        self._cached_bytes += sum(len(entry.payload) for entry in between)

    def _read_back(self, first: Index, last: Index) -> list[Entry]:
        """Entries `first` .. `last`, all of them, from the store."""
        found: list[Entry] = []
        while first <= last:
            found.extend(self._reader.entries(first, last, self._max_cached_bytes))
            first = found[-1].index + 1
        return found

    def truncate(self, first: Index) -> None:
        """Forget the entries from `first` on."""
        if first <= self.base_index:
            raise SafetyViolation(f"truncation from {first}, but the log is compacted up to {self.base_index}")
        keep = max(0, first - self._cache_first)
        for entry in self._cache[keep:]:
            self._cached_bytes -= len(entry.payload)
        del self._cache[keep:]
        self._cache_first = min(self._cache_first, first)
        self._epochs.truncate(first)
        while self._weights and self._weights[-1][0] >= first:
            self._weights.pop()
        self.last_index = first - 1
        self._only_counts_before(first)
        self._outbox.record(Truncate(first))

    def _only_counts_before(self, first: Index) -> None:
        """What the disk still holds from `first` on, or is about to write there, is no longer this log's; not even
        if the same entry comes back, for then a later batch removes it in between. Own copies of it count from the
        batch on that is under way, when all before it are durable, too."""
        self.durable_index = min(self.durable_index, first - 1)
        self._written = deque((mark, min(index, first - 1)) for mark, index in self._written)
        self._dirty = True

    def compact(self, base: SnapshotMeta) -> None:
        """Forget the entries up to `base.index`, which is one of them: a snapshot holds what they did."""
        index = base.index
        if not self.base_index < index <= self.last_index or self.epoch_at(index) != base.epoch:
            raise SafetyViolation(
                f"compaction up to entry {index} of epoch {base.epoch}, but the log holds {self.base_index + 1} to "
                f"{self.last_index}, and there epoch {self.epoch_at(index)}"
            )
        self._begin_after(base)

    def rebase(self, base: SnapshotMeta) -> None:
        """Forget the entries up to `base.index`, whatever the log holds there: a snapshot, durable already, has what
        was chosen (Multi-Paxos: it need not be what this member accepted). The entries after it stay as they are: what
        was accepted may be what was chosen. Where none would stay, `reset` is meant."""
        if not self.base_index < base.index < self.last_index:
            raise SafetyViolation(
                f"the log is to begin after entry {base.index}, but it holds {self.base_index + 1} to {self.last_index}"
            )
        # Until the record is durable, the disk still holds what this member accepted there, chosen or not.
        self.durable_index = min(self.durable_index, self.base_index)
        self._written = deque((mark, min(index, self.base_index)) for mark, index in self._written)
        self._dirty = True
        self._begin_after(base)

    def _begin_after(self, base: SnapshotMeta) -> None:
        index = base.index
        drop = max(0, index + 1 - self._cache_first)
        for entry in self._cache[:drop]:
            self._cached_bytes -= len(entry.payload)
        del self._cache[:drop]
        self._cache_first = max(self._cache_first, index + 1)
        self._epochs.compact(index)
        del self._weights[: bisect_right(self._weights, index, key=_index_of)]
        self.base_index, self.base_epoch = index, base.epoch
        self._outbox.record(Compact(base))

    def reset(self, base: SnapshotMeta) -> None:
        """Forget every entry; the log begins after `base`.

        Until the record is durable, nothing past the old beginning may be called a copy: the disk still
        holds the old entries, and those may be a deposed leader's.
        """
        if base.index < self.base_index:
            raise SafetyViolation(f"reset to entry {base.index}, but the log begins after {self.base_index}")
        self.durable_index = min(self.durable_index, self.base_index)
        self._cache, self._cached_bytes, self._cache_first = [], 0, base.index + 1
        self._epochs.reset(base.index)
        self._weights = []
        self.base_index, self.base_epoch, self.last_index = base.index, base.epoch, base.index
        self._written.clear()
        self._dirty = True
        self._outbox.record(Reset(base))

    def first_within(self, last: Index, limit_bytes: int) -> Index:
        """The index from which on entries up to `last` are sure to have no more than `limit_bytes` of payload:
        `last` + 1 if none. Coarse (`WEIGHT_STEP_BYTES`); entries that were found at the start weigh nothing.
        """
        after = bisect_left(self._weights, last, key=_index_of)
        total = self._weights[after][1] if after < len(self._weights) else self._appended_bytes
        if total <= limit_bytes:
            return self.base_index + 1
        place = bisect_left(self._weights, total - limit_bytes, key=_total_of)
        return min(last, self._weights[place][0]) + 1 if place < len(self._weights) else last + 1

    def remembers(self, index: Index) -> bool:
        """Whether the entry is in memory, and need not be read from the store."""
        return self._cache_first <= index < self._cache_first + len(self._cache)

    def entries(self, first: Index, last: Index, limit_bytes: int) -> tuple[Entry, ...]:
        """Entries `first` .. at most `last`: at least one, and no more than `limit_bytes` of payload
        unless the first alone is larger."""
        last = min(last, self.last_index)
        if first > last:
            return ()
        if first <= self.base_index:
            # From the first entry that is left instead, the receiver would get a gap (catalogue L15).
            raise SafetyViolation(f"entry {first} is asked for, but the log is compacted up to {self.base_index}")
        if first < self._cache_first:
            return tuple(self._reader.entries(first, min(last, self._cache_first - 1), limit_bytes))
        start = first - self._cache_first
        if start >= len(self._cache):
            return tuple(self._reader.entries(first, last, limit_bytes))
        if first == last:  # by far the most frequent: the newest entry
            return (self._cache[start],)
        stop = start
        size = 0
        end = min(last - self._cache_first + 1, len(self._cache))
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

        A batch counts only for what the log has held ever since: entries that a newer leader truncated or
        overwrote while the disk was busy are no copy of anything (`truncate` and `put` took them off the batch).
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


def _index_of(weight: tuple[Index, int]) -> Index:
    return weight[0]


def _total_of(weight: tuple[Index, int]) -> int:
    return weight[1]
