"""Records as bytes: fixed little-endian fields, then the payload. Frames around them carry the checksum."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from coterie.core.records import Put, Record, SaveHardState, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState, Index

_ENTRY = struct.Struct("<BBIQQQQ")
"""type, kind, payload length, index, epoch round, epoch node, elapsed."""
_TRUNCATE = struct.Struct("<BQ")
_HARD_STATE = struct.Struct("<BQQQ")
_TYPE_ENTRY, _TYPE_TRUNCATE, _TYPE_HARD_STATE = 1, 2, 3
ENTRY_OVERHEAD_BYTES = _ENTRY.size


class Malformed(ValueError):
    """Bytes that checked, and are no records: written by a later version, or by a fault of ours."""


class Located(NamedTuple):
    """A record, and where it begins in the payload that it was read from."""

    position: int
    record: Entry | Truncate | HardState


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
    assert isinstance(record, SaveHardState)
    state = record.state
    parts.append(_HARD_STATE.pack(_TYPE_HARD_STATE, state.epoch.round, state.epoch.node, state.vote))
    return _HARD_STATE.size


def decode_records(payload: bytes, position: int = 0) -> Iterator[Located]:
    """The records in `payload` from `position` on. Raises `Malformed`."""
    end = len(payload)
    while position < end:
        kind_of_record = payload[position]
        if kind_of_record == _TYPE_ENTRY:
            if position + _ENTRY.size > end:
                raise Malformed("an entry's fields end early")
            _, kind, length, index, round_, node, elapsed = _ENTRY.unpack_from(payload, position)
            start = position + _ENTRY.size
            if start + length > end:
                raise Malformed(f"entry {index} has {length} bytes of payload, more than its frame holds")
            try:
                entry = Entry(index, Epoch(round_, node), EntryKind(kind), elapsed, payload[start : start + length])
            except ValueError as error:
                raise Malformed(f"entry {index} is of the unknown kind {kind}") from error
            yield Located(position, entry)
            position = start + length
        elif kind_of_record == _TYPE_TRUNCATE and position + _TRUNCATE.size <= end:
            first: Index = _TRUNCATE.unpack_from(payload, position)[1]
            yield Located(position, Truncate(first))
            position += _TRUNCATE.size
        elif kind_of_record == _TYPE_HARD_STATE and position + _HARD_STATE.size <= end:
            _, round_, node, vote = _HARD_STATE.unpack_from(payload, position)
            yield Located(position, HardState(Epoch(round_, node), vote))
            position += _HARD_STATE.size
        else:
            raise Malformed(f"a record of type {kind_of_record} that this version does not know, or that ends early")
