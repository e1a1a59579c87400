"""Records as bytes: fixed little-endian fields, then the payload. Frames around them carry the checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, Truncate
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Index, Repair, SnapshotMeta

_ENTRY = struct.Struct("<BBIQQQQ")
"""type, kind, payload length, index, epoch round, epoch node, elapsed."""
_TRUNCATE = struct.Struct("<BQ")
_HARD_STATE = struct.Struct("<BQQQBQQQ")
"""type, epoch round, epoch node, vote; whether a repair is owed, until which index, round and node of its epoch."""
_BASE = struct.Struct("<BI")
"""type, length of the `SnapshotMeta` that follows, in MessagePack."""
_TYPE_ENTRY, _TYPE_TRUNCATE, _TYPE_HARD_STATE, _TYPE_COMPACT, _TYPE_RESET = 1, 2, 3, 4, 5
_NO_REPAIR = Repair(0, NO_EPOCH)
ENTRY_OVERHEAD_BYTES = _ENTRY.size
_KINDS = {int(kind): kind for kind in EntryKind}
EntryFields: TypeAlias = tuple[int, int, int, Index, int, int, int]
"""An entry's record without its payload, as `_ENTRY` says."""
MAX_META_BYTES = 512 * 1024
"""Of an encoded `SnapshotMeta`: thousands of members. It must leave room in a segment's header."""
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[SnapshotMeta] = msgspec.msgpack.Decoder(SnapshotMeta)


class Malformed(ValueError):
    """Bytes that checked, and are no records: written by a later version, or by a fault of ours."""


Other: TypeAlias = Truncate | HardState | Compact | Reset
"""What a record that is no entry says."""


def encode_meta(meta: SnapshotMeta) -> bytes:
    """A snapshot's meta as bytes. Raises `ValueError` beyond `MAX_META_BYTES`."""
    data = _encoder.encode(meta)
    if len(data) > MAX_META_BYTES:
        raise ValueError(f"the membership and settings at entry {meta.index} take {len(data)} bytes")
    return data


def decode_meta(data: bytes | memoryview) -> SnapshotMeta:
    """Back from bytes. Raises `Malformed`."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ConfigurationError) as error:
        raise Malformed(f"the membership and settings of a base can't be read: {error}") from error


class Located(NamedTuple):
    """A record, and where it begins in the payload that it was read from."""

    position: int
    record: Entry | Other


def encode_record(record: Record, parts: list[bytes]) -> int:
    """Append a record's bytes to `parts`; returns how many. An entry's payload is not copied."""
    if isinstance(record, Put):
        size = 0
        for entry in record.entries:
            epoch = entry.epoch
            payload = entry.payload
            parts.append(
                _ENTRY.pack(_TYPE_ENTRY, entry.kind, len(payload), entry.index, epoch.round, epoch.node, entry.elapsed)
            )
            parts.append(payload)
            size += _ENTRY.size + len(payload)
        return size
    if isinstance(record, Truncate):
        parts.append(_TRUNCATE.pack(_TYPE_TRUNCATE, record.first))
        return _TRUNCATE.size
    if isinstance(record, SaveHardState):
        state = record.state
        repair = state.repair or _NO_REPAIR
        owed = (state.repair is not None, repair.until, repair.epoch.round, repair.epoch.node)
        parts.append(_HARD_STATE.pack(_TYPE_HARD_STATE, state.epoch.round, state.epoch.node, state.vote, *owed))
        return _HARD_STATE.size
    meta = encode_meta(record.base)
    parts.append(_BASE.pack(_TYPE_COMPACT if isinstance(record, Compact) else _TYPE_RESET, len(meta)))
    parts.append(meta)
    return _BASE.size + len(meta)


def scan_records(payload: bytes, position: int = 0) -> Iterator[tuple[int, EntryFields | Other]]:
    """The records in `payload` from `position` on, and where each begins; of entries only the fields, for
    whoever has millions to pass. Raises `Malformed`."""
    end = len(payload)
    unpack, overhead = _ENTRY.unpack_from, _ENTRY.size
    while position < end:
        type_ = payload[position]
        if type_ == _TYPE_ENTRY:
            if position + overhead > end:
                raise Malformed("an entry's fields end early")
            fields: EntryFields = unpack(payload, position)
            following = position + overhead + fields[2]
            if following > end:
                raise Malformed(f"entry {fields[3]} has {fields[2]} bytes of payload, more than its frame holds")
            if fields[1] not in _KINDS:
                raise Malformed(f"entry {fields[3]} is of the unknown kind {fields[1]}")
            yield position, fields
            position = following
        elif type_ == _TYPE_TRUNCATE and position + _TRUNCATE.size <= end:
            first: Index = _TRUNCATE.unpack_from(payload, position)[1]
            yield position, Truncate(first)
            position += _TRUNCATE.size
        elif type_ == _TYPE_HARD_STATE and position + _HARD_STATE.size <= end:
            _, round_, node, vote, owed, until, *epoch = _HARD_STATE.unpack_from(payload, position)
            yield position, HardState(Epoch(round_, node), vote, Repair(until, Epoch(*epoch)) if owed else None)
            position += _HARD_STATE.size
        elif type_ in (_TYPE_COMPACT, _TYPE_RESET) and position + _BASE.size <= end:
            start = position + _BASE.size
            following = start + _BASE.unpack_from(payload, position)[1]
            if following > min(end, start + MAX_META_BYTES):
                raise Malformed(f"a base of {following - start} bytes, more than its frame or the limit holds")
            base = decode_meta(memoryview(payload)[start:following])
            yield position, Compact(base) if type_ == _TYPE_COMPACT else Reset(base)
            position = following
        else:
            raise Malformed(f"a record of type {type_} that this version does not know, or that ends early")


def entry_at(payload: bytes, position: int, fields: EntryFields) -> Entry:
    """The entry whose fields `scan_records` found at `position`."""
    _, kind, length, index, round_, node, elapsed = fields
    start = position + _ENTRY.size
    return Entry(index, Epoch(round_, node), _KINDS[kind], elapsed, payload[start : start + length])


def decode_records(payload: bytes, position: int = 0) -> Iterator[Located]:
    """The records in `payload` from `position` on. Raises `Malformed`."""
    for at, found in scan_records(payload, position):
        yield Located(at, entry_at(payload, at, found) if isinstance(found, tuple) else found)
