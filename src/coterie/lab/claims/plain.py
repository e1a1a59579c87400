"""Raft as papers have it: the core that ships, with mechanisms of its own switched off.

Nothing here is ever used by a cluster. What is left out is what the paper in question does not have: pre-vote and
stickiness (dissertation 9.6, 4.2.3), check-quorum (6.2), yielding (docs/decisions/0006-election-timeouts.md), pulling
(0011), attempts that follow each other sooner; and election timeouts are drawn from the range that the paper says.
"""

from __future__ import annotations

from typing import Unpack

import msgspec

from coterie.core.messages import PreVote, PreVoteReply, RequestVote
from coterie.core.raft.election import RaftElection
from coterie.core.raft.follower import Follower
from coterie.core.raft.leader import RaftLeadership
from coterie.core.raft.replica import Raft
from coterie.core.raft.state import RaftState
from coterie.core.replica import Replica
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.lab.claims.seat import Given, Maker


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """Which Raft."""

    spread: Nanos
    """Timeouts are drawn evenly from [T, T + spread], T being the configuration's; 0: all are T."""
    pre_vote: bool = False
    """A pre-vote comes before each election, refused by who heard a leader within T. Votes are never refused for
    that."""
    check_quorum: bool = False
    """A leader that no quorum answered for T gives up."""
    eager: bool = False
    """A candidate asks for votes while its own disk still writes the new term, and not after that. One that crashes
    then may win the same term twice: what ships waits."""


class PlainElection(RaftElection):
    """Votes as in the Raft paper's figure 2."""

    def __init__(self, state: RaftState, stream: Follower, now: Nanos, dialect: Dialect) -> None:
        self._dialect = dialect
        super().__init__(state, stream, now)

    def _draw_timeout(self) -> None:
        state = self._state
        self._timeout = state.config.election_timeout + state.rng.randrange(self._dialect.spread + 1)

    def _wait_for_outcome(self, now: Nanos) -> None:
        """Each election has a whole timeout (5.2)."""
        self._since = now
        self._draw_timeout()

    def _pre_campaign(self, now: Nanos) -> bool:
        if self._dialect.pre_vote:
            return super()._pre_campaign(now)
        self._state.reason = "its timer ran out"
        self._state.leader = NOBODY
        return self._campaign(now)

    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        won = super()._campaign(now, transfer=transfer)
        if self._dialect.eager:
            outbox = self._state.outbox
            asked = [(to, m) for _, to, m in outbox.send_after if isinstance(m, RequestVote)]
            outbox.send_after = [held for held in outbox.send_after if not isinstance(held[2], RequestVote)]
            outbox.send.extend(asked)
        return won

    def _yields_to(self, sender: MemberId, m: PreVote) -> bool:
        return False

    def handle_pre_vote_reply(self, now: Nanos, sender: MemberId, m: PreVoteReply) -> None:
        """Without what leads to pulling."""
        super().handle_pre_vote_reply(now, sender, msgspec.structs.replace(m, behind=False))

    def handle_request_vote(self, now: Nanos, sender: MemberId, m: RequestVote) -> None:
        """Whoever heard a leader a moment ago votes all the same, as it does for a successor that a leader chose."""
        super().handle_request_vote(now, sender, msgspec.structs.replace(m, transfer=True))


class Unquestioned(RaftLeadership):
    """Leads on, whether or not anybody answers."""

    _looked_at: Nanos = 0

    @property
    def _answered_at(self) -> Nanos:
        return self._looked_at

    def resignation(self, now: Nanos) -> str | None:
        """Only for other reasons."""
        self._looked_at = now
        return super().resignation(now)

    def deadline(self, now: Nanos) -> Nanos:
        """Only for other reasons."""
        self._looked_at = now
        return super().deadline(now)


class PlainRaft(Raft):
    """A member of such a group."""

    def __init__(self, dialect: Dialect, **given: Unpack[Given]) -> None:
        super().__init__(snapshots=None, **given)
        self._dialect = dialect
        self._election = PlainElection(self._state, self._stream, given["now"], dialect)

    def _new_leadership(self, now: Nanos) -> RaftLeadership:
        if self._dialect.check_quorum:
            return super()._new_leadership(now)
        return Unquestioned(self._state, self._snapshots, now, self._election.campaign_began)


def plain(dialect: Dialect) -> Maker:
    """Makes members of this dialect."""

    def make(**given: Unpack[Given]) -> Replica:
        return PlainRaft(dialect, **given)

    return make
