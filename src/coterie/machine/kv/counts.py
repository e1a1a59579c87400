"""How many living keys lie in a range, without visiting them: the keys' order as blocks with a count each.

A block holds up to `MAX_BLOCK_KEYS` living keys; what is kept is its first bound and its count. So a million
keys cost some thousand small objects, and a count visits at most the two blocks that the range cuts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator

MAX_BLOCK_KEYS = 512
"""A block that grows beyond is cut in two."""

Visit = Callable[[bytes, bytes | None], Iterator[bytes]]
"""The living keys in [start, end) (None: to the last), in order."""


class Counts:
    """Bounds of blocks, ascending, the first one empty; and how many living keys each block holds."""

    def __init__(self, bounds: list[bytes] | None = None, counts: list[int] | None = None) -> None:
        self.bounds = bounds or [b""]
        self.counts = counts or [0]

    def add(self, key: bytes) -> bool:
        """The key lives from now on. Returns whether its block is now to be cut."""
        at = bisect_right(self.bounds, key) - 1
        self.counts[at] += 1
        return self.counts[at] > MAX_BLOCK_KEYS

    def remove(self, key: bytes) -> None:
        """The key lives no more."""
        at = bisect_right(self.bounds, key) - 1
        self.counts[at] -= 1
        if not self.counts[at] and at:
            del self.bounds[at], self.counts[at]

    def cut(self, key: bytes, visit: Visit) -> None:
        """Cut the key's block in the middle, for as long as it is too large."""
        block = bisect_right(self.bounds, key) - 1
        while self.counts[block] > MAX_BLOCK_KEYS:
            end = self.bounds[block + 1] if block + 1 < len(self.bounds) else None
            half = self.counts[block] // 2
            for number, key in enumerate(visit(self.bounds[block], end)):
                if number == half:
                    self.bounds.insert(block + 1, key)
                    self.counts.insert(block + 1, self.counts[block] - half)
                    self.counts[block] = half
                    break
            else:
                raise AssertionError(f"block {block} counts {self.counts[block]} keys and has fewer")
            block += 1

    def count(self, start: bytes, end: bytes | None, visit: Visit) -> int:
        """Living keys with start <= key < end (None: to the last)."""
        if end is not None and end <= start:
            return 0
        bounds = self.bounds
        low = bisect_left(bounds, start)
        high = len(bounds) if end is None else bisect_right(bounds, end) - 1
        if low > high:  # within one block
            return sum(1 for _ in visit(start, end))
        total = sum(self.counts[low:high])
        if low == len(bounds) or bounds[low] != start:
            total += sum(1 for _ in visit(start, bounds[low] if low < len(bounds) else None))
        if end is not None and bounds[high] != end:
            total += sum(1 for _ in visit(bounds[high], end))
        return total


def counted(keys: Iterable[bytes]) -> Counts:
    """The counts of these living keys, which come in order."""
    counts = Counts()
    for key in keys:
        if counts.counts[-1] == MAX_BLOCK_KEYS // 2:
            counts.bounds.append(key)
            counts.counts.append(0)
        counts.counts[-1] += 1
    return counts
