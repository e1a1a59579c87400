"""Items as protobuf, written by hand: what a Range answers with is nearly all items, and most answers have one.

By message objects, one for each item and its copy in the answer's, it takes twice as long. The encoding:
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from coterie.etcd.protobuf import SHORT, SHORTS, varint
from coterie.machine.kv.protocol import Item, RangeReply

_SHORT_BYTES = SHORTS - 64
"""Of a key and its value together: with them an item's length is a short number, whatever its revisions are."""


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


def encoded_only(item: Item) -> bytes:
    """etcdserverpb.RangeResponse of a key that was asked for alone and is there, all but its header."""
    key, value, version = item.key, item.value, item.version
    if not value or item.lease or len(key) + len(value) > _SHORT_BYTES or version >= SHORTS:
        return encoded_range(RangeReply(0, (item,), False, 1))
    short, create, mod = SHORT, varint(item.create), varint(item.mod)
    head = b"\n%b%b\x10%b\x18%b\x20%b*%b" % (short[len(key)], key, create, mod, short[version], short[len(value)])
    return b"\x12%b%b%b\x20\x01" % (short[len(head) + len(value)], head, value)


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
