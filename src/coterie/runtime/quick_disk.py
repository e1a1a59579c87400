"""Whether a disk is quick, by what its writes took."""

from __future__ import annotations

from coterie.core.types import Nanos
from coterie.runtime.write_times import WriteTimes

QUICK_SYNC: Nanos = 1_000_000
"""A write that is on the disk within this time, in nanoseconds, is a quick one."""
SLOW_SYNC: Nanos = 10_000_000
"""One that took longer makes the disk a slow one at once: a tenth of a heartbeat interval."""
QUICK_STREAK = 64
"""So many writes in a row must have been quick before the event loop waits for one."""


class QuickDisk:
    """Whether the disk is quick enough for the event loop to wait for it (docs/decisions/0004-quick-disk.md).

    What breaks without it: on a slow disk, or one that hangs, a loop that waits answers nobody, sends no
    heartbeat and loses leases that it could have kept (catalogue A07). So only a long row of quick writes earns
    trust, and one slow write loses it. A disk that hangs all of a sudden, in the one write that is waited for,
    stops its process for that long, as SIGSTOP would: the others elect another leader.
    """

    __slots__ = ("_streak", "times", "trusted")

    def __init__(self) -> None:
        self._streak = 0
        self.times = WriteTimes()
        self.trusted = False
        """Whether a small write may be waited for."""

    def took(self, duration: Nanos) -> None:
        """A write, sync included, took so long."""
        self.times.took(duration)
        if duration <= QUICK_SYNC:
            self._streak += 1
        elif duration > SLOW_SYNC:
            self._streak = 0
        else:
            # Busy, not slow: trust goes step by step. One such in ten is borne.
            self._streak = max(0, min(self._streak, 2 * QUICK_STREAK) - QUICK_STREAK // 8)
        self.trusted = self._streak >= QUICK_STREAK
