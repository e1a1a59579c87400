"""Put, delete and compact: what refuses them, and what they do. Only the caller commits."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.protocol import DeleteRange, DeleteReply, Item, Put
from coterie.machine.kv.reading import COMPACTED, EMPTY_KEY, FUTURE

MAX_KEY_BYTES = 64 * 1024
MAX_VALUE_BYTES = 1536 * 1024


def refuse_put(command: Put) -> Rejected | None:
    """Why the put is refused, whatever the store holds; or None."""
    if not command.key:
        return EMPTY_KEY
    if len(command.key) > MAX_KEY_BYTES:
        return Rejected(f"the key has {len(command.key)} bytes, the limit is {MAX_KEY_BYTES}")
    if len(command.value) > MAX_VALUE_BYTES:
        return Rejected(f"the value has {len(command.value)} bytes, the limit is {MAX_VALUE_BYTES}")
    return None


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
