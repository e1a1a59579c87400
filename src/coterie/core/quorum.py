"""Quorums as values: who must agree for a decision to stand.

Any two quorums of which one elects (phase 1) and one commits (phase 2) must meet, and in Raft any
two that elect ("Flexible Paxos", section 3; Raft 5.2). Joint configurations need no `if` anywhere
else: a joint quorum is reached when both its halves are (dissertation 4.3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from coterie.core.types import MemberId, Membership

T = TypeVar("T")


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


def _quorum(membership: Membership, size: int, outgoing_size: int) -> Quorum:
    incoming = Threshold(membership.voters, size or majority(len(membership.voters)))
    if not membership.outgoing:
        return incoming
    # The old half keeps the old sizes until it is left: with the new ones it would be quorums that nobody agreed on.
    return Joint(incoming, Threshold(membership.outgoing, outgoing_size or majority(len(membership.outgoing))))


def phase_1(membership: Membership) -> Quorum:
    """Who elects: vote, pre-vote, prepare."""
    return _quorum(membership, membership.phase_1, membership.outgoing_phase_1)


def phase_2(membership: Membership) -> Quorum:
    """Who decides: commit, read index, check-quorum, lease."""
    return _quorum(membership, membership.phase_2, membership.outgoing_phase_2)


def in_words(first: int, second: int) -> str:
    """Quorum sizes, for people."""
    return f"{first or 'a majority'} to elect, {second or 'a majority'} to commit"


def least_phase_1(voters: int, second: int, *, electors_meet: bool) -> int:
    """The least size of quorums that elect, beside ones of `second` that commit. A size of 0 stands for a majority,
    here and in what is returned: that of as many voters as there are, now and later."""
    least = voters - (second or majority(voters)) + 1
    least = max(least, majority(voters) if electors_meet else 1)
    return 0 if least == majority(voters) else least


def least_phase_2(voters: int, first: int) -> int:
    """The least size of quorums that commit, beside ones of `first` that elect. 0 as in `least_phase_1`."""
    least = max(voters - (first or majority(voters)) + 1, 1)
    return 0 if least == majority(voters) else least


def apart(
    voters: Sequence[T], first: int, second: int, *, electors_meet: bool
) -> tuple[Sequence[T], Sequence[T], bool] | None:
    """Two quorums of these sizes that must meet and do not; None if all do. The first elects; the second commits, if
    the flag is True, or elects, too. Sizes of 0 stand for a majority."""
    elects, commits = first or majority(len(voters)), second or majority(len(voters))
    if elects + commits <= len(voters):
        return voters[:elects], voters[elects : elects + commits], True
    if electors_meet and 2 * elects <= len(voters):
        return voters[:elects], voters[elects : 2 * elects], False
    return None


def flaw(voters: Sequence[str], first: int, second: int, *, electors_meet: bool) -> str:
    """Why quorums of these sizes would not do for the voters of these names, with an example; empty if they do.

    Every quorum that elects must meet every one that commits, or a new leader would not know what was decided
    ("Flexible Paxos", section 3). `electors_meet`: also every other that elects. That is so where members vote for an
    epoch that several may seek: it would have two leaders (Raft 5.2). A ballot of Multi-Paxos has one owner ("Paxos
    Made Simple", 2.2). Sizes of 0 stand for a majority.
    """
    count = len(voters)
    if not count:
        return "no voter would be left"
    most = max(first, second)
    if most > count:
        return f"a quorum of {most} is more than the {count} voters"
    found = apart(voters, first, second, electors_meet=electors_meet)
    if found is None:
        return ""
    one, other, commits = found
    least = least_phase_1(count, second, electors_meet=electors_meet) or majority(count)
    sets = f"of the {count} voters, {' '.join(one)} could elect a leader while {' '.join(other)}"
    if not commits:
        return f"{sets} elect another in the same epoch: they do not meet. {least} at least must elect"
    return f"{sets} commit: they do not meet. With {second or majority(count)} that commit, {least} at least must elect"
