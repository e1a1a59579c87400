"""Header blocks of answers: literals without indexing, so that they mean the same in any state of the other's table,
can be made once, and can be sent in any order."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


MAX_TEXT_BYTES: Final = 4096
"""Of a status' text as it is sent; the rest is cut off. Clients take 8 KiB of metadata by default."""
_STATUS_INDEXED: Final = {200: b"\x88", 400: b"\x8c"}
"""Whole fields of the static table (RFC 7541, appendix A)."""
_STATUS_NAME: Final = b"\x08"
_CONTENT_TYPE_NAME: Final = b"\x0f\x10"
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {ord("%")}
"""Bytes of `grpc-message` that stand for themselves; the others are percent-encoded."""


def _length(size: int) -> bytes:
    """A string's length, not Huffman-coded: an integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if size < 0x7F:
        return bytes((size,))
    size -= 0x7F
    digits = bytearray(b"\x7f")
    while size >= 0x80:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits)


def literal(name: bytes, value: bytes) -> bytes:
    """A field, literal without indexing (RFC 7541, section 6.2.2)."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _opening(http: int) -> bytes:
    status = _STATUS_INDEXED.get(http) or _STATUS_NAME + b"\x03%d" % http
    content_type = b"application/grpc"
    return status + _CONTENT_TYPE_NAME + _length(len(content_type)) + content_type


OPENING: Final = _opening(200)
"""The fields before a call's first message."""
OPENING_GZIP: Final = OPENING + literal(b"grpc-encoding", b"gzip")
TRAILERS_OK: Final = literal(b"grpc-status", b"0")
FORGET_TABLE: Final = b"\x20"
"""A table size of 0, before the first block after the client has lowered it (RFC 7541, section 4.2)."""


def percent_encoded(text: str) -> bytes:
    """A status' text as `grpc-message` has it, cut off after `MAX_TEXT_BYTES`, never in the middle of a character."""
    encoded = bytearray()
    for character in text:
        raw = character.encode("utf-8", "replace")
        more = raw if len(raw) == 1 and raw[0] in _PLAIN else b"".join(b"%%%02X" % byte for byte in raw)
        if len(encoded) + len(more) > MAX_TEXT_BYTES:
            break
        encoded += more
    return bytes(encoded)


def trailers(status: int, text: str, extra: Sequence[tuple[str, str | bytes]] = ()) -> bytes:
    """The block after a call's last message. Values of names that end in `-bin` are base64-encoded here."""
    if not status and not text and not extra:
        return TRAILERS_OK
    block = literal(b"grpc-status", b"%d" % status)
    if text:
        block += literal(b"grpc-message", percent_encoded(text))
    return block + b"".join(_extra(name, value) for name, value in extra)


def trailers_only(status: int, text: str, extra: Sequence[tuple[str, str | bytes]] = (), http: int = 200) -> bytes:
    """The only block of a call that ends before its first message."""
    return (OPENING if http == 200 else _opening(http)) + trailers(status, text, extra)


def _extra(name: str, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    if name.endswith("-bin"):
        raw = base64.b64encode(raw).rstrip(b"=")
    return literal(name.encode("ascii"), raw)
