"""How much a client may ask for without bringing anything.

PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty frames, streams that are opened and reset: each costs the server more
than the client, and each was used to bring servers down (CVE-2019-9512 to 9518, CVE-2023-44487, CVE-2025-8671). All
of them draw on one account of points. It fills with time, and with work that was really done: an answer that left
earns more than the frames that honest clients send for it (window updates, pings that measure the path, a reset of a
call that the client lost interest in).
"""

from __future__ import annotations

from typing import Final

from coterie.http2.errors import ConnectionFault, ErrorCode
from coterie.http2.limits import SECOND, Limits

CHEAP: Final = 1
"""A frame that costs no more than its parsing."""
SETTINGS_COST: Final = 100
"""Settings may touch every stream."""
RESET_COST: Final = 10
"""A call that was begun for nothing."""
EARNED_BY_ANSWER: Final = 10
EARNED_BY_FRAME: Final = 3
"""By a DATA frame sent: window updates on stream and connection, and a ping."""


class Patience:
    """The account of one connection."""

    def __init__(self, limits: Limits, now: int) -> None:
        self._burst = limits.patience_burst
        self._rate = limits.patience_per_second
        self._points = self._burst
        self._since = now

    def earn(self, points: int) -> None:
        """Work was done for the client."""
        points += self._points
        self._points = min(self._burst, points)

    def spend(self, points: int, now: int, what: str) -> None:
        """The client asks for something; raises `ConnectionFault` if it has asked for too much."""
        passed = now - self._since
        if passed * self._rate >= SECOND:
            self._points = min(self._burst, self._points + passed * self._rate // SECOND)
            self._since = now
        self._points -= points
        if self._points < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")
