"""Members that left and may not know it yet.

A member that was removed is in nobody's membership, so no leader would send it anything; it would not learn of the
entry that removed it, and would ask for votes for ever. So the leader goes on sending to it until it has heard that
the entry is committed (it then stops by itself), and no longer than a bounded time. One that was down then, and comes
back, is known by its asking for a pre-vote.
"""

from __future__ import annotations

from coterie.core.leading.progress import Progress
from coterie.core.messages import Acknowledgement
from coterie.core.state import State
from coterie.core.types import Index, MemberId, Nanos

MAX_DEPARTURES = 16
"""Departed members that are told at a time; further ones have to ask again."""
PATIENCE_ELECTION_TIMEOUTS = 10
"""How long one of them is sent to that does not answer as it should."""


class Departure:
    """One departed member: what it holds, and which round it must answer."""

    __slots__ = ("farewell_round", "progress", "removed_at", "until")

    def __init__(self, progress: Progress, removed_at: Index, until: Nanos) -> None:
        self.progress = progress
        self.removed_at = removed_at
        self.until = until
        self.farewell_round = 0
        """Rounds from this one on begin after the removal was committed and acknowledged: who answers one knows of
        the commit. 0: not that far yet."""


class Departures:
    """Those that a leader still tells."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.members: dict[MemberId, Departure] = {}

    def add(self, now: Nanos, member: MemberId, progress: Progress) -> None:
        """`member` left with the newest membership."""
        if len(self.members) < MAX_DEPARTURES:
            until = now + PATIENCE_ELECTION_TIMEOUTS * self._state.config.election_timeout
            self.members[member] = Departure(progress, self._state.membership_index, until)

    def answered(self, member: MemberId, m: Acknowledgement, newest_round: int) -> None:
        """It answered; perhaps it knows everything now."""
        departure = self.members[member]
        if departure.farewell_round:
            if m.accepted and m.round >= departure.farewell_round:
                del self.members[member]
        elif departure.progress.match >= departure.removed_at and self._state.commit >= departure.removed_at:
            departure.farewell_round = newest_round + 1

    def expire(self, now: Nanos) -> None:
        """Give up those that do not answer."""
        for member in [member for member, departure in self.members.items() if now > departure.until]:
            del self.members[member]
