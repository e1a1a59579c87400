"""One layer of key-value data in memory: what a row of revisions wrote, on top of what is older."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any

from coterie.machine.kv.protocol import Item

RUN_KEYS = 1024
"""New keys are sorted so many at a time ..."""
MAX_MERGED_RUN = 16 * RUN_KEYS
"""... and two sorted runs of equal length become one, up to this length: no sort is long, and no reader has to
look into many runs."""

_mod = attrgetter("mod")


class Layer:
    """Items, tombstones included, of revisions `first` to `first` + len(log) - 1."""

    __slots__ = ("_runs", "extra", "first", "log", "newest", "older", "unsorted")

    def __init__(self, first: int) -> None:
        self.first = first
        self.log: list[Item | tuple[Item, ...]] = []
        """What each revision changed."""
        self.newest: dict[bytes, Item] = {}
        """The last item of each key."""
        self.older: dict[bytes, list[Item]] = {}
        """The items of a key before its last, in order, if it has more than one."""
        self.extra = 0
        """Items beyond one a revision."""
        self.unsorted: list[bytes] = []
        """New keys since the last `sort`."""
        self._runs: list[list[bytes]] = []

    def get(self, key: bytes, revision: int) -> Item | None:
        """The key's last item of at most `revision`, a tombstone perhaps; None if this layer has none."""
        item = self.newest.get(key)
        if item is None or item.mod <= revision:
            return item
        older = self.older.get(key)
        if older is None:
            return None
        at = bisect_right(older, revision, key=_mod)
        return older[at - 1] if at else None

    def event(self, revision: int) -> tuple[Item, ...]:
        """What the revision, one of this layer's, changed."""
        event = self.log[revision - self.first]
        return event if isinstance(event, tuple) else (event,)

    def add(self, item: Item) -> None:
        """A new last item. What it supersedes here stays readable."""
        key = item.key
        old = self.newest.get(key)
        if old is None:
            self.unsorted.append(key)
        else:
            self.supersede(old)
        self.newest[key] = item

    def supersede(self, item: Item) -> None:
        """The key's last item will be so no longer."""
        older = self.older.get(item.key)
        if older is None:
            self.older[item.key] = [item]
        else:
            older.append(item)

    def remove(self, key: bytes) -> None:
        """Take back the last `add` of the key."""
        older = self.older.get(key)
        if older is None:
            del self.newest[key]
            if self.unsorted and self.unsorted[-1] == key:
                self.unsorted.pop()
            return
        self.newest[key] = older.pop()
        if not older:
            del self.older[key]

    def sort(self) -> None:
        """Bring the new keys into order, if there are enough of them."""
        if len(self.unsorted) >= RUN_KEYS:
            self._sort()

    def _sort(self) -> None:
        unsorted = self.unsorted
        for start in range(0, len(unsorted), RUN_KEYS):
            run = sorted(unsorted[start : start + RUN_KEYS])
            while self._runs and len(self._runs[-1]) <= len(run) < MAX_MERGED_RUN:
                run = sorted(self._runs.pop() + run)  # two runs: their merge, in linear time
            self._runs.append(run)
        self.unsorted = []

    def keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Keys with start <= key < end (None: all from `start`) in order. One that was taken back may be among
        them, one that was added again may be there twice."""
        if self.unsorted:
            self._sort()
        pieces = []
        for run in self._runs:
            low = bisect_left(run, start)
            high = len(run) if end is None else bisect_left(run, end, low)
            if low < high:
                pieces.append(islice(run, low, high))
        return pieces[0] if len(pieces) == 1 else merge(*pieces)

    def rows(self) -> list[list[bytes]]:
        """All keys, as far as they are sorted: rows in order, and the rest. No later `sort` changes what is given."""
        return [*self._runs, self.unsorted]

    def discard(self) -> Iterator[None]:
        """Let go of everything, a little at each step: freeing it at once would hold the interpreter's lock."""
        for content in (self.newest, self.older):
            while content:
                for _ in range(min(256, len(content))):
                    content.popitem()
                yield
        rows: list[list[Any]] = [self.log, *self._runs]
        for row in rows:
            while row:
                del row[-256:]
                yield
