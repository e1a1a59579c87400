"""A node's monotonic clock: true time, seen through an offset and a rate of its own."""

from __future__ import annotations

from typing import Final

from coterie.core.types import Nanos

PPM: Final = 1_000_000


class Clock:
    """Monotonic nanoseconds of one machine. `rate_ppm` above 0 runs fast, below 0 slow.

    Its rate may change, and it may stand still. Two machines' clocks have nothing to do with each other; a restart of
    the process keeps the clock, a restart of the machine begins a new one.
    """

    def __init__(self, offset: Nanos, rate_ppm: int) -> None:
        self._shown = offset
        self._rate = PPM + rate_ppm
        self._runs_from: Nanos = 0
        """The true time until which it shows `_shown`."""
        self._jump: Nanos = 0
        """By how much it is ahead when it runs again."""

    def read(self, true: Nanos) -> Nanos:
        """What the clock shows at the true time."""
        if true < self._runs_from:
            return self._shown
        return self._shown + self._jump + (true - self._runs_from) * self._rate // PPM

    def when(self, shown: Nanos) -> Nanos:
        """The first true time at which the clock shows `shown` or more; any earlier one if it has shown that."""
        if shown <= self._shown:
            return 0
        return self._runs_from + max(0, -((self._shown + self._jump - shown) * PPM // self._rate))

    def change_rate(self, true: Nanos, rate_ppm: int) -> None:
        """From this true time on it runs so fast. Nothing while it stands still."""
        if true >= self._runs_from:
            self._shown, self._runs_from, self._jump = self.read(true), true, 0
            self._rate = PPM + rate_ppm

    def stand_still(self, true: Nanos, until: Nanos, *, catches_up: bool) -> None:
        """Show the same time until then; `catches_up`: what it missed, it has all at once then. Nothing if it stands
        still already."""
        if true >= self._runs_from:
            missed = (until - true) * self._rate // PPM
            self._shown, self._runs_from, self._jump = self.read(true), until, missed if catches_up else 0

    def go_on(self, true: Nanos) -> None:
        """If it stands still, it goes on now, from what it shows."""
        if true < self._runs_from:
            self._runs_from, self._jump = true, 0
