"""A node's monotonic clock: true time, seen through an offset and a rate of its own."""

from __future__ import annotations

from typing import Final

from coterie.core.types import Nanos

PPM: Final = 1_000_000


class Clock:
    """Monotonic nanoseconds of one machine. `rate_ppm` above 0 runs fast, below 0 slow.

    Two machines' clocks have nothing to do with each other; a restart of the process keeps the clock,
    a restart of the machine begins a new one.
    """

    def __init__(self, offset: Nanos, rate_ppm: int) -> None:
        self._offset = offset
        self._rate = PPM + rate_ppm

    def read(self, true: Nanos) -> Nanos:
        """What the clock shows at the true time."""
        return self._offset + true * self._rate // PPM

    def when(self, shown: Nanos) -> Nanos:
        """The first true time at which the clock shows `shown` or more."""
        return max(0, -((self._offset - shown) * PPM // self._rate))
