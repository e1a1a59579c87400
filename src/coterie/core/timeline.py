"""A value that changes along the log: which one is in force at an index."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from coterie.core.types import Index

T = TypeVar("T")


class Timeline(Generic[T]):
    """Values and the indexes from which each holds, ascending: a membership, or the settings.

    The first of them holds where the log begins, so that one that was agreed before a snapshot is not
    forgotten with the entry that set it (catalogue N03).
    """

    def __init__(self, index: Index, value: T) -> None:
        self._points: list[tuple[Index, T]] = [(index, value)]

    @property
    def newest(self) -> T:
        """The value at the end of the log."""
        return self._points[-1][1]

    @property
    def newest_index(self) -> Index:
        """From where on the newest value holds."""
        return self._points[-1][0]

    def newest_first(self) -> Iterator[tuple[Index, T]]:
        """Every value that the log still knows of, with the index from which it holds."""
        return reversed(self._points)

    def at(self, index: Index) -> T:
        """The value in force at `index`: set there or before. Raises `LookupError` for an index before the log."""
        for since, value in reversed(self._points):
            if since <= index:
                return value
        raise LookupError(f"index {index} is compacted away: the log begins after {self._points[0][0]}")

    def append(self, index: Index, value: T) -> None:
        """The value changes at `index`, which lies past all changes so far."""
        self._points.append((index, value))

    def truncate(self, first: Index) -> bool:
        """Forget changes at `first` and later. Returns whether there were any."""
        before = len(self._points)
        while len(self._points) > 1 and self._points[-1][0] >= first:
            self._points.pop()
        return len(self._points) < before

    def replace(self, first: Index, last: Index, values: Iterable[tuple[Index, T]]) -> bool:
        """The entries `first` .. `last` were overwritten: changes there are forgotten, and `values` are those that
        there are now, ascending. Changes before and after stay. Returns whether that changed anything. `first` lies
        after where the log begins."""
        begin = bisect_left(self._points, first, lo=1, key=_index_of)
        end = bisect_right(self._points, last, lo=begin, key=_index_of)
        points = list(values)
        if self._points[begin:end] == points:
            return False
        self._points[begin:end] = points
        return True

    def compact(self, index: Index) -> None:
        """The log now begins after `index`: what holds there is the first value."""
        keep = len(self._points) - 1
        while keep > 0 and self._points[keep][0] > index:
            keep -= 1
        del self._points[:keep]
        self._points[0] = (max(index, self._points[0][0]), self._points[0][1])

    def rebase(self, index: Index, value: T) -> None:
        """The log now begins after `index`, where `value` holds, whatever changes there were up to there; those after
        it stay."""
        later = bisect_right(self._points, index, key=_index_of)
        self._points[:later] = [(index, value)]

    def reset(self, index: Index, value: T) -> None:
        """The log is replaced by a snapshot at `index`, where `value` holds."""
        self._points = [(index, value)]


def _index_of(point: tuple[Index, object]) -> Index:
    return point[0]
