"""Laws of membership: whose disks and whose votes decide, and how one configuration may follow another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from coterie.core.types import Entry, Epoch, Index, MemberId, Membership
from coterie.sim.shadow import NO_MEMBERSHIP, ShadowLog
from coterie.sim.verdict import Violation


def _enough(voters: Sequence[MemberId], size: int, members: Collection[MemberId]) -> bool:
    counted = sum(voter in members for voter in voters)
    return counted >= size if size else 2 * counted > len(voters)


def elects(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether these members may elect: by both configurations, each with its own sizes, while it is joint (4.3)."""
    if not membership.voters:
        return False
    return _enough(membership.voters, membership.phase_1, members) and (
        not membership.outgoing or _enough(membership.outgoing, membership.outgoing_phase_1, members)
    )


def commits(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether these members may commit, likewise."""
    if not membership.voters:
        return False
    return _enough(membership.voters, membership.phase_2, members) and (
        not membership.outgoing or _enough(membership.outgoing, membership.outgoing_phase_2, members)
    )


def decides(membership: Membership, members: Collection[MemberId]) -> bool:
    """Whether the group works with these members alone: they may elect, and commit."""
    return elects(membership, members) and commits(membership, members)


def quorums_meet(one: Membership, two: Membership, *, electors_meet: bool) -> bool:
    """Whether every quorum by which the one elects has a member in common with every one by which the other commits,
    and the other way round ("Flexible Paxos", section 3); `electors_meet`: and with every one that elects (Raft)."""
    everyone = sorted({*one.voters, *one.outgoing, *two.voters, *two.outgoing})
    for chosen in range(1 << len(everyone)):
        inside = [member for bit, member in enumerate(everyone) if chosen >> bit & 1]
        others = [member for member in everyone if member not in inside]
        if elects(one, inside) and (commits(two, others) or (electors_meet and elects(two, others))):
            return False
        if commits(one, inside) and elects(two, others):
            return False
    return True


def counting(membership: Membership) -> str:
    """By what a membership counts, for people who read of a violation."""
    text = f"{membership.voters}{_sizes(membership.phase_1, membership.phase_2)}"
    if not membership.outgoing:
        return text
    sizes = _sizes(membership.outgoing_phase_1, membership.outgoing_phase_2)
    return f"{text} and {membership.outgoing}{sizes}"


def _sizes(phase_1: int, phase_2: int) -> str:
    return f" with quorums of {phase_1} and {phase_2}" if phase_1 or phase_2 else ""


class ConfigurationLaws:
    """What was agreed on about who belongs to the group."""

    def __init__(self, *, electors_meet: bool) -> None:
        self._electors_meet = electors_meet
        self._index: Index = 0
        self.chosen: Membership = NO_MEMBERSHIP
        """The newest committed one."""
        self._belonged: dict[MemberId, Index] = {}
        """Everybody who ever belonged to the group, and since when, by a committed entry."""
        self.answered: dict[MemberId, Epoch] = {}
        """The last epoch in which each member acknowledged what its leader sent."""
        self.forced = False
        """An administrator has insisted: from then on nobody can tell which voters were to be ready."""
        self._met: dict[tuple[Membership, Membership], bool] = {}
        self.changes = 0
        """Committed changes."""
        self.resized = 0
        """Those of quorum sizes."""

    def committed(self, index: Index, membership: Membership) -> None:
        """A membership was committed."""
        if index <= self._index:
            return
        self.changes += bool(self.chosen.voters) and membership != self.chosen
        was = self.chosen
        self.resized += (was.phase_1, was.phase_2) != (membership.phase_1, membership.phase_2)
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
        for other in (before, after):
            if other.voters and not self._meet(other, after):
                raise Violation(
                    "quorums-meet",
                    f"{member} appends membership {entry.index}: a quorum of {counting(after)} need not meet one of "
                    f"{counting(other)}",
                )
        if leads:
            self._check_leaders_change(member, log, entry.index, entry.epoch, at, commit)
            self._check_ready(member, entry, before, after)

    def _meet(self, one: Membership, two: Membership) -> bool:
        known = self._met.get((one, two))
        if known is None:
            known = self._met[one, two] = quorums_meet(one, two, electors_meet=self._electors_meet)
        return known

    def _check_ready(self, member: MemberId, entry: Entry, before: Membership, after: Membership) -> None:
        if self.forced or not before.voters:
            return
        for voter in after.voters:
            if voter not in (*before.voters, *before.outgoing) and self.answered.get(voter) != entry.epoch:
                raise Violation(
                    "promoted-ready",
                    f"{member} makes {voter} a voter by membership {entry.index} of {entry.epoch}, and it last "
                    f"answered a leader in {self.answered.get(voter)}",
                )

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
