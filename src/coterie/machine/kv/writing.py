"""Put, delete and compact: what refuses them, and what they do. Only the caller commits."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.keyspace import Keyspace
from coterie.machine.kv.protocol import DeleteRange, DeleteReply, Item, Put, PutReply
from coterie.machine.kv.refusals import (
    COMPACTED,
    EMPTY_KEY,
    FUTURE,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    LEASE_PROVIDED,
    VALUE_PROVIDED,
)

MAX_KEY_BYTES = 64 * 1024
MAX_VALUE_BYTES = 1536 * 1024


def refuse_put(command: Put) -> Rejected | None:
    """Why the put is refused, whatever the store holds; or None."""
    if not command.key:
        return EMPTY_KEY
    if command.ignore_value and command.value:
        return VALUE_PROVIDED
    if command.ignore_lease and command.lease:
        return LEASE_PROVIDED
    if len(command.key) > MAX_KEY_BYTES:
        return Rejected(f"the key has {len(command.key)} bytes, the limit is {MAX_KEY_BYTES}")
    if len(command.value) > MAX_VALUE_BYTES:
        return Rejected(f"the value has {len(command.value)} bytes, the limit is {MAX_VALUE_BYTES}")
    return None


def refuse_lease(space: Keyspace, command: Put) -> Rejected | None:
    """Why the key can't be attached to the put's lease, or None."""
    return LEASE_NOT_FOUND if command.lease and command.lease not in space.leases.granted else None


def refuse_keeping(space: Keyspace, command: Put) -> Rejected | None:
    """Why the put can't keep what the key has, or None."""
    if command.ignore_value or command.ignore_lease:
        return KEY_NOT_FOUND if not space.data.count(command.key, b"") else None
    return None


def put(space: Keyspace, command: Put) -> PutReply:
    """Set the key; the revision in the reply is the one that this write will get. Nothing refuses it."""
    data = space.data
    value, lease = command.value, command.lease
    if command.ignore_value:
        kept = data.get(command.key)
        assert kept is not None, "a put that keeps the value of what is not there"
        value = kept.value
    if command.ignore_lease:
        lease = space.leases.attached.get(command.key, 0)
    previous = data.put(command.key, value, command.want_previous, lease)
    return PutReply(data.next_revision, previous if command.want_previous else None)


def delete_range(store: Data, command: DeleteRange) -> DeleteReply:
    """Delete the keys; the revision in the reply is the one that these writes will get, the present
    one if nothing was written."""
    keys = (
        [command.key] if not command.end else [item.key for item in store.range(command.key, command.end, values=False)]
    )
    deleted: list[Item] = []
    for key in keys:
        item = store.delete(key, command.want_previous)
        if item is not None:
            deleted.append(item)
    return DeleteReply(store.next_revision, len(deleted), tuple(deleted) if command.want_previous else ())


def refuse_compaction(store: Data, revision: int) -> Rejected | None:
    """Why the store can't be compacted at `revision`, or None."""
    if revision <= store.compacted:
        return COMPACTED
    if revision > store.revision:
        return FUTURE
    return None
