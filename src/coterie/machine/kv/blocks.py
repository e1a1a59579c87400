"""Blocks: items in the order in which they were written, many in one value of the store (see `records.py`).

How long a block may be is a bargain: writing is cheap if blocks are few, reading one item if they are short, for
all of its block is read and checked for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.stores.interface import Pair, Reading, StoreFailed

EVENTS = b"me"
EVENTS_END = b"mf"
BLOCK_BYTES = 4076
"""A block is at most so long, a page of 4 KiB with what the store adds; one item may exceed it."""
_ITEM_BYTES = 24
"""What an item takes beyond its key and value, at most."""

_event_key = struct.Struct(">2sQI")


def event_key(revision: int, position: int) -> bytes:
    """Where a block begins."""
    return _event_key.pack(EVENTS, revision, position)


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


def blocks_of(items: Sequence[Item]) -> Iterator[Pair]:
    """As `blocks`, of items that are all in position 0: many at a time, without a look at each.

    How many fit is guessed from how many fitted before.
    """
    at = 0
    guess = 1
    while at < len(items):
        block = items[at : at + guess]
        raw = encoder.encode(block)
        while len(raw) > BLOCK_BYTES and len(block) > 1:
            block = block[: max(1, min(len(block) * BLOCK_BYTES // len(raw), len(block) - 1))]
            raw = encoder.encode(block)
        yield event_key(block[0].mod, 0), raw
        at += len(block)
        guess = max(1, min(2 * len(block), len(block) * BLOCK_BYTES // len(raw)))


def lone_block(item: Item, position: int) -> Pair:
    """A block of one item."""
    return event_key(item.mod, position), encoder.encode([item])


# Reading


def raw_blocks(view: Reading, first: int) -> Iterator[Pair]:
    """Blocks, encoded, from the one that revision `first` can be in."""
    found = view.last(EVENTS, event_key(first, 1))
    return view.range(event_key(first, 0) if found is None else found[0], EVENTS_END)


def blocks_from(view: Reading, first: int) -> Iterator[list[Item]]:
    """Blocks from the one that revision `first` can be in."""
    for _, raw in raw_blocks(view, first):
        yield decode_block(raw)


def block_at(view: Reading, revision: int, position: int) -> Pair | None:
    """The block, encoded, that an item with this place is in, if it is there at all."""
    return view.last(EVENTS, event_key(revision, position + 1))


def decode_block(raw: bytes) -> list[Item]:
    """A block's items."""
    return _decoder.decode(raw)


class Blocks:
    """Items in a view's blocks, one at a time. Remembers the last block: who reads one item often wants the next."""

    def __init__(self, view: Reading) -> None:
        self._view = view
        self._begin = b""
        """Key of the remembered block."""
        self._raws: list[msgspec.Raw] = []
        """Its items, encoded."""
        self._first = 0
        """Revision of the first one."""

    def item(self, key: bytes, mod: int, position: int) -> Item:
        """The key's item of this place. Raises `StoreFailed` if it is not there: the store is damaged."""
        item = self._guess(mod)
        if item is None or item.key != key:
            self._load(mod, position)
            item = self._guess(mod)
        if item is not None and item.key == key:
            return item
        for raw in self._raws:
            item = _item_decoder.decode(raw)
            if item.mod == mod and item.key == key:
                return item
        raise StoreFailed(f"the machine's store is damaged: revision {mod} of {key!r} is missing")

    def events(self, revision: int) -> list[Item]:
        """What the revision changed, as far as it is still there."""
        begin = event_key(revision, 0)
        item = self._guess(revision)
        if item is None or self._begin > begin:
            self._load(revision, 0)
            item = self._guess(revision)
        if item is not None:
            at = revision - self._first
            begins = self._begin <= begin and (not at or _item_decoder.decode(self._raws[at - 1]).mod < revision)
            if begins and at + 1 < len(self._raws) and _item_decoder.decode(self._raws[at + 1]).mod > revision:
                return [item]
        events = []
        for items in blocks_from(self._view, revision):
            if items[0].mod > revision:
                break
            events += [item for item in items if item.mod == revision]
        return events

    def _load(self, revision: int, position: int) -> None:
        self._begin, raw = block_at(self._view, revision, position) or (b"", b"\x90")
        self._raws = _raws_decoder.decode(raw)
        self._first = _item_decoder.decode(self._raws[0]).mod if self._raws else 0

    def _guess(self, revision: int) -> Item | None:
        """The revision's item, if it stands where it does in a block of revisions that wrote one item each."""
        at = revision - self._first
        if 0 <= at < len(self._raws):
            item = _item_decoder.decode(self._raws[at])
            if item.mod == revision:
                return item
        return None


_decoder: msgspec.msgpack.Decoder[list[Item]] = msgspec.msgpack.Decoder(list[Item])
_raws_decoder: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])
_item_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Item)
