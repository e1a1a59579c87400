"""How key-value data stands in an ordered store.

| Key | Value |
|---|---|
| `m0` | `State`: revision, compaction, how far its leftovers are freed, and the counts |
| `me` revision (8 bytes) position (4) | a *block*: items in the order of writing, the first one with this place |
| `mk` key, escaped, 0, inverse of a revision (8) | *places* of the key's items, as `Run`s, newest first |

What was written in a row of revisions stands in a row, whatever the keys, many items in one value; the index
alone is in the order of the keys, newest first, and one flush adds one value for each key (and for each
`ROW_PLACES` of its items), named by the oldest revision in it. So the cost of a write is a share of a block, and
a number in a run. A tombstone has version 0. An item is looked for in the last block that begins at or before its
place; what compaction frees is taken out of its block.

In the index a zero byte of the key is followed by 0xff, and the key by a single zero, so keys come in order of
their bytes and none is the beginning of another; the inverse of a revision never begins with 0xff.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import msgspec

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.stores.interface import Change, Pair, Reading, StoreFailed

STATE_KEY = b"m0"
INDEX = b"mk"
INDEX_END = b"ml"
FORMAT = 2
ROW_PLACES = 64
"""Places in one value of the index: whoever looks for one decodes them all."""
_INVERSE = (1 << 63) - 1
_OLDEST = b"\x80" + b"\0" * 7
_STEPS = 8
"""Older revisions of a key that are read past; beyond, the next key is looked for."""

_inverse = struct.Struct(">Q")
_index_end = struct.Struct(">xQ")

Run: TypeAlias = list[int]
"""Version, creation, position; then revisions, newest first: the version is the first one's, and each item before
has one less. Only a run of a single revision has a position other than 0, or version 0."""


Where: TypeAlias = tuple[int, int, bytes]
"""Revision, position and key of an item."""


class State(msgspec.Struct, frozen=True, array_like=True):
    """What is not an item."""

    format: int
    revision: int
    compacted: int
    swept: int
    """What compaction left of revisions up to this one has been freed."""
    bounds: list[bytes]
    counts: list[int]
    leased: bool = False
    """Whether any key was ever attached to a lease."""


class Place(NamedTuple):
    """What the index knows of a key as of a revision."""

    key: bytes
    mod: int
    position: int
    create: int
    version: int


def index_prefix(key: bytes) -> bytes:
    """What the index has of this key, and of it alone, begins with this."""
    return b"%s%s\0" % (INDEX, key.replace(b"\0", b"\0\xff"))


def index_key(key: bytes, revision: int) -> bytes:
    """Where the index has the key's places of which this revision is the oldest."""
    return INDEX + key.replace(b"\0", b"\0\xff") + _index_end.pack(_INVERSE - revision)


# Writing


def index_pair(item: Item, position: int) -> Pair:
    """The place of one item."""
    return index_key(item.key, item.mod), encoder.encode(((item.version, item.create, position, item.mod),))


def puts_pair(before: list[Item], last: Item) -> Pair:
    """The places of a key's last item and of at most `ROW_PLACES` - 1 before it, oldest first: each a put on top
    of the one before, in position 0."""
    run = [last.version, last.create, 0, last.mod]
    run += [item.mod for item in reversed(before)]
    return index_key(last.key, run[-1]), encoder.encode((run,))


def index_rows(items: list[Item], positions: Mapping[tuple[bytes, int], int]) -> Iterator[Pair]:
    """The places of one key's items, oldest first; `positions`, by key and revision, of those that are not 0."""
    key = items[0].key
    places = [Place(key, i.mod, positions.get((key, i.mod), 0), i.create, i.version) for i in reversed(items)]
    for start in range(0, len(places), ROW_PLACES):
        part = places[start : start + ROW_PLACES]
        yield index_key(key, part[-1].mod), _encode_row(part)


def _encode_row(places: Iterable[Place]) -> bytes:
    """A value of the index: places of one key, newest first."""
    runs: list[Run] = []
    before: Place | None = None
    for place in places:
        follows = before is not None and place.version and place.version == before.version - 1
        if before is not None and follows and not place.position and not before.position:
            runs[-1].append(place.mod)
        else:
            runs.append([place.version, place.create, place.position, place.mod])
        before = place
    return encoder.encode(runs)


def decode_row(key: bytes, row: bytes) -> list[Place]:
    """The places in a value of the index, newest first."""
    return [
        Place(key, mod, position, create, version - older)
        for version, create, position, *mods in _row_decoder.decode(row)
        for older, mod in enumerate(mods)
    ]


# The index


def _after(prefix: bytes) -> bytes:
    """The first index key after those with this prefix."""
    return prefix + _OLDEST


def _find_in(row: bytes, key: bytes, revision: int) -> Place | None:
    """The last place of at most `revision` in a value of the index."""
    for run in _row_decoder.decode(row):
        if run[-1] <= revision:
            at = 3
            while run[at] > revision:
                at += 1
            return Place(key, run[at], run[2], run[1], run[0] - at + 3)
    return None


def find(view: Reading, key: bytes, revision: int) -> Place | None:
    """The key's last place of at most `revision`, a tombstone's perhaps."""
    for _, row in view.range(index_key(key, revision), _after(index_prefix(key))):
        place = _find_in(row, key, revision)
        if place is not None:
            return place
    return None


def newest_run(view: Reading, key: bytes) -> Run | None:
    """The run that begins with the key's last place, a tombstone's perhaps."""
    prefix = index_prefix(key)
    found = view.first(prefix, prefix + _OLDEST)
    return None if found is None else _row_decoder.decode(found[1])[0]


def places(view: Reading, start: bytes, end: bytes | None, revision: int) -> Iterator[Place]:
    """For each key with start <= key < end (None: to the last) its last place of at most `revision`, in
    order of the keys, tombstones included."""
    stop = INDEX_END if end is None else index_prefix(end)
    at = index_prefix(start)
    inverse = _inverse.pack(_INVERSE - revision)
    while True:
        steps = 0
        passed = b""
        for name, row in view.range(at, stop):
            prefix = name[:-8]
            if prefix != passed:
                place = _find_in(row, prefix[2:-1].replace(b"\0\xff", b"\0"), revision)
                if place is not None:
                    passed, steps = prefix, 0
                    yield place
                    continue
            steps += 1
            if steps > _STEPS:  # a key with a long history: do not read all of it
                at = _after(prefix) if prefix == passed else max(prefix + inverse, name + b"\0")
                break
        else:
            return


def living_keys(view: Reading, start: bytes, end: bytes | None) -> Iterator[bytes]:
    """The keys with start <= key < end (None: to the last) whose last place is no tombstone, in order."""
    passed = b""
    for name, row in view.range(index_prefix(start), INDEX_END if end is None else index_prefix(end)):
        prefix = name[:-8]
        if prefix != passed:
            passed = prefix
            if _row_decoder.decode(row)[0][0]:
                yield prefix[2:-1].replace(b"\0\xff", b"\0")


def superseded(view: Reading, key: bytes, bound: int) -> Iterator[tuple[Change, list[Where]]]:
    """What is left of each of the key's rows when all places below revision `bound` are taken out; and these."""
    for name, row in view.range(index_key(key, bound - 1), _after(index_prefix(key))):
        kept: list[Run] = []
        gone: list[Where] = []
        for run in _row_decoder.decode(row):
            at = len(run)
            while at > 3 and run[at - 1] < bound:
                at -= 1
                gone.append((run[at], run[2], key))
            if at > 3:
                kept.append(run[:at])
        if gone:
            yield (name, encoder.encode(kept) if kept else None), gone


def without_value(place: Place) -> Item:
    """The item at the place, all but its value and its lease."""
    return Item(place.key, b"", place.create, place.mod, place.version)


# The state


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


_row_decoder: msgspec.msgpack.Decoder[list[Run]] = msgspec.msgpack.Decoder(list[Run])
_state_decoder: msgspec.msgpack.Decoder[State] = msgspec.msgpack.Decoder(State)
