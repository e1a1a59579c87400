"""Snapshots as a stream of chunks: records of any length in, chunks of a bounded length out, and back.

A record is preceded by its length (4 bytes, unsigned, big-endian). Chunks cut the stream wherever
they are full, so whoever stores or sends them may cut it again: only the order of bytes matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

MAX_CHUNK_BYTES = 1024 * 1024
"""Length of the chunks that `pack` makes."""
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""A longer record is refused by `pack` and by `unpack`."""
_LENGTH_BYTES = 4


def pack(records: Iterable[bytes]) -> Iterator[bytes]:
    """The records as chunks of at most `MAX_CHUNK_BYTES`. Raises `ValueError` for too long a record."""
    buffer = bytearray()
    for record in records:
        if len(record) > MAX_RECORD_BYTES:
            raise ValueError(f"a record of {len(record)} bytes in a snapshot; the limit is {MAX_RECORD_BYTES}")
        buffer += len(record).to_bytes(_LENGTH_BYTES, "big")
        buffer += record
        if len(buffer) >= MAX_CHUNK_BYTES:
            whole = len(buffer) - len(buffer) % MAX_CHUNK_BYTES
            for start in range(0, whole, MAX_CHUNK_BYTES):
                yield bytes(buffer[start : start + MAX_CHUNK_BYTES])
            del buffer[:whole]
    if buffer:
        yield bytes(buffer)


def giving_way(chunks: Iterable[bytes], give_way: Callable[[], None]) -> Iterator[bytes]:
    """The chunks; `give_way` is called after what becomes of each."""
    for chunk in chunks:
        yield chunk
        give_way()


def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The records in the chunks. Raises `ValueError` if a record is cut off or too long.

    Memory grows with the bytes that came, never with a length that was only claimed.
    """
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length = int.from_bytes(buffer[start : start + _LENGTH_BYTES], "big")
            if length > MAX_RECORD_BYTES:
                raise ValueError(f"a record of {length} bytes in a snapshot; the limit is {MAX_RECORD_BYTES}")
            end = start + _LENGTH_BYTES + length
            if end > len(buffer):
                break
            yield bytes(buffer[start + _LENGTH_BYTES : end])
            start = end
        del buffer[:start]
    if buffer:
        raise ValueError(f"the snapshot ends in the middle of a record ({len(buffer)} bytes of it)")


class Sections:
    """Records of several kinds, told apart by their first byte, read back run by run."""

    def __init__(self, records: Iterator[bytes]) -> None:
        self._records = records
        self._next: bytes | None = next(records, None)

    def take(self, tag: bytes) -> Iterator[bytes]:
        """The bodies of the records that follow with this tag."""
        while self._next is not None and self._next[:1] == tag:
            body = self._next[1:]
            self._next = next(self._records, None)
            yield body

    def finish(self, end: bytes) -> None:
        """Check that the record `end`, and nothing more, follows. Raises `ValueError`."""
        if self._next != end or next(self._records, None) is not None:
            raise ValueError("the snapshot does not end where it should, or not all of it was read")
