"""Who is near enough to the leader's log to become a voter (dissertation 4.2.1; catalogue M10, M14).

A voter that has little of the log acknowledges nothing for as long as it takes to catch up: with it in the
quorum, one failure more may stop the group. So a learner is promoted only when it is near, answers, and has been
and done so for a while.
"""

from __future__ import annotations

from collections.abc import Mapping

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.leading.progress import Mode, Progress
from coterie.core.types import Index, MemberId, Nanos

MAX_TRAILING_ENTRIES = 250
"""Entries by which it may be behind: at a few an acknowledgement, it is there within some round trips (Consul's)."""
MAX_SILENCE_SHARE = 5
"""It has answered within one fifth of an election timeout (200 ms, unless configured), or two heartbeats."""
STABLE_ELECTION_TIMEOUTS = 1
"""And all that for so long, without a break."""


class CatchUp:
    """Since when each follower has been near, looked at with every heartbeat."""

    def __init__(self, config: ReplicaConfig) -> None:
        self._silence = max(config.election_timeout // MAX_SILENCE_SHARE, 2 * config.heartbeat_interval)
        self._stable = STABLE_ELECTION_TIMEOUTS * config.election_timeout
        self._near_since: dict[MemberId, Nanos] = {}

    def observe(self, now: Nanos, progress: Mapping[MemberId, Progress], last_index: Index) -> None:
        """Look who is near."""
        for member, p in progress.items():
            if self._far(now, p, last_index):
                self._near_since.pop(member, None)
            else:
                self._near_since.setdefault(member, now)

    def forget(self, member: MemberId) -> None:
        """It left the group."""
        self._near_since.pop(member, None)

    def _far(self, now: Nanos, p: Progress, last_index: Index) -> str:
        """Why it is not near at this moment, in words; empty if it is."""
        if not p.counts:
            return "its log was damaged, and is being repaired"
        if p.mode is not Mode.REPLICATE:
            return f"its log is not in line with the leader's yet ({p.mode.name.lower()})"
        if last_index - p.match > MAX_TRAILING_ENTRIES:
            return f"it is {last_index - p.match} entries behind, more than {MAX_TRAILING_ENTRIES}"
        if now - p.heard_at > self._silence:
            return f"it has not answered for {(now - p.heard_at) // MILLISECOND} ms"
        return ""

    def shortfall(self, now: Nanos, member: MemberId, p: Progress, last_index: Index) -> str:
        """Why it has not caught up, in words; empty if it has."""
        far = self._far(now, p, last_index)
        if far:
            return far
        since = self._near_since.get(member)
        if since is None or now - since < self._stable:
            near = 0 if since is None else (now - since) // MILLISECOND
            return f"it has kept up for {near} ms, and must for {self._stable // MILLISECOND} ms"
        return ""
