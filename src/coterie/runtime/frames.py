"""Frames on a byte stream: 4 bytes length (unsigned, big-endian, of what follows), then the body."""

from __future__ import annotations

import struct

from coterie.core.errors import CoterieError

LENGTH_BYTES = 4
_length = struct.Struct(">I")
_unpack_length = _length.unpack_from
pack_length = _length.pack
"""The 4 bytes that stand before a body of so many bytes."""


class FrameError(CoterieError):
    """The stream is not a sequence of frames: a length of 0, or above the limit. Close the connection."""

    advice = "close the connection: what follows on it cannot be trusted"


class FrameSplitter:
    """Cuts a stream of bytes into frames, incrementally.

    A frame that came in one piece costs one slice; one that came in many is put together once, when
    its last byte is there, so that a sender of small pieces cannot make the work quadratic. The length
    is checked before anything is kept for it: at most `limit` bytes plus one read are ever held.
    """

    __slots__ = ("_held", "_held_bytes", "_limit", "_needed")

    def __init__(self, limit: int) -> None:
        """`limit`: the largest body, in bytes."""
        self._limit = limit
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed = 0
        """The held bytes cannot hold a whole frame before there are so many; 0: unknown."""

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return self._held_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies of all frames that `data` completes, in order.

        Raises `FrameError`; the splitter must not be used after that.
        """
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed:
                return []
            data = b"".join(self._held)
            self._held = []
            self._held_bytes = 0
        frames: list[bytes] = []
        keep = frames.append
        limit = self._limit
        position = 0
        end = len(data)
        needed = LENGTH_BYTES
        while position + 4 <= end:
            (length,) = _unpack_length(data, position)
            if not 0 < length <= limit:
                raise FrameError(f"a frame says it has {length} bytes; it may have 1 to {limit}")
            start = position + 4
            stop = start + length
            if stop > end:
                needed = 4 + length
                break
            keep(data[start:stop])
            position = stop
        if position < end:
            self._held = [data[position:] if position else data]
            self._held_bytes = end - position
            self._needed = needed
        return frames
