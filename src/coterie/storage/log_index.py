"""Where entries stand in the segments: a sparse index, so that a long log costs little memory."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from coterie.core.types import Index

POINT_EVERY_BYTES = 64 * 1024
MAX_REMEMBERED = 64
"""Places of entries read lately."""
NO_SEGMENT = 0
"""Number of no segment: entries that were written to one that is gone are said to stand there."""


class Point(NamedTuple):
    """The record of entry `index`, in a frame of a segment."""

    entry: Index
    segment: int
    frame: int
    """Offset of the frame in the segment."""
    position: int
    """Where the record begins in the frame's payload."""


def _place_of(point: Point) -> tuple[int, int]:
    return point.segment, point.frame


class LogIndex:
    """Stretches of entries, ascending, each with a point from which to read them. It reaches to where the next begins.

    Behind its point, in the same segment, all entries of a stretch stand one after the other, each just after the one
    before it. The point may lie before the first of them: a stretch of which the beginning or the middle was
    overwritten goes on after that from the point that it had. A stretch begins where a segment begins, every
    `POINT_EVERY_BYTES`, and wherever what is written is not the successor of what was written before it: where the log
    was cut back, and where overwriting begins, or ends. So there may be one for each overwritten entry, if they are
    overwritten singly and in no order, but never more than there are entries; as many as were overwritten in one go
    share one.
    """

    def __init__(self, base: Index = 0, last: Index = 0) -> None:
        """Of the entries `base` + 1 .. `last` nobody knows where they stand: their segments are gone."""
        self._starts: list[Index] = []
        self._points: list[Point] = []
        self._next = last + 1
        self._bytes_since = POINT_EVERY_BYTES
        """Written at the end since the last point; as much as makes for a new one, where entries were overwritten."""
        self._overwrote: Index | None = None
        """The entry written last, if it was in the place of another: the next may go on behind it."""
        self._overwritten_bytes = 0
        """Written in others' places since the last point."""
        self._read: dict[Point, Point] = {}
        """By the point of a stretch, the record that was read last of it. No place is written twice, so none of
        these ever says anything wrong."""
        if last > base:
            self._starts.append(base + 1)
            self._points.append(Point(base + 1, NO_SEGMENT, 0, 0))

    def __len__(self) -> int:
        """Points kept in memory."""
        return len(self._points)

    def put(self, entry: Index, segment: int, frame: int, position: int, size: int) -> None:
        """The record of entry `entry`, `size` bytes long, was written there: at the log's end, or in the place of
        another."""
        if entry != self._next:
            self._overwrite(Point(entry, segment, frame, position), size)
            return
        if self._bytes_since >= POINT_EVERY_BYTES:
            self._starts.append(entry)
            self._points.append(Point(entry, segment, frame, position))
            self._bytes_since = 0
            self._overwrote = None
        self._bytes_since += size
        self._next = entry + 1

    def _overwrite(self, point: Point, size: int) -> None:
        entry = point.entry
        at = bisect_right(self._starts, entry) - 1
        changed: list[tuple[Index, Point]] = []
        if self._overwrote != entry - 1 or self._overwritten_bytes >= POINT_EVERY_BYTES:
            changed.append((entry, point))
            self._overwritten_bytes = 0
        following = self._starts[at + 1] if at + 1 < len(self._starts) else self._next
        if entry + 1 < following:
            changed.append((entry + 1, self._points[at]))
        begin = at if self._starts[at] == entry else at + 1
        self._starts[begin : at + 1] = [start for start, _ in changed]
        self._points[begin : at + 1] = [each for _, each in changed]
        self._overwrote = entry
        self._overwritten_bytes += size
        self._bytes_since = POINT_EVERY_BYTES

    def begin_segment(self) -> None:
        """What is written next stands in a new segment: it gets a point of its own, so that no reader needs
        the segment before to find it."""
        self._bytes_since = POINT_EVERY_BYTES
        self._overwrote = None

    def compact(self, base: Index) -> None:
        """Entries up to `base` are forgotten."""
        if base + 1 == self._next:
            self.clear(base)
            return
        gone = self._stretch(base + 1)
        del self._starts[:gone], self._points[:gone]
        self._starts[0] = base + 1
        self._overwrote = None

    def clear(self, base: Index) -> None:
        """Every entry is forgotten; the next one to be written is the one after `base`."""
        self._starts.clear()
        self._points.clear()
        self._next = base + 1
        self._bytes_since = POINT_EVERY_BYTES
        self._overwrote = None

    def truncate(self, first: Index) -> None:
        """Entries from `first` on hold no more; what is written next gets a point of its own."""
        while self._starts and self._starts[-1] >= first:
            self._starts.pop()
            self._points.pop()
        self._next = min(self._next, first)
        self._bytes_since = POINT_EVERY_BYTES
        self._overwrote = None

    def locate(self, index: Index) -> tuple[Point, Index | None]:
        """From where to read to find `index`, and the index at which the next stretch takes over.

        Raises `LookupError` if the log is empty or begins later.
        """
        position = self._stretch(index)
        following = self._starts[position + 1] if position + 1 < len(self._starts) else None
        point = self._points[position]
        read = self._read.get(point)
        return point if read is None or read.entry > index else read, following

    def remember(self, read: Point) -> None:
        """The record of an entry was read there: who wants that entry or the ones after it begins there, and need
        not pass again what lies before it. A follower that catches up takes less at a time than lies between two
        points."""
        if len(self._read) >= MAX_REMEMBERED:
            self._read.clear()
        self._read[self._points[self._stretch(read.entry)]] = read

    def earliest(self, index: Index) -> Point:
        """Of the points that are needed for `index` and all entries after it, the one written first.

        Raises `LookupError` if the log is empty or begins later.
        """
        return min(self._points[self._stretch(index) :], key=_place_of)

    def _stretch(self, index: Index) -> int:
        position = bisect_right(self._starts, index) - 1
        if position < 0:
            raise LookupError(f"entry {index} is before the log's beginning")
        return position
