"""As much of the protobuf encoding as etcd's stored messages need: integers and bytes, strictly read.

https://protobuf.dev/programming-guides/encoding. Fields of value 0 or empty are left out, as proto3 does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

VARINT = 0
FIXED64 = 1
BYTES = 2
FIXED32 = 5
_SKIPPED_BYTES = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES = 10
_MASK = (1 << 64) - 1

Field: TypeAlias = tuple[int, int | bytes]
"""Number and value; an integer is of 64 bits without sign."""


def varint(number: int) -> bytes:
    """The integer, of 64 bits; a negative one in two's complement."""
    if 0 <= number < SHORTS:
        return SHORT[number]
    if 0 < number < SHORTS * SHORTS:  # as most revisions are
        return _CONTINUED[number & (SHORTS - 1)] + SHORT[number >> 14]
    return _varint_of(number)


def _varint_of(number: int) -> bytes:
    number &= _MASK
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


SHORTS = 1 << 14
SHORT = [_varint_of(number) for number in range(SHORTS)]
"""By number, varints of one byte or two: tags and most lengths are among them."""
_CONTINUED = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(SHORTS)]
"""The lowest 14 bits of those with more."""


def integer_field(field: int, number: int) -> bytes:
    """An integer, a truth value or an enumeration's value."""
    return varint(field << 3 | VARINT) + varint(number) if number else b""


def bytes_field(field: int, value: bytes) -> bytes:
    """Bytes or an encoded string."""
    return message_field(field, value) if value else b""


def message_field(field: int, value: bytes) -> bytes:
    """An encoded message, or one value of a repeated field: there even if it is empty."""
    return varint(field << 3 | BYTES) + varint(len(value)) + value


def fields(raw: bytes) -> Iterator[Field]:
    """The integers and bytes in a message, in order. Raises `ValueError` if it is none."""
    at = 0
    size = len(raw)
    while at < size:
        tag = raw[at]
        if tag < 0x80:  # as nearly all are
            at += 1
        else:
            tag, at = _varint(raw, at)
        field, kind = tag >> 3, tag & 7
        if not field:
            raise ValueError(f"a field numbered 0 at byte {at} of the message")
        if kind == VARINT:
            number, at = _varint(raw, at)
            yield field, number
            continue
        if kind == BYTES:
            if at < size and raw[at] < 0x80:
                length = raw[at]
                at += 1
            else:
                length, at = _varint(raw, at)
        elif kind in _SKIPPED_BYTES:
            length = _SKIPPED_BYTES[kind]
        else:
            raise ValueError(f"a field of wire type {kind} at byte {at} of the message")
        if length > size - at:
            raise ValueError(f"field {field} of {length} bytes at byte {at} of a message of {size}")
        if kind == BYTES:
            yield field, raw[at : at + length]
        at += length


def signed(number: int) -> int:
    """An int64 out of the 64 bits that stand for it."""
    return number - (1 << 64) if number >> 63 else number


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The integer at a place, and where it ends."""
    number = 0
    for count in range(_MAX_VARINT_BYTES):
        if at + count >= len(raw):
            raise ValueError(f"an integer at byte {at} is cut off by the end of the message")
        byte = raw[at + count]
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return number & _MASK, at + count + 1
    raise ValueError(f"an integer of more than {_MAX_VARINT_BYTES} bytes at byte {at} of the message")
