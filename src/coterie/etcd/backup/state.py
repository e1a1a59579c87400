"""What a snapshot file holds, of a key-value machine and of its cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from coterie.machine.kv.auth.roles import Role, User
from coterie.machine.kv.protocol import AlarmKind, Item


class Lease(msgspec.Struct, frozen=True):
    """A lease; `ttl` and `remaining` in seconds. Which keys are attached to it, the items say."""

    id: int
    ttl: int
    remaining: int = 0
    """0: all of its life. Another number is to be found only where etcd made checkpoints of leases; it must not be
    written for an etcd that makes none (the default), for there it would be the lease's whole life from then on."""


class Auth(msgspec.Struct, frozen=True):
    """The auth store. Tokens are not part of it: they are short-lived, and etcd keeps them in memory."""

    enabled: bool = False
    revision: int = 0
    """0: as if nothing was ever done with auth; etcd's begins at 1."""
    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """A member of the cluster that the snapshot is from."""

    id: int
    name: str
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    learner: bool = False


class Origin(msgspec.Struct, frozen=True):
    """Where in which cluster's life the snapshot was taken. A restore begins another cluster, so all of this is for
    people."""

    index: int = 0
    """Applied, of the log."""
    term: int = 0
    cluster_version: str = ""
    members: tuple[Member, ...] = ()
    removed: tuple[int, ...] = ()
    """Ids of removed members."""


@dataclass(frozen=True)
class State:
    """All of it. `items` may be such that they can be iterated but once; of the rest, leases are the most."""

    revision: int
    compacted: int
    """-1: never."""
    items: Iterable[Item]
    """As `Data.items` gives them; those older than the compaction's own may come in any order."""
    leases: tuple[Lease, ...] = ()
    alarms: tuple[tuple[int, AlarmKind], ...] = ()
    """Member and kind."""
    auth: Auth = field(default_factory=Auth)
    origin: Origin = field(default_factory=Origin)
