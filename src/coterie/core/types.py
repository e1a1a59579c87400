"""The values that replicas exchange, keep and agree on."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec

from coterie.core.settings import Settings

MemberId: TypeAlias = int
"""64 random bits, minted once for a data directory; never 0. A member's name is a label for people."""

NOBODY: MemberId = 0
"""Stands where a member id would, when there is none (no vote cast, no leader known)."""

Index: TypeAlias = int
"""A position in the replicated log. The first entry has index 1; 0 means 'before the first'."""

Mark: TypeAlias = int
"""Sequence number of a store batch. `stored(n)` covers every batch up to n. 0 means 'nothing to wait for'."""

Token: TypeAlias = int
"""A caller's own name for a proposal or a read; the outcome carries it back."""

Nanos: TypeAlias = int
"""Nanoseconds, of a monotonic clock or of cluster time."""


class Epoch(NamedTuple):
    """A leader's period of authority: Raft's term as (term, 0), Paxos's ballot as (round, node).

    Ordered lexicographically, so ballots of two proposers never collide ("Paxos Made Simple", 2.2).
    """

    round: int
    node: MemberId

    def __str__(self) -> str:
        """For people: Raft's term is one number."""
        return f"{self.round}.{self.node:x}" if self.node else str(self.round)


NO_EPOCH = Epoch(0, 0)


class EntryKind(IntEnum):
    """What an entry's payload means."""

    NOOP = 0
    """Empty: the first entry of a leader's own epoch (Raft 5.4.2, 8), or the filler of a gap."""
    COMMANDS = 1
    """A batch of commands for the state machine; the engine's business, opaque to the replica."""
    MEMBERSHIP = 2
    """A `Membership`, MessagePack encoded."""
    SETTINGS = 3
    """A `Settings`, MessagePack encoded: what all members must share."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the replicated log: many commands, agreed on together.

    `elapsed` is the leader's monotonic time, in nanoseconds, that a quorum confirmed since the
    entry before it: the sum over the log is *cluster time* (leases and sessions expire by it).
    """

    index: Index
    epoch: Epoch
    kind: EntryKind
    elapsed: Nanos
    payload: bytes


class Repair(msgspec.Struct, frozen=True, array_like=True):
    """What a member owes whose log was damaged: it is silent until a leader has given it back (`core/repair.py`)."""

    until: Index
    """The end that its log had: it may have acknowledged entries up to here."""
    epoch: Epoch
    """The one that it had reached then: it has neither voted nor acknowledged in a later one."""


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What must be durable before a vote, a promise or an epoch of one's own is spoken of (Raft 5.2)."""

    epoch: Epoch = NO_EPOCH
    vote: MemberId = NOBODY
    repair: Repair | None = None
    """The log was damaged, and is not whole again."""


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A member as the membership knows it. Addresses are `host:port`."""

    id: MemberId
    name: str
    peer: str
    client: str
    claim: int = 0
    """64 random bits of the data directory that joined with this id; 0: an initial member, or not claimed yet.
    Another directory that comes with the same id is refused."""


class Membership(msgspec.Struct, frozen=True, array_like=True):
    """Who belongs to the group, and with what weight: agreed in the log, never local configuration.

    `voters` is the (incoming) configuration; `outgoing` the one being left while the change is
    joint (dissertation 4.3), empty otherwise. `phase_1` (who elects) and `phase_2` (who commits) are
    quorum sizes, 0 for a majority ("Flexible Paxos", section 3).
    """

    members: tuple[Member, ...]
    voters: tuple[MemberId, ...]
    outgoing: tuple[MemberId, ...] = ()
    learners: tuple[MemberId, ...] = ()
    phase_1: int = 0
    phase_2: int = 0
    outgoing_phase_1: int = 0
    """The quorum sizes by which `outgoing` counts: quorums of the old sizes need not meet those of the new ones."""
    outgoing_phase_2: int = 0
    serial: int = 0
    """One more than that of the membership which this one was made from."""

    def member(self, member: MemberId) -> Member | None:
        """The member with this id, or None."""
        for candidate in self.members:
            if candidate.id == member:
                return candidate
        return None

    def others(self, own: MemberId) -> tuple[MemberId, ...]:
        """Ids of all members but `own`, voters and learners, in a fixed order."""
        return tuple(m.id for m in self.members if m.id != own)


class MembershipChange(msgspec.Struct, frozen=True, array_like=True):
    """One change of the membership, of any number of members and of quorum sizes (dissertation 4.3). All of it, or
    nothing.

    `add` joins as learners; an id both in `add` and in `promote` becomes a voter in the same change.
    """

    add: tuple[Member, ...] = ()
    promote: tuple[MemberId, ...] = ()
    remove: tuple[MemberId, ...] = ()
    update: tuple[Member, ...] = ()
    """Members known by id whose name, addresses or claim change; their weight does not."""
    force: bool = False
    """Promote who has not caught up, too; and change the voters though too few of the new ones answer."""
    phase_1: int | None = None
    """The size of quorums that elect, 0 for a majority. None: as it is, and if `phase_2` is given and the present size
    would not do with it, the least that does."""
    phase_2: int | None = None
    """The size of quorums that commit, likewise."""


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """What a log needs to know of the snapshot that it was reset to or compacted under: the state at `index`."""

    index: Index
    epoch: Epoch
    membership: Membership
    settings: Settings = Settings()


class Role(IntEnum):
    """What a member is at present."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3
    LEARNER = 4
