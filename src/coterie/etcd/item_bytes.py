"""Items as protobuf, written by hand: what a Range answers with is nearly all items, and most answers have one.

By message objects, one for each item and its copy in the answer's, it takes twice as long. The encoding:
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from coterie.etcd.protobuf import varint
from coterie.machine.kv.protocol import Item, RangeReply


def encoded_item(item: Item) -> bytes:
    """mvccpb.KeyValue of an item that is no tombstone."""
    key, value, lease = item.key, item.value, item.lease
    encoded = b"\n%b%b\x10%b\x18%b\x20%b" % (
        varint(len(key)),
        key,
        varint(item.create),
        varint(item.mod),
        varint(item.version),
    )
    if value:
        encoded += b"*%b%b" % (varint(len(value)), value)
    return encoded + b"0" + varint(lease) if lease else encoded


def encoded_range(reply: RangeReply) -> bytes:
    """etcdserverpb.RangeResponse, all but its header."""
    parts: list[bytes] = []
    for item in reply.items:
        encoded = encoded_item(item)
        parts += (b"\x12", varint(len(encoded)), encoded)
    if reply.more:
        parts.append(b"\x18\x01")
    if reply.count:
        parts += (b"\x20", varint(reply.count))
    return b"".join(parts)
