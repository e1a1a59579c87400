"""Messages in DATA: one byte for compression, four for the length, and the message; frames begin and end anywhere."""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

from coterie.http2.answers import Status
from coterie.http2.errors import CallFault

PREFIX: Final = Struct(">BL")
PREFIX_BYTES: Final = 5
MIN_GZIP_BYTES: Final = 512
"""Answers below are not compressed: it would cost more than it saves."""
_GZIP: Final = 31
"""zlib's word for a gzip header and the largest window."""
_MAX_MEMBERS: Final = 16
"""Of one gzip stream: each costs a window of memory and a copy of what follows, and no client writes more than one."""
_LEVEL: Final = 1
"""The quickest: a server's time is dearer than a few bytes."""


class Assembly:
    """Puts the messages of one stream together. Holds no more than one message's bytes that were received."""

    __slots__ = ("_buffer", "_compressed", "_gzip", "_limit", "needed")

    def __init__(self, limit: int, gzip: bool) -> None:
        self._limit = limit
        self._gzip = gzip
        self._buffer = bytearray()
        self._compressed = False
        self.needed = 0
        """Bytes of the message under way, its prefix included; 0 while the prefix is not whole."""

    @property
    def held(self) -> int:
        """Bytes of the message under way that are here."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[tuple[bytes, int]]:
        """More bytes; returns the messages that are whole now, each with the bytes that it took on the wire.

        Raises `CallFault`, before anything is allocated for a message that is too large.
        """
        buffer = self._buffer
        buffer += data
        whole: list[tuple[bytes, int]] = []
        start = 0
        while len(buffer) - start >= PREFIX_BYTES:
            if not self.needed:
                self._begin(*PREFIX.unpack_from(buffer, start))
            end = start + self.needed
            if end > len(buffer):
                break
            message = bytes(memoryview(buffer)[start + PREFIX_BYTES : end])
            if self._compressed:
                message = gunzip(message, self._limit)
            whole.append((message, self.needed))
            self.needed = 0
            start = end
        if start:
            del buffer[:start]
        return whole

    def _begin(self, flag: int, length: int) -> None:
        if flag > 1:
            raise CallFault(Status.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if flag and not self._gzip:
            raise CallFault(Status.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        if length > self._limit:
            text = f"grpc: received message larger than max ({length} vs. {self._limit})"
            raise CallFault(Status.RESOURCE_EXHAUSTED, text)
        self._compressed = flag == 1
        self.needed = PREFIX_BYTES + length


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress, up to `limit` bytes. Raises `CallFault`."""
    parts: list[bytes] = []
    room = limit + 1
    try:
        for _ in range(_MAX_MEMBERS):
            member = zlib.decompressobj(_GZIP)
            part = member.decompress(data, room)
            room -= len(part)
            parts.append(part)
            if room <= 0:
                text = f"grpc: received message after decompression larger than max {limit}"
                raise CallFault(Status.RESOURCE_EXHAUSTED, text)
            if not member.eof:
                raise CallFault(Status.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
            data = member.unused_data
            if not data:
                return b"".join(parts)
    except zlib.error as error:
        raise CallFault(Status.INTERNAL, f"grpc: failed to decompress the received message: {error}") from error
    text = f"grpc: failed to decompress the received message: more than {_MAX_MEMBERS} gzip members"
    raise CallFault(Status.INTERNAL, text)


def packed(message: bytes) -> bytes:
    """A message with its prefix."""
    return PREFIX.pack(0, len(message)) + message


def packed_gzip(message: bytes) -> bytes:
    """A message with its prefix, compressed if it is worth it."""
    if len(message) < MIN_GZIP_BYTES:
        return packed(message)
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    small = squeeze.compress(message) + squeeze.flush()
    return PREFIX.pack(1, len(small)) + small
