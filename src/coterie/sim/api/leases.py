"""What clients may rely on of leases, in true time: never too early, and no false word about one."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.core.types import Nanos
from coterie.sim.api.model import SECOND, Ended
from coterie.sim.options import Options
from coterie.sim.verdict import Violation

FOREVER: Final[Nanos] = 1 << 62
PPM: Final = 1_000_000
STEADY_PPM: Final = 50
"""By so much a clock may be wrong that nothing is wrong with."""


def fastest_ppm(options: Options) -> int:
    """By how many millionths clocks of this world run fast at most, and cluster time with the leader's."""
    return options.drift_ppm if options.has("clock") or options.has("unsteady-clock") else STEADY_PPM


class Life(msgspec.Struct):
    """A lease from its grant to its end, as the first replica applied them, in true time."""

    began: Nanos
    ended: Nanos = FOREVER
    expired: bool = False
    """False: it lives, or was revoked."""
    promised: Nanos = 0
    """It was said to live until then at least."""


class LeaseLaws:
    """Every lease's lives: an id may be granted again."""

    def __init__(self, fast_ppm: int) -> None:
        """`fast_ppm`: by so many millionths a leader's clock may run fast, and a lease be too short."""
        self._fast_ppm = fast_ppm
        self.lives: dict[int, list[Life]] = {}
        self._revoked: set[int] = set()
        """Ids that clients asked to revoke."""
        self._stopped: Nanos = 0
        """For so long clocks have stood still; one that then catches up makes cluster time jump."""

    def clock_stopped(self, duration: Nanos) -> None:
        """Some clock stands still for so long."""
        self._stopped += duration

    def granted(self, id: int, now: Nanos) -> None:
        """A replica is the first to apply the grant."""
        self.lives.setdefault(id, []).append(Life(now))

    def ended(self, ended: Ended, now: Nanos) -> None:
        """A replica is the first to apply the end."""
        life = self.lives[ended.lease.id][-1]
        life.ended, life.expired = now, ended.expired
        if not ended.expired and ended.lease.id not in self._revoked:
            raise Violation("lease-not-early", f"{ended} was revoked at {now}, and no client asked for that")
        self._check_time(ended.lease.id, life)

    def revoking(self, id: int) -> None:
        """A client is about to ask for the lease's end."""
        self._revoked.add(id)

    def promised(self, id: int, seconds: int, sent: Nanos, now: Nanos) -> None:
        """A client is told that the lease lives so long yet, in answer to what it sent at `sent`. The lease's time
        began after that."""
        overlapping = [life for life in self.lives.get(id, ()) if life.ended >= sent]
        if not overlapping:
            raise Violation("lease-told", f"lease {id} is said to live at {now}, and has not since {sent}")
        if len(overlapping) == 1:
            life = overlapping[0]
            length = seconds * SECOND * PPM // (PPM + self._fast_ppm)
            life.promised = max(life.promised, sent + length)
            self._check_time(id, life)

    def denied(self, id: int, sent: Nanos, now: Nanos) -> None:
        """A client is told that there is no such lease, in answer to what it sent at `sent`."""
        for life in self.lives.get(id, ()):
            if life.began <= sent and life.ended > now:
                raise Violation("lease-told", f"lease {id} is said not to be, and has lived since {life.began}")

    def _check_time(self, id: int, life: Life) -> None:
        if life.expired and life.ended < life.promised - self._stopped:
            raise Violation("lease-not-early", f"lease {id} ended at {life.ended}; it was to live to {life.promised}")
