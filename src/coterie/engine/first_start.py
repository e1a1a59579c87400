"""The exchange of member ids at first start: how the first members agree on one first entry.

Every member named in the configuration mints its own id when its data directory is made. They tell
each other their ids. Each fixes *one* set of members durably, once it has heard of all; it starts
only when every one of them has echoed the same set's digest. So two members that start have the same
first entry (ids, names, addresses): whoever echoed a set has it on disk and will never fix another.

Pure: no I/O, no clock. Whoever drives it carries `Introduction`s between members (losing, repeating
and reordering them does no harm), makes the set in `to_fix` durable and then calls `fixed`.
"""

from __future__ import annotations

import hashlib

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.types import NOBODY, Member


class FirstStartConflict(CoterieError):
    """The members of a first start contradict each other, and repeating will not help."""


class Introduction(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """'This is me, these are the names I was told to expect, and this is the set that I have fixed.'"""

    member: Member
    names: tuple[tuple[str, str], ...]
    """(name, peer address) of every initial member in the sender's configuration, sorted."""
    fixed: bytes
    """Digest of the set that the sender has fixed durably; empty if none yet."""
    restored: bytes = b""
    """Digest of the state that the sender begins with; empty if with none."""


def canonical(members: tuple[Member, ...]) -> tuple[Member, ...]:
    """The members in the one order that everyone uses: by name."""
    return tuple(sorted(members, key=lambda member: member.name))


def digest(members: tuple[Member, ...], restored: bytes = b"") -> bytes:
    """32 bytes that name a set of members, and the state that they begin with: equal sets, in whatever order, give
    equal digests."""
    return hashlib.sha256(msgspec.msgpack.encode(canonical(members)) + restored).digest()


class FirstStart:
    """One member's view of the exchange."""

    def __init__(
        self,
        own: Member,
        names: tuple[tuple[str, str], ...],
        fixed: tuple[Member, ...] | None,
        restored: bytes = b"",
    ) -> None:
        """`own`: this member. `names`: (name, peer address) of every initial member, own included.
        `fixed`: the set that this data directory has fixed, if it has. `restored`: the digest of the state that it
        begins with, if it does.

        Raises `FirstStartConflict` if the configuration does not fit what is fixed or `own`.
        """
        self.own = own
        self.names = tuple(sorted(names))
        self._restored = restored
        self._addresses = dict(self.names)
        self._heard: dict[str, Member] = {own.name: own}
        self._echoed: set[str] = set()
        self._fixed: tuple[Member, ...] | None = None
        self._digest = b""
        if own.id == NOBODY:
            raise ValueError("a member id is never 0")
        if self._addresses.get(own.name) != own.peer:
            raise FirstStartConflict(
                f"the initial members do not list {own.name} at {own.peer}",
                advice="the member's own name and peer address must stand in initial_members as they stand for all",
            )
        if fixed is not None:
            self._adopt(fixed)

    def _adopt(self, members: tuple[Member, ...]) -> None:
        if self.own not in members or {(m.name, m.peer) for m in members} != set(self.names):
            listed = ", ".join(f"{m.name} at {m.peer}" for m in canonical(members))
            raise FirstStartConflict(
                f"this data directory has already fixed its first members ({listed}), with this member's id, name and "
                "addresses as they were then; the configuration now says something else",
                advice="start it with the configuration that it was first started with",
            )
        self._fixed = canonical(members)
        self._digest = digest(members, self._restored)
        self._heard = {m.name: m for m in members}
        self._echoed.add(self.own.name)

    @property
    def to_fix(self) -> tuple[Member, ...] | None:
        """The set to make durable now (then call `fixed`), or None: nothing to do yet, or done."""
        if self._fixed is not None or len(self._heard) < len(self.names):
            return None
        return canonical(tuple(self._heard.values()))

    def fixed(self, members: tuple[Member, ...]) -> None:
        """`members`, which `to_fix` gave, is durable. There will never be another set."""
        if self._fixed is not None and self._fixed != canonical(members):
            raise ValueError("a data directory fixes one set of first members, never another")
        self._adopt(members)

    @property
    def ready(self) -> bool:
        """Every member has echoed the set that this one has fixed: it may start."""
        return self._fixed is not None and len(self._echoed) == len(self.names)

    @property
    def members(self) -> tuple[Member, ...] | None:
        """The fixed set in canonical order, or None."""
        return self._fixed

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the members that have not echoed the set yet (or have not been heard of)."""
        return tuple(name for name, _ in self.names if name not in self._echoed and name != self.own.name)

    def introduction(self) -> Introduction:
        """What to tell any other member: as a question and as the answer to one."""
        return Introduction(self.own, self.names, self._digest, self._restored)

    def hear(self, other: Introduction) -> None:
        """Another member introduced itself. Raises `FirstStartConflict`; this member's state is then as before."""
        sender = other.member
        if self._addresses.get(sender.name) != sender.peer or sender.id == NOBODY:
            raise FirstStartConflict(
                f"a member calls itself {sender.name} at {sender.peer}; it is not among this member's initial members "
                f"({_listed(self.names)})",
                advice="give every initial member the same initial_members",
            )
        if other.names != self.names:
            raise FirstStartConflict(
                f"{sender.name} was configured with the initial members {_listed(other.names)}, "
                f"{self.own.name} with {_listed(self.names)}",
                advice="give every initial member the same initial_members",
            )
        if other.restored != self._restored:
            raise FirstStartConflict(
                f"{sender.name} begins with {_state(other.restored)}, {self.own.name} with {_state(self._restored)}",
                advice="restore the same snapshot file, with the same options, for every initial member, or for none: "
                "remove the data directory of the one that is wrong, and make it anew",
            )
        known = self._heard.get(sender.name)
        if known is not None and known != sender:
            self._contradiction(known, sender)
        if self._digest and other.fixed and other.fixed != self._digest:
            raise FirstStartConflict(
                f"{sender.name} and {self.own.name} have fixed different sets of first members: one of the data "
                "directories was made anew, or its addresses changed, between two attempts at a first start",
                advice="if the cluster has never started, remove the data directories of all its members and start "
                "again; if it has, restore the right data directory",
            )
        self._heard[sender.name] = sender
        if self._digest and other.fixed == self._digest:
            self._echoed.add(sender.name)

    def _contradiction(self, known: Member, sender: Member) -> None:
        if sender.name == self.own.name:
            raise FirstStartConflict(
                f"two members are called {sender.name} (ids {known.id:016x} and {sender.id:016x})",
                advice="give each member a name and a data directory of its own",
            )
        if self._fixed is None:
            # Nothing is promised yet: the latest word counts. The one that fell silent may never come back.
            self._heard[sender.name] = sender
            return
        raise FirstStartConflict(_stranger(known, sender))


def _stranger(known: Member, sender: Member) -> str:
    if known.id == sender.id:
        return (
            f"{sender.name} (id {sender.id:016x}) now has the addresses {sender.peer} and {sender.client}; the first "
            f"members were fixed with {known.peer} and {known.client}: start it with those"
        )
    return stranger_text(sender.name, known.id, sender.id)


def stranger_text(name: str, known: int, claimed: int) -> str:
    """What to tell a node that comes under a member's name with another id: its disk was wiped or is another's."""
    return (
        f"{name} is a member of this cluster with the id {known:016x}, and this data directory has the id "
        f"{claimed:016x}: it was wiped, or made anew, or is another member's. A member that lost its data must not "
        "come back under its old id. If the cluster has started: remove the member from it, then add it again. If it "
        "never started: remove the data directories of all its members and start again"
    )


def answer_started(own: Member, first: tuple[Member, ...], other: Introduction, restored: bytes = b"") -> Introduction:
    """What a member that has started answers: the set that it fixed then, never another; and with which state.

    Whoever has fixed the same set but crashed before it saw all echoes can start by it. Raises
    `FirstStartConflict` to be told to the sender: it is a stranger.
    """
    known = {m.name: m for m in first}.get(other.member.name)
    if known is None:
        raise FirstStartConflict(
            f"this cluster has started with {_listed(tuple((m.name, m.peer) for m in first))}; {other.member.name} was "
            "not among them: add it to the cluster instead of listing it in initial_members"
        )
    if known != other.member:
        raise FirstStartConflict(_stranger(known, other.member))
    return Introduction(own, tuple(sorted((m.name, m.peer) for m in first)), digest(first, restored), restored)


def _state(restored: bytes) -> str:
    return f"a restored state ({restored.hex()[:16]})" if restored else "an empty state"


def _listed(names: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name}={address}" for name, address in names)
