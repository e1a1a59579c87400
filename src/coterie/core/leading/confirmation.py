"""How a leader knows that it still leads: numbered rounds that a quorum answers (6.2, 6.4).

Every `Append` carries the number of the newest round, every reply brings it back. A round that a
phase-2 quorum answered proves that no newer leader could have committed anything before the round
began. Check-quorum, linearizable reads, cluster time and the age of stale reads all rest on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from coterie.core.leading.progress import Progress
from coterie.core.quorum import Quorum
from coterie.core.types import MemberId, Nanos

GAP_IN_HEARTBEATS = 3
"""Of a longer time between two entries or rounds, only this many heartbeat intervals count as cluster time: the leader
may have been asleep, with its clients' keep-alives unread."""


class Confirmation:
    """The rounds of one leadership."""

    def __init__(self, own: MemberId, campaign_began: Nanos, now: Nanos, heartbeat_interval: Nanos) -> None:
        self._own = own
        self._longest_step = GAP_IN_HEARTBEATS * heartbeat_interval
        self.round = 0
        self.confirmed_round = 0
        self.confirmed_at: Nanos = campaign_began
        """Start of the newest confirmed round; at first, when the campaign began whose votes are as good as answers:
        every two quorums that elect meet, so no newer leader had been elected by then."""
        self.credit: Nanos = 0
        """Confirmed time that the log does not carry yet."""
        self._counted_to: Nanos = now
        """Time up to here is counted, or never will be. It begins with the election, not with the campaign: entries of
        the leader before, which this one was given meanwhile, may have counted up to when a voter took them."""
        self._starts: deque[tuple[int, Nanos]] = deque()

    def begin(self, now: Nanos) -> int:
        """Start a round: the next messages carry its number."""
        self.round += 1
        self._starts.append((self.round, now))
        return self.round

    def update(self, progress: Mapping[MemberId, Progress], quorum: Quorum) -> bool:
        """Look which rounds a quorum has answered by now. Returns whether a further one has."""
        acked = {member: p.acked_round for member, p in progress.items()}
        acked[self._own] = self.round
        confirmed = quorum.agreed(acked)
        if confirmed <= self.confirmed_round:
            return False
        self.confirmed_round = confirmed
        while self._starts and self._starts[0][0] <= confirmed:
            _, start = self._starts.popleft()
            self._count_to(start)
            self.confirmed_at = max(self.confirmed_at, start)
        return True

    def take_time(self, now: Nanos) -> Nanos:
        """The time that an entry carries into the log which is appended now.

        All up to now, not only to the newest confirmed round: the entry counts if it is committed, and then this
        member led when it was appended. If the log's time lagged there, what begins with this entry, a lease say, would
        begin in the past and end early.
        """
        self._count_to(now)
        credit, self.credit = self.credit, 0
        return credit

    def _count_to(self, now: Nanos) -> None:
        if now > self._counted_to:
            self.credit += min(now - self._counted_to, self._longest_step)
            self._counted_to = now
