"""Length-prefixed frames: 4 bytes, unsigned, big-endian, then that many bytes."""

from __future__ import annotations

import struct

from coterie.core.errors import CoterieError
from coterie.engine.protocol import MAX_FRAME_BYTES, Request, encoder

PREFIX_BYTES = 4
_prefix = struct.Struct(">I")
_unpack = _prefix.unpack_from
prefix_of = _prefix.pack
"""What stands before a body of so many bytes."""


class FrameError(CoterieError):
    """The other side does not speak the protocol: the connection must be closed."""

    advice = "check that the address is a Coterie member's client address"


def frame(message: Request) -> bytes:
    """A message as it goes on the wire."""
    body = encoder.encode(message)
    return prefix_of(len(body)) + body


class FrameBuffer:
    """Cuts a byte stream into frames; holds at most one unfinished frame."""

    __slots__ = ("_need", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._need = 0
        """Bytes that the unfinished frame needs before looking again is worth it."""

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies of the frames that `data` completes. Raises `FrameError` before a too long one is kept."""
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._need:
                return []
            data = b"".join(self._parts)
            self._parts = []
        frames: list[bytes] = []
        position, end = 0, len(data)
        need = PREFIX_BYTES
        while end - position >= 4:  # PREFIX_BYTES, here and below
            start = position + 4
            (size,) = _unpack(data, position)
            if size > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes is longer than the limit of {MAX_FRAME_BYTES}")
            stop = start + size
            if stop > end:
                need = PREFIX_BYTES + size
                break
            frames.append(data[start:stop])
            position = stop
        if position < end:
            self._parts = [data[position:]]
            self._size = end - position
            self._need = need
        return frames
