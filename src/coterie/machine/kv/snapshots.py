"""A snapshot of key-value data: a header, alarms, auth, leases, groups of items, and an end that counts them.

What is attached to the leases is not in it: the items tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from coterie.machine.kv.alarms import AlarmRecord, stored_alarms
from coterie.machine.kv.auth.stored import AuthRecord, stored_auth
from coterie.machine.kv.blocks import blocks_from, decode_block, event_key, raw_blocks
from coterie.machine.kv.data import FIRST_REVISION, NEVER
from coterie.machine.kv.leases import LeaseRecord, stored_leases
from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import find, read_state
from coterie.machine.kv.sizes import item_size
from coterie.machine.stores.interface import Reading

SNAPSHOT_FORMAT = 1
RECORD_BYTES = 64 * 1024
"""A record holds items up to about this size (one item may exceed it)."""
RECORD_LEASES = 4096
"""A record holds so many leases."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Header(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first record."""

    format: int
    revision: int
    compacted: int


class _Group(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: list[Item]


_GROUP_OF = b"\x92\x02"
"""How a group begins, before its encoded list of items."""


class _End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    count: int
    """Items in the whole snapshot."""


class _Leases(msgspec.Struct, frozen=True, array_like=True, tag=4):
    leases: list[LeaseRecord]


class _Alarms(msgspec.Struct, frozen=True, array_like=True, tag=5):
    alarms: list[AlarmRecord]


class _Auth(msgspec.Struct, frozen=True, array_like=True, tag=6):
    record: AuthRecord


_Record = Header | _Group | _End | _Leases | _Alarms | _Auth
_record_decoder: msgspec.msgpack.Decoder[_Record] = msgspec.msgpack.Decoder(_Record)


def header_of(revision: int, compacted: int) -> Header:
    """The header of a snapshot at this revision and compaction."""
    return Header(SNAPSHOT_FORMAT, revision, compacted)


def records(
    header: Header,
    alarms: Iterable[AlarmRecord],
    auth: Iterable[AuthRecord],
    leases: Iterable[LeaseRecord],
    items: Iterable[Item],
) -> Iterator[bytes]:
    """The snapshot's records; equal data gives equal ones."""
    yield encoder.encode(header)
    yield from _side_records(alarms, auth, leases)
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


def _side_records(
    alarms: Iterable[AlarmRecord], auth: Iterable[AuthRecord], leases: Iterable[LeaseRecord]
) -> Iterator[bytes]:
    on = list(alarms)
    if on:
        yield encoder.encode(_Alarms(on))
    for record in auth:
        yield encoder.encode(_Auth(record))
    rest = iter(leases)
    while group := list(islice(rest, RECORD_LEASES)):
        yield encoder.encode(_Leases(group))


def stored_records(view: Reading) -> Iterator[bytes]:
    """The records of what a store's view holds: the same items in the same order, grouped a little otherwise."""
    state = read_state(view)
    if state is None:
        header = header_of(FIRST_REVISION, NEVER)
        yield from records(header, stored_alarms(view), stored_auth(view), stored_leases(view), ())
        return
    yield encoder.encode(header_of(state.revision, state.compacted))
    yield from _side_records(stored_alarms(view), stored_auth(view), stored_leases(view))
    first = max(state.compacted, FIRST_REVISION + 1)
    count = 0
    for raw in _raw_groups(view, first, state.compacted):
        count += _length(raw)
        yield _GROUP_OF + raw
    yield encoder.encode(_End(count))


def _raw_groups(view: Reading, first: int, compacted: int) -> Iterator[bytes]:
    """Blocks of the store as they are, where all of a block belongs to the snapshot."""
    if compacted > FIRST_REVISION:
        for items in blocks_from(view, FIRST_REVISION):
            if items[0].mod >= first:
                break
            kept = [item for item in items if item.mod < first and item.version and _is_read(view, item, compacted)]
            if kept:
                yield encoder.encode(kept)
    begin = event_key(first, 0)
    for key, raw in raw_blocks(view, first):
        if key >= begin:
            yield raw
        else:
            kept = [item for item in decode_block(raw) if item.mod >= first]
            if kept:
                yield encoder.encode(kept)


def _length(raw: bytes) -> int:
    """Number of items in an encoded list."""
    if raw[0] & 0xF0 == 0x90:
        return raw[0] & 0x0F
    return int.from_bytes(raw[1:3] if raw[0] == 0xDC else raw[1:5], "big")


def _is_read(view: Reading, item: Item, revision: int) -> bool:
    """Whether the item is its key's as of the revision: what compaction left may not be freed yet."""
    place = find(view, item.key, revision)
    return place is not None and place.mod == item.mod


class Contents(NamedTuple):
    """What a snapshot holds."""

    revision: int
    compacted: int
    alarms: list[AlarmRecord]
    auth: list[AuthRecord]
    leases: list[LeaseRecord]
    items: Iterator[Item]
    """Raises `ValueError` if the end is missing or counts otherwise."""


def read_contents(found: Iterator[bytes]) -> Contents:
    """The snapshot in these records. Raises `ValueError` if it is none of the format that is known."""
    header = _decoded(next(found, b""))
    if not isinstance(header, Header) or header.format != SNAPSHOT_FORMAT:
        raise ValueError(f"not a key-value snapshot of format {SNAPSHOT_FORMAT}")
    leases: list[LeaseRecord] = []
    rest = map(_decoded, found)
    record = next(rest, None)
    alarms: list[AlarmRecord] = []
    if isinstance(record, _Alarms):
        alarms = record.alarms
        record = next(rest, None)
    auth: list[AuthRecord] = []
    while isinstance(record, _Auth):
        auth.append(record.record)
        record = next(rest, None)
    while isinstance(record, _Leases):
        leases += record.leases
        record = next(rest, None)
    items = _items(rest if record is None else chain([record], rest))
    return Contents(header.revision, header.compacted, alarms, auth, leases, items)


def _decoded(data: bytes) -> _Record:
    try:
        return _record_decoder.decode(data)
    except _UNREADABLE as error:
        raise ValueError(f"the key-value snapshot is not readable: {error}") from error


def _items(found: Iterator[_Record]) -> Iterator[Item]:
    count = 0
    for record in found:
        if isinstance(record, _Group):
            count += len(record.items)
            yield from record.items
        elif isinstance(record, _End) and record.count == count and next(found, None) is None:
            return
        else:
            raise ValueError("the key-value snapshot has records that don't belong together")
    raise ValueError("the key-value snapshot has no end")
