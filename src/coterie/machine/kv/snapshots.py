"""A snapshot of key-value data: a header, groups of items, and an end that counts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from coterie.machine.kv.data import FIRST_REVISION
from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.reading import item_size
from coterie.machine.kv.records import EVENTS_END, event_key, places, read_raw, read_state
from coterie.machine.stores.interface import Reading

SNAPSHOT_FORMAT = 1
RECORD_BYTES = 64 * 1024
"""A record holds items up to about this size (one item may exceed it)."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Header(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first record."""

    format: int
    revision: int
    compacted: int


class _Group(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: list[Item]


class _RawGroup(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A group of items that are encoded already."""

    items: list[msgspec.Raw]


class _End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    count: int
    """Items in the whole snapshot."""


_record_decoder: msgspec.msgpack.Decoder[Header | _Group | _End] = msgspec.msgpack.Decoder(Header | _Group | _End)


def header_of(revision: int, compacted: int) -> Header:
    """The header of a snapshot at this revision and compaction."""
    return Header(SNAPSHOT_FORMAT, revision, compacted)


def records(header: Header, items: Iterable[Item]) -> Iterator[bytes]:
    """The snapshot's records; equal data gives equal ones."""
    yield encoder.encode(header)
    group: list[Item] = []
    size = count = 0
    for item in items:
        group.append(item)
        count += 1
        size += item_size(item)
        if size >= RECORD_BYTES:
            yield encoder.encode(_Group(group))
            group, size = [], 0
    if group:
        yield encoder.encode(_Group(group))
    yield encoder.encode(_End(count))


def stored_records(view: Reading) -> Iterator[bytes]:
    """The records of what a store's view holds: the same items in the same order, grouped a little otherwise."""
    state = read_state(view)
    if state is None:
        yield encoder.encode(header_of(FIRST_REVISION, -1))
        yield encoder.encode(_End(0))
        return
    yield encoder.encode(header_of(state.revision, state.compacted))
    group: list[msgspec.Raw] = []
    size = count = 0
    for raw in _raw_items(view, state.compacted):
        group.append(msgspec.Raw(raw))
        count += 1
        size += len(raw)
        if size >= RECORD_BYTES:
            yield encoder.encode(_RawGroup(group))
            group, size = [], 0
    if group:
        yield encoder.encode(_RawGroup(group))
    yield encoder.encode(_End(count))


def _raw_items(view: Reading, compacted: int) -> Iterator[bytes]:
    first = max(compacted, FIRST_REVISION + 1)
    if compacted > FIRST_REVISION:
        for place in places(view, b"", None, compacted):
            if place.version and place.mod < first:
                yield read_raw(view, place)
    for _, raw in view.range(event_key(first, 0), EVENTS_END):
        yield raw


def read_header(found: Iterator[bytes]) -> Header:
    """The first record. Raises `ValueError` if it is not a header of the format that is known."""
    try:
        header = _record_decoder.decode(next(found, b""))
    except _UNREADABLE as error:
        raise ValueError(f"the key-value snapshot is not readable: {error}") from error
    if not isinstance(header, Header) or header.format != SNAPSHOT_FORMAT:
        raise ValueError(f"not a key-value snapshot of format {SNAPSHOT_FORMAT}")
    return header


def items_of(found: Iterator[bytes]) -> Iterator[Item]:
    """The items of the groups. Raises `ValueError` if the end is missing or counts otherwise."""
    count = 0
    for data in found:
        try:
            record = _record_decoder.decode(data)
        except _UNREADABLE as error:
            raise ValueError(f"the key-value snapshot is not readable: {error}") from error
        if isinstance(record, _Group):
            count += len(record.items)
            yield from record.items
        elif isinstance(record, _End) and record.count == count and next(found, None) is None:
            return
        else:
            raise ValueError("the key-value snapshot has records that don't belong together")
    raise ValueError("the key-value snapshot has no end")
