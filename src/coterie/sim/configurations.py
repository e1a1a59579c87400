"""Laws of membership: whose disks and whose votes decide, and how one configuration may follow another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from coterie.core.types import Entry, Epoch, Index, MemberId, Membership
from coterie.sim.shadow import NO_MEMBERSHIP, ShadowLog
from coterie.sim.verdict import Violation


def _enough(voters: Sequence[MemberId], members: Collection[MemberId], size: int) -> bool:
    """Whether so many of the voters are among the members; a size of 0 stands for a majority."""
    count = sum(voter in members for voter in voters)
    return count >= size if size else 2 * count > len(voters)


def _quorum(membership: Membership, members: Collection[MemberId], size: int) -> bool:
    """Of both configurations while the membership is joint (4.3)."""
    if not membership.voters:
        return False
    return _enough(membership.voters, members, size) and (
        not membership.outgoing or _enough(membership.outgoing, members, size)
    )


def elects(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether these members are a quorum that elects: phase 1."""
    return _quorum(membership, members, membership.phase_1)


def decides(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether these members are a quorum that commits: phase 2."""
    return _quorum(membership, members, membership.phase_2)


def serves(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether these members can elect and commit without any other."""
    return elects(membership, members) and decides(membership, members)


def quorums_meet(one: Membership, two: Membership) -> bool:
    """Whether every quorum by which the one elects has a member in common with every one by which the other commits,
    and the other way round ("Flexible Paxos", section 3)."""
    everyone = sorted({*one.voters, *one.outgoing, *two.voters, *two.outgoing})
    for chosen in range(1 << len(everyone)):
        inside = [member for bit, member in enumerate(everyone) if chosen >> bit & 1]
        outside = [member for member in everyone if member not in inside]
        if (elects(one, inside) and decides(two, outside)) or (decides(one, inside) and elects(two, outside)):
            return False
    return True


class ConfigurationLaws:
    """What was agreed on about who belongs to the group."""

    def __init__(self) -> None:
        self._index: Index = 0
        self.chosen: Membership = NO_MEMBERSHIP
        """The newest committed one."""
        self._belonged: dict[MemberId, Index] = {}
        """Everybody who ever belonged to the group, and since when, by a committed entry."""
        self._met: dict[tuple[Membership, Membership], bool] = {}
        self.changes = 0
        """Committed changes."""

    def committed(self, index: Index, membership: Membership) -> None:
        """A membership was committed."""
        if index <= self._index:
            return
        self.changes += bool(self.chosen.voters) and membership != self.chosen
        self._index, self.chosen = index, membership
        for member in membership.members:
            self._belonged.setdefault(member.id, index)

    def departed(self, member: MemberId) -> bool:
        """Whether it belonged to the group, and left it, by what is committed."""
        return member in self._belonged and self.chosen.member(member) is None

    def appended(
        self, member: MemberId, log: ShadowLog, entry: Entry, after: Membership, leads: bool, commit: Index
    ) -> None:
        """The member is about to write this membership: does it follow rightly on the one before it in the log?
        `leads`: it is a leader's own change."""
        at, before = log.membership_before(entry.index)
        if before.voters and not self._meet(before, after):
            raise Violation(
                "quorums-meet",
                f"{member} appends membership {entry.index}: a quorum of {_voters(after)} need not meet one of "
                f"{_voters(before)}",
            )
        if leads:
            self._check_leaders_change(member, log, entry.index, entry.epoch, at, commit)

    def _meet(self, one: Membership, two: Membership) -> bool:
        known = self._met.get((one, two))
        if known is None:
            known = self._met[one, two] = quorums_meet(one, two)
        return known

    @staticmethod
    def _check_leaders_change(
        member: MemberId, log: ShadowLog, index: Index, epoch: Epoch, before: Index, commit: Index
    ) -> None:
        if before > commit:
            raise Violation(
                "one-change", f"{member} appends membership {index}, and {before} is not committed ({commit} is)"
            )
        if index > 1 and log.epoch_at(commit) != epoch:
            raise Violation(
                "change-own-epoch",
                f"{member} appends membership {index} in {epoch}, and has committed nothing of that epoch: "
                f"entry {commit} is of {log.epoch_at(commit)}",
            )

    @staticmethod
    def check_candidate(member: MemberId, memberships: Iterable[Membership]) -> None:
        """The member asks for votes. It must be a voter by one of these: those that may be in force."""
        if not any(member in (*m.voters, *m.outgoing) for m in memberships):
            raise Violation("voter-leads", f"{member} asks for votes, and has none itself: a learner, or removed")

    def check_removed(self, member: MemberId, teller: MemberId) -> None:
        """`teller` acts on the removal of `member`."""
        if not self.departed(member):
            raise Violation("removed-committed", f"{teller} treats {member} as removed; by what is committed it is not")


def _voters(membership: Membership) -> str:
    return f"{membership.voters}" + (f" and {membership.outgoing}" if membership.outgoing else "")
