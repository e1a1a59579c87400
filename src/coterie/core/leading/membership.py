"""What a membership change asks for, and whether it may be had: joint consensus (dissertation 4.3).

Pure functions of memberships. A change of voters goes through a joint configuration, in which elections and commits
need a quorum of the old voters *and* one of the new: at no moment can two sets decide alone, however many members
come and go at once. So does a change of quorum sizes: two of five may commit by the new sizes and three of five elect
by the old. A change of learners, names or addresses touches no quorum: one plain entry does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from coterie.core import quorum
from coterie.core.replica import Refusal
from coterie.core.types import NOBODY, Member, MemberId, Membership, MembershipChange

MAX_MEMBERS = 128
"""Members of one group, learners and leaving ones included."""

_encoder = msgspec.msgpack.Encoder()


class Rejection(msgspec.Struct, frozen=True):
    """Why a change may not be had."""

    reason: Refusal
    detail: str


def encode(membership: Membership) -> bytes:
    """The payload of a MEMBERSHIP entry."""
    return _encoder.encode(membership)


def plan(now: Membership, change: MembershipChange, *, electors_meet: bool = True) -> Membership | Rejection:
    """The membership to append for `change`: joint if it touches quorums. Says what makes no sense, or is unsafe.

    `now` must not be joint. `electors_meet`: see `quorum.flaw`. Whether learners have caught up, and who answers, is
    the leader's to know, not ours.
    """
    problem = _senseless(now, change)
    if problem:
        return Rejection(Refusal.INVALID, problem)
    renewed = {member.id: member for member in change.update}
    staying = [renewed.get(member.id, member) for member in now.members if member.id not in change.remove]
    members = (*staying, *change.add)
    leaving = tuple(member for member in now.members if member.id in change.remove and member.id in now.voters)
    problem = _ambiguous((*members, *leaving))
    if problem:
        return Rejection(Refusal.INVALID, problem)
    voters = (*(v for v in now.voters if v not in change.remove), *change.promote)
    learners = (
        *(i for i in now.learners if i not in change.remove and i not in change.promote),
        *(member.id for member in change.add if member.id not in change.promote),
    )
    names = sorted(member.name for member in members if member.id in voters)
    sizes = _sizes(now, change, names, electors_meet)
    if set(voters) == set(now.voters) and sizes == (now.phase_1, now.phase_2):
        return Membership(members, now.voters, (), learners, *sizes)
    problem = quorum.flaw(names, *sizes, electors_meet=electors_meet)
    if problem:
        return Rejection(Refusal.UNSAFE, problem)
    joint = Membership((*members, *leaving), voters, now.voters, learners, *sizes)
    return msgspec.structs.replace(joint, outgoing_phase_1=now.phase_1, outgoing_phase_2=now.phase_2)


def _sizes(now: Membership, change: MembershipChange, voters: list[str], electors_meet: bool) -> tuple[int, int]:
    """Both quorum sizes after the change, good or not: what is given holds; what is not stays, or, if it would not do
    with the one that is, gives way to the least that does."""
    first = now.phase_1 if change.phase_1 is None else change.phase_1
    second = now.phase_2 if change.phase_2 is None else change.phase_2
    if (change.phase_1 is None) == (change.phase_2 is None):
        return first, second
    if not quorum.flaw(voters, first, second, electors_meet=electors_meet):
        return first, second
    if change.phase_1 is None:
        return quorum.least_phase_1(len(voters), second, electors_meet=electors_meet), second
    return first, quorum.least_phase_2(len(voters), first)


def leave(joint: Membership) -> Membership:
    """The configuration that a joint one leads to: who is in neither list is gone."""
    staying = tuple(m for m in joint.members if m.id in joint.voters or m.id in joint.learners)
    return Membership(staying, joint.voters, (), joint.learners, joint.phase_1, joint.phase_2)


def _words(members: Iterable[Member], ids: Iterable[MemberId]) -> str:
    names = {member.id: member.name for member in members}
    return ", ".join(names.get(i) or f"member {i:016x}" for i in ids)


def _twice(values: Iterable[object]) -> list[str]:
    return [str(value) for value, count in Counter(values).items() if count > 1]


def _senseless(now: Membership, change: MembershipChange) -> str:
    """What in the change contradicts the membership or itself, in words; empty if nothing does."""
    known = {member.id for member in now.members}
    added = {member.id for member in change.add}
    removed = set(change.remove)
    sizes = [size for size in (change.phase_1, change.phase_2) if size is not None]
    if not (change.add or change.promote or change.remove or change.update or sizes):
        return "the change is empty"
    if min(sizes, default=0) < 0:
        return f"a quorum of {min(sizes)} is none: its size is 0, for a majority, or a number of voters"
    if len(known | added) > MAX_MEMBERS:
        return f"a group has at most {MAX_MEMBERS} members"
    for ids in ([m.id for m in change.add], change.promote, change.remove, [m.id for m in change.update]):
        if _twice(ids):
            return f"{_words((*now.members, *change.add), [i for i in dict.fromkeys(ids) if ids.count(i) > 1])} twice"
    if NOBODY in added or known & added:
        return f"a member with the id {min(i for i in added if i in known or i == NOBODY):016x} cannot be added: " + (
            "0 is nobody's id" if NOBODY in added else "there is one already"
        )
    asked = removed | {member.id for member in change.update}
    if not asked <= known:
        return f"there is no {_words((), sorted(asked - known))}"
    if removed & (set(change.promote) | {member.id for member in change.update}):
        return "the same member is to be removed and to be promoted or updated"
    for promoted in change.promote:
        if promoted in now.voters:
            return f"{_words(now.members, [promoted])} is a voter already"
        if promoted not in now.learners and promoted not in added:
            return f"there is no {_words((), [promoted])} to promote"
    for updated in change.update:
        before = now.member(updated.id)
        if before is not None and before.claim and updated.claim != before.claim:
            return f"{before.name} belongs to another data directory already"
    return ""


def _ambiguous(members: tuple[Member, ...]) -> str:
    """Which name or peer address two members would share, in words; empty if none."""
    if not all(member.name and member.peer for member in members):
        return "a member needs a name and a peer address"
    names = _twice(member.name for member in members)
    if names:
        return f"the name {names[0]} is taken"
    peers = _twice(member.peer for member in members)
    if peers:
        return f"the peer address {peers[0]} is taken"
    return ""


def describe(before: Membership, after: Membership) -> str:
    """What changed, for people."""
    if before.outgoing and not after.outgoing and after.voters == before.voters:
        gone = [m.id for m in before.members if after.member(m.id) is None]
        left = f": {_words(before.members, gone)} left" if gone else ""
        return f"the joint configuration is over{left}"
    if not before.members:
        return "the membership is known"
    parts = []
    joining = [i for i in after.learners if i not in before.learners and i not in before.voters]
    promoted = [i for i in after.voters if i not in before.voters]
    leaving = [i for i in (*before.voters, *before.learners) if i not in after.voters and i not in after.learners]
    for text, ids in (("new learners", joining), ("new voters", promoted), ("leaving", leaving)):
        if ids:
            parts.append(f"{text}: {_words((*after.members, *before.members), ids)}")
    if (after.phase_1, after.phase_2) != (before.phase_1, before.phase_2):
        parts.append(f"quorums: {quorum.in_words(after.phase_1, after.phase_2)}")
    if not parts:
        changed = [m.id for m in after.members if before.member(m.id) != m]
        parts.append(f"updated: {_words(after.members, changed)}" if changed else "nothing changed")
    return ("joint configuration, " if after.outgoing else "membership, ") + "; ".join(parts)
