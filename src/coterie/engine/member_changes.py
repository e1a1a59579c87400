"""From what an administrator wants to a change of the membership: names become ids, nonsense is refused.

What is unsafe or premature is refused by the replica, which knows quorums and progress. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from coterie.core.types import NOBODY, Member, MemberId, Membership, MembershipChange
from coterie.engine.admin_requests import AddedMember, ChangeMembers, ClaimMember, MembersChanged
from coterie.engine.member_names import ADDRESS_RULE, NAME_RULE, legal_address, legal_name

MAX_MEMBERS = 64
UNCLAIMED = 0


class BadChange(msgspec.Struct, frozen=True):
    """The change makes no sense: why, in words."""

    problem: str
    later: bool = False
    """It may make sense later."""


class Planned(msgspec.Struct, frozen=True):
    """What to ask of the replica, and what to answer when it is done."""

    change: MembershipChange
    done: MembersChanged


class AlreadyDone(msgspec.Struct, frozen=True):
    """An earlier attempt did it."""

    done: MembersChanged


Plan: TypeAlias = Planned | AlreadyDone | BadChange


def member_named(membership: Membership, name: str) -> Member | None:
    """The member of this name, or None."""
    return next((member for member in membership.members if member.name == name), None)


def plan_change(membership: Membership, request: ChangeMembers, rng: random.Random) -> Plan:
    """The change that a request asks for, given the members that there are."""
    problem = _nonsense(membership, request)
    if problem:
        return BadChange(problem)
    added: list[AddedMember] = []
    new: list[Member] = []
    for wanted in request.add:
        known = member_named(membership, wanted.name)
        if known is None:
            known = Member(_mint(membership, new, rng), wanted.name, wanted.peer, wanted.client)
            new.append(known)
        elif not (request.again and (known.peer, known.client) == (wanted.peer, wanted.client)):
            return BadChange(
                f"there is a member called {wanted.name} already (id {known.id:016x}, at {known.peer}); choose another "
                "name, or remove that member first"
            )
        added.append(AddedMember(known.name, known.id, known.peer, known.client))
    promote: list[MemberId] = []
    for name in request.promote:
        member = member_named(membership, name) or next((m for m in new if m.name == name), None)
        if member is None:
            return BadChange(_nobody(membership, name))
        if member.id in membership.voters:
            if not request.again:
                return BadChange(f"{name} is a voter already")
        elif member.claim == UNCLAIMED:
            return BadChange(
                f"{name} has never started: a voter without a data directory makes every quorum harder to reach. Start "
                "it with --join, wait until it has caught up, then promote it",
                later=True,
            )
        else:
            promote.append(member.id)
    remove: list[MemberId] = []
    for name in request.remove:
        member = member_named(membership, name)
        if member is not None:
            remove.append(member.id)
        elif not request.again:
            return BadChange(_nobody(membership, name))
    moved: list[Member] = []
    for wanted in request.move:
        member = member_named(membership, wanted.name)
        if member is None:
            return BadChange(_nobody(membership, wanted.name))
        there = msgspec.structs.replace(member, peer=wanted.peer, client=wanted.client or member.client)
        if there != member:
            moved.append(there)
    done = MembersChanged(tuple(added))
    if not (new or promote or remove or moved):
        return AlreadyDone(done)
    return Planned(MembershipChange(tuple(new), tuple(promote), tuple(remove), tuple(moved), request.force), done)


def _nonsense(membership: Membership, request: ChangeMembers) -> str:
    """What is wrong with the request whatever the members are, or with its addresses; "" if nothing."""
    if not (request.add or request.promote or request.remove or request.move):
        return "the change changes nothing"
    for what, names in (
        ("added", [wanted.name for wanted in request.add]),
        ("promoted", list(request.promote)),
        ("removed", list(request.remove)),
        ("moved", [wanted.name for wanted in request.move]),
    ):
        twice = _twice(names)
        if twice:
            return f"{twice} is {what} twice in one change"
    both = set(request.remove) & ({wanted.name for wanted in request.add} | set(request.promote))
    if both:
        return f"{min(both)} cannot be removed and added or promoted in one change"
    if len(membership.members) + len(request.add) - len(request.remove) > MAX_MEMBERS:
        return f"a cluster has at most {MAX_MEMBERS} members"
    left = {*request.remove, *(wanted.name for wanted in request.move)}
    taken = {member.peer: member.name for member in membership.members if member.name not in left}
    for wanted in (*request.add, *request.move):
        if not legal_name(wanted.name):
            return f"{wanted.name!r} is not a member's name: {NAME_RULE}"
        if not legal_address(wanted.peer):
            return f"the peer address {wanted.peer!r} is not one: {ADDRESS_RULE}"
        if wanted.client and not legal_address(wanted.client):
            return f"the client address {wanted.client!r} is not one: {ADDRESS_RULE}"
        owner = taken.setdefault(wanted.peer, wanted.name)
        if owner != wanted.name:
            return f"the peer address {wanted.peer} is {owner}'s: every member has its own"
    return ""


def plan_claim(membership: Membership, request: ClaimMember) -> Plan:
    """The change by which a data directory claims its id; refused if another has it."""
    member = membership.member(request.member)
    if member is None:
        return BadChange(
            f"no member has the id {request.member:016x}: it was removed. Add it again, with a new data directory"
        )
    if request.claim == UNCLAIMED:
        return BadChange("a claim is 64 random bits, and not 0")
    if member.claim == request.claim:
        return AlreadyDone(MembersChanged())
    if member.claim != UNCLAIMED or member.id in membership.voters:
        # A second disk under one id would be a voter that forgot what the first had promised.
        return BadChange(
            f"{member.name} (id {member.id:016x}) has a data directory already, and it is not this one: this one was "
            "wiped, or made anew, or the name is another member's. A member that lost its data does not come back "
            f"under its old id: `coterie member remove {member.name}`, then `coterie member add {member.name} ...`, "
            "then start it with an empty data directory"
        )
    if request.client and not legal_address(request.client):
        return BadChange(f"the client address {request.client!r} is not one: {ADDRESS_RULE}")
    name = request.name or member.name
    if name != member.name:
        if not legal_name(name):
            return BadChange(f"{name!r} is not a member's name: {NAME_RULE}")
        if member_named(membership, name) is not None:
            return BadChange(f"there is a member called {name} already: choose another name")
    claimed = msgspec.structs.replace(member, claim=request.claim, client=request.client or member.client, name=name)
    return Planned(MembershipChange(update=(claimed,)), MembersChanged())


def _twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _nobody(membership: Membership, name: str) -> str:
    return f"no member is called {name!r}; the members are {', '.join(m.name for m in membership.members)}"


def _mint(membership: Membership, new: list[Member], rng: random.Random) -> MemberId:
    taken = {NOBODY, *(member.id for member in membership.members), *(member.id for member in new)}
    while (member := rng.getrandbits(64)) in taken:
        pass
    return member
