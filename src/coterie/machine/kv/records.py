"""How key-value data stands in an ordered store.

| Key | Value |
|---|---|
| `m0` | `State`: revision, compaction, how far its leftovers are freed, and the counts |
| `me` revision (8 bytes) position (4) | the item that the revision wrote in that position, MessagePack |
| `mk` key, escaped, 0, inverse of the revision (8) | position (4), revision of creation (8), version (8) |

So what is written in a row of revisions stands in a row, whatever the keys; the index alone is in the order of
the keys, the newest revision of a key first. A tombstone has version 0. In the index a zero byte of the key is
followed by 0xff, and the key by a single zero, so keys come in order of their bytes and none is the beginning
of another; the inverse of a revision never begins with 0xff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.stores.interface import Pair, Reading, StoreFailed

STATE_KEY = b"m0"
EVENTS = b"me"
EVENTS_END = b"mf"
INDEX = b"mk"
INDEX_END = b"ml"
FORMAT = 1
_INVERSE = (1 << 63) - 1
_OLDEST = b"\x80" + b"\0" * 7
_STEPS = 8
"""Older revisions of a key that are read past; beyond, the next key is looked for."""

_event_key = struct.Struct(">2sQI")
_place = struct.Struct(">IQQ")


class State(msgspec.Struct, frozen=True, array_like=True):
    """What is not an item."""

    format: int
    revision: int
    compacted: int
    swept: int
    """What compaction left of revisions up to this one has been freed."""
    bounds: list[bytes]
    counts: list[int]


class Place(NamedTuple):
    """What the index knows of a key as of a revision."""

    key: bytes
    mod: int
    position: int
    create: int
    version: int


def event_key(revision: int, position: int) -> bytes:
    """Where an item stands."""
    return _event_key.pack(EVENTS, revision, position)


def index_prefix(key: bytes) -> bytes:
    """What the index has of this key, and of it alone, begins with this."""
    return b"%s%s\0" % (INDEX, key.replace(b"\0", b"\0\xff"))


def index_key(key: bytes, revision: int) -> bytes:
    """Where the index has the key's change in `revision`."""
    return index_prefix(key) + (_INVERSE - revision).to_bytes(8, "big")


def _after(prefix: bytes) -> bytes:
    """The first index key after those with this prefix."""
    return prefix + _OLDEST


def item_pairs(item: Item, position: int) -> tuple[Pair, Pair]:
    """The item and its place."""
    return (
        (event_key(item.mod, position), encoder.encode(item)),
        (index_key(item.key, item.mod), _place.pack(position, item.create, item.version)),
    )


def _read_place(key: bytes, found: Pair) -> Place:
    position, create, version = _place.unpack(found[1])
    return Place(key, _INVERSE - int.from_bytes(found[0][-8:], "big"), position, create, version)


def find(view: Reading, key: bytes, revision: int) -> Place | None:
    """The key's last place of at most `revision`, a tombstone's perhaps."""
    prefix = index_prefix(key)
    found = view.first(prefix + (_INVERSE - revision).to_bytes(8, "big"), _after(prefix))
    return None if found is None else _read_place(key, found)


def find_newest(view: Reading, key: bytes) -> Place | None:
    """The key's last place, a tombstone's perhaps."""
    prefix = index_prefix(key)
    found = view.first(prefix, _after(prefix))
    return None if found is None else _read_place(key, found)


def places(view: Reading, start: bytes, end: bytes | None, revision: int) -> Iterator[Place]:
    """For each key with start <= key < end (None: to the last) its last place of at most `revision`, in
    order of the keys, tombstones included."""
    stop = INDEX_END if end is None else INDEX + end.replace(b"\0", b"\0\xff") + b"\0"
    at = INDEX + start.replace(b"\0", b"\0\xff") + b"\0"
    limit = (_INVERSE - revision).to_bytes(8, "big")
    while True:
        steps = 0
        passed = b""
        for found in view.range(at, stop):
            prefix, inverse = found[0][:-8], found[0][-8:]
            if prefix == passed or inverse < limit:
                steps += 1
                if steps > _STEPS:  # a key with a long history: do not read all of it
                    at = _after(prefix) if prefix == passed else prefix + limit
                    break
                continue
            passed, steps = prefix, 0
            yield _read_place(prefix[2:-1].replace(b"\0\xff", b"\0"), found)
        else:
            return


def read_raw(view: Reading, place: Place) -> bytes:
    """The item at the place, encoded. Raises `StoreFailed` if it is not there: the store is damaged."""
    raw = view.get(event_key(place.mod, place.position))
    if raw is None:
        raise StoreFailed(f"the machine's store is damaged: revision {place.mod} of {place.key!r} is missing")
    return raw


def read_item(view: Reading, place: Place) -> Item:
    """The item at the place."""
    return _item_decoder.decode(read_raw(view, place))


def without_value(place: Place) -> Item:
    """The item at the place, all but its value."""
    return Item(place.key, b"", place.create, place.mod, place.version)


def read_events(view: Reading, revision: int) -> list[Item]:
    """What the revision changed, as far as it is still there."""
    return [_item_decoder.decode(raw) for _, raw in view.range(event_key(revision, 0), event_key(revision + 1, 0))]


def numbered_events(view: Reading, revision: int) -> Iterator[tuple[int, Item]]:
    """What the revision changed, as far as it is still there, with the positions."""
    for key, raw in view.range(event_key(revision, 0), event_key(revision + 1, 0)):
        yield int.from_bytes(key[-4:], "big"), _item_decoder.decode(raw)


def superseded(view: Reading, item: Item) -> Iterator[bytes]:
    """Keys of all that stands in the store of the item's key before the item."""
    for place, value in view.range(index_key(item.key, item.mod - 1), _after(index_prefix(item.key))):
        yield place
        revision = _INVERSE - int.from_bytes(place[-8:], "big")
        yield event_key(revision, int.from_bytes(value[:4], "big"))


def read_state(view: Reading) -> State | None:
    """The state, None if the store is empty. Raises `StoreFailed`."""
    raw = view.get(STATE_KEY)
    if raw is None:
        return None
    try:
        state = _state_decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error
    if state.format != FORMAT:
        raise StoreFailed(f"the machine's store has format {state.format}; this version reads {FORMAT}")
    return state


_item_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Item)
_state_decoder: msgspec.msgpack.Decoder[State] = msgspec.msgpack.Decoder(State)
