"""The deadlines of calls, the earliest first."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

_SLACK: Final = 64
"""Deadlines of calls that are over, which are not worth tidying up."""


class Timeouts:
    """Deadlines by stream. Those of calls that are over stay until they are as many as the others."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, stream: int, deadline: int) -> None:
        """A call with a deadline began."""
        self._of[stream] = deadline
        heappush(self._heap, (deadline, stream))

    def forget(self, stream: int) -> None:
        """It is over."""
        self._of.pop(stream, None)
        if len(self._heap) > 2 * len(self._of) + _SLACK:
            self._heap = [(deadline, stream) for stream, deadline in self._of.items()]
            heapify(self._heap)

    def first(self) -> int | None:
        """The earliest deadline."""
        heap = self._heap
        while heap and heap[0][1] not in self._of:
            heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: int) -> int | None:
        """A stream whose deadline has come."""
        first = self.first()
        return self._heap[0][1] if first is not None and first <= now else None
