"""What administrators ask of a cluster, and what they are answered: members, leadership, settings, quorum sizes.

All of it is carried out by the leader; another member refuses with NOT_LEADER and names it. Members
are named as people name them: the leader finds the ids.

`again` says that an earlier attempt of the same request had no answer, so it may have happened: what
is asked for and found done is then a success. Without it, it is an error (a name twice, nobody of that
name). So a client may repeat a change until it has an answer, and nothing is done twice.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coterie.core.types import MemberId

ANYBODY = ""
"""Transfer: to the most advanced voter."""


class NewMember(msgspec.Struct, frozen=True, array_like=True):
    """A member to be added; the leader mints its id. Addresses are `host:port`."""

    name: str
    peer: str
    client: str


class ChangeMembers(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Change the membership: all of it, or nothing. The `Answer`'s body is a `MembersChanged`."""

    id: int
    add: tuple[NewMember, ...] = ()
    """They join as learners."""
    promote: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    force: bool = False
    """Promote who has not caught up, too."""
    again: bool = False
    move: tuple[NewMember, ...] = ()
    """Members, by name, that are at other addresses from now on; an empty client address stays as it is."""


class ClaimMember(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A data directory that joins claims the id that was minted for it; another directory never gets it.
    The `Answer`'s body is empty."""

    id: int
    member: MemberId
    claim: int
    """64 random bits of the data directory, not 0."""
    client: str
    """Where it serves clients, if that was not said when it was added."""
    name: str = ""
    """What it is called from now on, if it was added without a name (through etcd's API, which has none)."""


class TransferLeadership(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Hand leadership to the member of this name, or to `ANYBODY`. The `Answer`'s body is the MessagePack
    of the new leader's name."""

    id: int
    to: str


class ChangeSetting(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Change one setting; `value` as people write it. The `Answer`'s body is the `Settings` that then hold."""

    id: int
    name: str
    value: str


class AskMembers(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Who belongs to the cluster, and how far each is; the `Answer`'s body is a `MemberList`."""

    id: int


class AskSettings(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The settings in force; the `Answer`'s body is a `Settings`."""

    id: int


class ChangeQuorums(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Change how many voters elect (phase 1) and commit (phase 2); 0: a majority. One that is None stays as it is, and
    if it would not do with the other, becomes the least that does. The `Answer`'s body is a `QuorumSizes`.

    Repeating it does no harm: what holds already is done."""

    id: int
    phase_1: int | None = None
    phase_2: int | None = None


class AskQuorums(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """The quorum sizes in force; the `Answer`'s body is a `QuorumSizes`."""

    id: int


AdminChange: TypeAlias = ChangeMembers | ClaimMember | TransferLeadership | ChangeSetting | ChangeQuorums
AdminQuestion: TypeAlias = AskMembers | AskSettings | AskQuorums
AdminRequest: TypeAlias = AdminChange | AdminQuestion


class AddedMember(msgspec.Struct, frozen=True):
    """A member that was added, with the id that was minted for it."""

    name: str
    id: MemberId
    peer: str
    client: str


class MembersChanged(msgspec.Struct, frozen=True):
    """A change of the membership is committed, and no joint configuration is left of it."""

    added: tuple[AddedMember, ...] = ()
    warning: str = ""
    """What the change risks, if it was forced."""


class QuorumSizes(msgspec.Struct, frozen=True):
    """How many of so many voters elect (phase 1) and commit (phase 2); 0: a majority."""

    voters: int = 0
    phase_1: int = 0
    phase_2: int = 0
    note: str = ""
    """After a change: what became of the size that was not named, in words."""


class MemberInfo(msgspec.Struct, frozen=True):
    """One member, as the leader knows it."""

    name: str
    id: MemberId
    role: str
    """`leader`, `follower` or `learner`."""
    voter: bool
    caught_up: bool
    """Near enough to the leader's log to be promoted."""
    behind: int
    """Entries of the leader's log that it is not known to have."""
    peer: str
    client: str
    healthy: bool
    """The leader heard from it within an election timeout."""
    claimed: bool = True
    """Its data directory exists: it is a first member, or it has joined."""
    repairing: bool = False
    """Its log was damaged: it counts for nothing until it is whole again."""


class MemberList(msgspec.Struct, frozen=True):
    """The members as the leader knows them."""

    cluster: int
    protocol: str
    leader: MemberId
    members: tuple[MemberInfo, ...]
    machine: str = ""
