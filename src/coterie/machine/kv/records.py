"""How key-value data stands in an ordered store.

| Key | Value |
|---|---|
| `m0` | `State`: revision, compaction, how far its leftovers are freed, and the counts |
| `me` revision (8 bytes) position (4) | a *block*: items in the order of writing, the first one in that position |
| `mk` key, escaped, 0, inverse of a revision (8) | *places*, newest first: revision, position, creation, version |

What was written in a row of revisions stands in a row, whatever the keys, many items in one value; the index
alone is in the order of the keys, newest first, and one flush adds one value for each key, named by the oldest
revision in it. So the cost of a write is a share of a block, and a place. A tombstone has version 0. An item is
looked for in the last block that begins at or before its place; what compaction frees is taken out of its block.

In the index a zero byte of the key is followed by 0xff, and the key by a single zero, so keys come in order of
their bytes and none is the beginning of another; the inverse of a revision never begins with 0xff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.stores.interface import Change, Pair, Reading, StoreFailed

STATE_KEY = b"m0"
EVENTS = b"me"
EVENTS_END = b"mf"
INDEX = b"mk"
INDEX_END = b"ml"
FORMAT = 1
BLOCK_BYTES = 8100
"""A block is about so long, two pages of 4 KiB with what the store adds; one item may exceed it."""
_ITEM_BYTES = 24
"""What an item takes beyond its key and value, about."""
_INVERSE = (1 << 63) - 1
_OLDEST = b"\x80" + b"\0" * 7
_STEPS = 8
"""Older revisions of a key that are read past; beyond, the next key is looked for."""

_event_key = struct.Struct(">2sQI")
_place = struct.Struct(">QIQQ")


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
    """Where a block begins."""
    return _event_key.pack(EVENTS, revision, position)


def index_prefix(key: bytes) -> bytes:
    """What the index has of this key, and of it alone, begins with this."""
    return b"%s%s\0" % (INDEX, key.replace(b"\0", b"\0\xff"))


def index_key(key: bytes, revision: int) -> bytes:
    """Where the index has the key's places of which this revision is the oldest."""
    return index_prefix(key) + (_INVERSE - revision).to_bytes(8, "big")


# Writing


def blocks(items: Iterable[tuple[Item, int]]) -> Iterator[Pair]:
    """The items, given with their positions in the order in which they were written, as blocks."""
    block: list[Item] = []
    begin = b""
    room = 0
    for item, position in items:
        size = len(item.key) + len(item.value) + _ITEM_BYTES
        room -= size
        if room < 0 or not block:
            if block:
                yield begin, encoder.encode(block)
            block = []
            begin = event_key(item.mod, position)
            room = BLOCK_BYTES - size
        block.append(item)
    if block:
        yield begin, encoder.encode(block)


def lone_block(item: Item, position: int) -> Pair:
    """A block of one item."""
    return event_key(item.mod, position), encoder.encode([item])


def index_pair(item: Item, position: int) -> Pair:
    """The place of one item."""
    return index_key(item.key, item.mod), _place.pack(item.mod, position, item.create, item.version)


def index_row(items: list[Item], positions: Mapping[tuple[bytes, int], int]) -> Pair:
    """The places of one key's items, oldest first; `positions`, by key and revision, of those that are not 0."""
    pack = _place.pack
    if positions:
        places = [pack(i.mod, positions.get((i.key, i.mod), 0), i.create, i.version) for i in reversed(items)]
    else:
        places = [pack(i.mod, 0, i.create, i.version) for i in reversed(items)]
    return index_key(items[0].key, items[0].mod), b"".join(places)


# The index


def _after(prefix: bytes) -> bytes:
    """The first index key after those with this prefix."""
    return prefix + _OLDEST


def find(view: Reading, key: bytes, revision: int) -> Place | None:
    """The key's last place of at most `revision`, a tombstone's perhaps."""
    prefix = index_prefix(key)
    for _, row in view.range(prefix + (_INVERSE - revision).to_bytes(8, "big"), _after(prefix)):
        for mod, position, create, version in _place.iter_unpack(row):
            if mod <= revision:
                return Place(key, mod, position, create, version)
    return None


def find_newest(view: Reading, key: bytes) -> Place | None:
    """The key's last place, a tombstone's perhaps."""
    prefix = index_prefix(key)
    found = view.first(prefix, prefix + _OLDEST)
    return None if found is None else Place(key, *_place.unpack_from(found[1]))


def places(view: Reading, start: bytes, end: bytes | None, revision: int) -> Iterator[Place]:
    """For each key with start <= key < end (None: to the last) its last place of at most `revision`, in
    order of the keys, tombstones included."""
    stop = INDEX_END if end is None else index_prefix(end)
    at = index_prefix(start)
    inverse = (_INVERSE - revision).to_bytes(8, "big")
    while True:
        steps = 0
        passed = b""
        for name, row in view.range(at, stop):
            prefix = name[:-8]
            if prefix != passed:
                place = next((each for each in _place.iter_unpack(row) if each[0] <= revision), None)
                if place is not None:
                    passed, steps = prefix, 0
                    yield Place(prefix[2:-1].replace(b"\0\xff", b"\0"), *place)
                    continue
            steps += 1
            if steps > _STEPS:  # a key with a long history: do not read all of it
                at = _after(prefix) if prefix == passed else max(prefix + inverse, name + b"\0")
                break
        else:
            return


def superseded(view: Reading, item: Item) -> Iterator[tuple[Change, list[tuple[int, int]]]]:
    """What is left of each of the key's rows when all before the item is taken out, and the item too if it is
    a tombstone; and what was taken out of it, before the item: (revision, position)."""
    bound = item.mod + (not item.version)
    for name, row in view.range(index_key(item.key, item.mod), _after(index_prefix(item.key))):
        found = list(_place.iter_unpack(row))
        kept = b"".join(_place.pack(*place) for place in found if place[0] >= bound)
        if len(kept) < len(row):
            yield (name, kept or None), [(mod, position) for mod, position, _, _ in found if mod < item.mod]


# Items


def block_key(view: Reading, revision: int, position: int) -> bytes:
    """Key of the block that an item with this place is in, if it is there at all."""
    found = view.last(EVENTS, event_key(revision, position + 1))
    return EVENTS if found is None else found[0]


def read_block(view: Reading, key: bytes) -> list[Item]:
    """The block's items; none if it is not there."""
    raw = view.get(key)
    return [] if raw is None else _block_decoder.decode(raw)


def read_item(view: Reading, place: Place) -> Item:
    """The item at the place. Raises `StoreFailed` if it is not there: the store is damaged."""
    found = view.last(EVENTS, event_key(place.mod, place.position + 1))
    if found is not None:
        for item in _block_decoder.decode(found[1]):
            if item.mod == place.mod and item.key == place.key:
                return item
    raise StoreFailed(f"the machine's store is damaged: revision {place.mod} of {place.key!r} is missing")


def without_value(place: Place) -> Item:
    """The item at the place, all but its value."""
    return Item(place.key, b"", place.create, place.mod, place.version)


def raw_blocks(view: Reading, first: int) -> Iterator[Pair]:
    """Blocks, encoded, from the one that revision `first` can be in."""
    found = view.last(EVENTS, event_key(first, 1))
    return view.range(event_key(first, 0) if found is None else found[0], EVENTS_END)


def blocks_from(view: Reading, first: int) -> Iterator[tuple[bytes, list[Item]]]:
    """Blocks with their keys, from the one that revision `first` can be in."""
    for key, raw in raw_blocks(view, first):
        yield key, _block_decoder.decode(raw)


def decode_block(raw: bytes) -> list[Item]:
    """A block's items."""
    return _block_decoder.decode(raw)


def read_events(view: Reading, revision: int) -> list[Item]:
    """What the revision changed, as far as it is still there."""
    events = []
    for _, items in blocks_from(view, revision):
        if items[0].mod > revision:
            break
        events += [item for item in items if item.mod == revision]
    return events


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


_block_decoder: msgspec.msgpack.Decoder[list[Item]] = msgspec.msgpack.Decoder(list[Item])
_state_decoder: msgspec.msgpack.Decoder[State] = msgspec.msgpack.Decoder(State)
