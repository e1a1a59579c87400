"""Quorums as values: who must agree for a decision to stand.

Any two quorums of which one elects (phase 1) and one commits (phase 2) must meet, and in Raft any
two that elect ("Flexible Paxos", section 3; Raft 5.2). Joint configurations need no `if` anywhere
else: a joint quorum is reached when both its halves are (dissertation 4.3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from coterie.core.types import MemberId, Membership


class Quorum(Protocol):
    """A family of sets of members, any of which may decide."""

    def reached(self, votes: Collection[MemberId]) -> bool:
        """Whether `votes` contains a quorum."""
        ...

    def agreed(self, values: Mapping[MemberId, int]) -> int:
        """The highest number that every member of some quorum has reached (missing: 0)."""
        ...


class Threshold(msgspec.Struct, frozen=True, array_like=True):
    """Any `size` of `voters`. An empty set of voters has no quorum at all."""

    voters: tuple[MemberId, ...]
    size: int

    def reached(self, votes: Collection[MemberId]) -> bool:
        """See `Quorum.reached`. Members that are not voters do not count (catalogue M07)."""
        return self.size > 0 and sum(1 for voter in self.voters if voter in votes) >= self.size

    def agreed(self, values: Mapping[MemberId, int]) -> int:
        """See `Quorum.agreed`."""
        if self.size <= 0:
            return 0
        reached = [values.get(voter, 0) for voter in self.voters]
        reached.sort()
        return reached[-self.size]


class Joint(msgspec.Struct, frozen=True, array_like=True):
    """A quorum of both configurations (dissertation 4.3)."""

    incoming: Threshold
    outgoing: Threshold

    def reached(self, votes: Collection[MemberId]) -> bool:
        """See `Quorum.reached`."""
        return self.incoming.reached(votes) and self.outgoing.reached(votes)

    def agreed(self, values: Mapping[MemberId, int]) -> int:
        """See `Quorum.agreed`."""
        return min(self.incoming.agreed(values), self.outgoing.agreed(values))


def majority(count: int) -> int:
    """More than half: the smallest size for which two quorums of `count` voters always meet."""
    return count // 2 + 1 if count else 0


def _quorum(membership: Membership, size: int) -> Quorum:
    incoming = Threshold(membership.voters, size or majority(len(membership.voters)))
    if not membership.outgoing:
        return incoming
    return Joint(incoming, Threshold(membership.outgoing, size or majority(len(membership.outgoing))))


def phase_1(membership: Membership) -> Quorum:
    """Who elects: vote, pre-vote, prepare."""
    return _quorum(membership, membership.phase_1)


def phase_2(membership: Membership) -> Quorum:
    """Who decides: commit, read index, check-quorum, lease."""
    return _quorum(membership, membership.phase_2)


def flaw(voters: int, first: int, second: int) -> str:
    """Why quorums of these sizes would not do for so many voters, in words; empty if they do.

    Every quorum that elects must meet every one that commits, or a new leader would not know what was decided; in
    Raft also every other that elects, or one epoch would have two leaders. Sizes of 0 stand for a majority.
    """
    elects, commits = first or majority(voters), second or majority(voters)
    if not voters:
        return "no voter would be left"
    if max(elects, commits) > voters:
        return f"a quorum of {max(elects, commits)} is more than the {voters} voters"
    if elects + commits <= voters:
        return f"of {voters} voters, a quorum of {elects} that elects need not meet one of {commits} that commits"
    if 2 * elects <= voters:
        return f"of {voters} voters, two quorums of {elects} that elect need not meet"
    return ""
