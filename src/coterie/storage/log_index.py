"""Where entries stand in the segments: a sparse index, so that a long log costs little memory."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from coterie.core.types import Index

POINT_EVERY_BYTES = 64 * 1024


class Point(NamedTuple):
    """The record of entry `index`, in a frame of a segment."""

    entry: Index
    segment: int
    frame: int
    """Offset of the frame in the segment."""
    position: int
    """Where the record begins in the frame's payload."""


def _entry_of(point: Point) -> Index:
    return point.entry


class LogIndex:
    """Points in ascending order of index. From one point to the next, the entries that hold stand one
    after the other; wherever the log was cut back, a point marks where it went on, and where a segment begins."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._bytes_since = POINT_EVERY_BYTES

    def __len__(self) -> int:
        """Points kept in memory."""
        return len(self._points)

    def put(self, entry: Index, segment: int, frame: int, position: int, size: int) -> None:
        """The record of entry `entry`, `size` bytes long, was written there."""
        if self._bytes_since >= POINT_EVERY_BYTES:
            self._points.append(Point(entry, segment, frame, position))
            self._bytes_since = 0
        self._bytes_since += size

    def begin_segment(self) -> None:
        """What is written next stands in a new segment: it gets a point of its own, so that no reader needs
        the segment before to find it."""
        self._bytes_since = POINT_EVERY_BYTES

    def compact(self, base: Index) -> None:
        """Entries up to `base` are forgotten."""
        del self._points[: max(0, bisect_right(self._points, base + 1, key=_entry_of) - 1)]

    def clear(self) -> None:
        """Every entry is forgotten."""
        self._points.clear()
        self._bytes_since = POINT_EVERY_BYTES

    def truncate(self, first: Index) -> None:
        """Entries from `first` on hold no more; what is written next gets a point of its own."""
        while self._points and self._points[-1].entry >= first:
            self._points.pop()
        self._bytes_since = POINT_EVERY_BYTES

    def locate(self, index: Index) -> tuple[Point, Index | None]:
        """From where to read to find `index`, and the index at which the next point takes over.

        Raises `LookupError` if the log is empty or begins later.
        """
        position = bisect_right(self._points, index, key=_entry_of) - 1
        if position < 0:
            raise LookupError(f"entry {index} is before the log's beginning")
        following = self._points[position + 1].entry if position + 1 < len(self._points) else None
        return self._points[position], following
