"""How long writes to the log took, sync included: counted for whoever asks."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from coterie.core.types import Nanos

SECOND: Final[Nanos] = 1_000_000_000
BOUNDS: Final[tuple[Nanos, ...]] = tuple(125_000 << step for step in range(17))
"""Upper bounds of the classes: an eighth of a millisecond, doubled up to 8.2 s. (etcd's begin at 1 ms.)"""


class WriteTimes:
    """A histogram. One thread at a time counts; readers may be late by one."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Writes in each class, the last one without a bound."""
        self.total: Nanos = 0
        """Time of all writes together."""

    def took(self, duration: Nanos) -> None:
        """One write took so long."""
        self.counts[bisect_left(BOUNDS, duration)] += 1
        self.total += duration
