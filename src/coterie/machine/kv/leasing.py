"""Commands and questions about leases. The rules and the words are etcd's (server/lease/lessor.go)."""

from __future__ import annotations

from typing import TypeAlias

from coterie.core.types import Nanos
from coterie.machine.interface import Rejected
from coterie.machine.kv.keyspace import Keyspace
from coterie.machine.kv.leases import MAX_ID, MAX_TTL_S, MIN_ID, MIN_TTL_S, SECOND
from coterie.machine.kv.protocol import Grant, KeepAlive, LeaseReply, Revoke, TimeToLive
from coterie.machine.kv.refusals import LEASE_EXISTS, LEASE_NOT_FOUND, TTL_TOO_LARGE
from coterie.machine.kv.sizes import ITEM_BYTES, MAX_ANSWER_BYTES, TOO_LARGE
from coterie.machine.sessions import session_id

LeaseCommand: TypeAlias = Grant | Revoke | KeepAlive | TimeToLive
NOT_THERE = -1
"""The time that a lease has left that does not exist."""


def run_lease(space: Keyspace, command: LeaseCommand, index: int, ordinal: int, now: Nanos) -> LeaseReply | Rejected:
    """Run the command, which is (index, ordinal) in the log."""
    if isinstance(command, Grant):
        return _grant(space, command, session_id(index, ordinal), now)
    lease = space.leases.granted.get(command.lease)
    if isinstance(command, Revoke):
        if lease is None:
            return LEASE_NOT_FOUND
        space.revoke(lease)
        return LeaseReply(space.data.revision, lease.id, 0)
    revision = space.data.revision
    if lease is None:
        return LeaseReply(revision, command.lease, NOT_THERE if isinstance(command, TimeToLive) else 0)
    if isinstance(command, KeepAlive):
        space.leases.renew(lease, now)
        return LeaseReply(revision, lease.id, lease.ttl, lease.ttl)
    keys = tuple(sorted(lease.keys)) if command.keys else ()
    if sum(map(len, keys)) + ITEM_BYTES * len(keys) > MAX_ANSWER_BYTES:
        return TOO_LARGE
    left = max(0, lease.deadline - now) // SECOND
    return LeaseReply(revision, lease.id, left, lease.ttl, keys)


def _grant(space: Keyspace, command: Grant, fresh: int, now: Nanos) -> LeaseReply | Rejected:
    """`fresh`: an id that is very likely free."""
    granted = space.leases.granted
    if command.ttl > MAX_TTL_S:
        return TTL_TOO_LARGE
    if not MIN_ID <= command.lease <= MAX_ID:
        return Rejected(f"a lease's id is a signed number of 64 bits, not {command.lease}")
    id = command.lease
    if not id:
        id = fresh
        while id in granted:  # a client has chosen it
            id += 1
    elif id in granted:
        return LEASE_EXISTS
    lease = space.leases.grant(id, max(command.ttl, MIN_TTL_S), now)
    return LeaseReply(space.data.revision, id, lease.ttl, lease.ttl)
