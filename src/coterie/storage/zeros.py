"""The zeros at the end of the newest segment, into which frames are written; more of them are made ahead of the log.

A sync that need not move the end of a file is faster, only such a write can pass the page cache by, and zeros are what
torn frames are told by. A write that finds too few of them makes more itself, and then all that wait for it wait for
a megabyte to be written, and for the file system's own bookkeeping. So the next are made in time, by another thread.
"""

from __future__ import annotations

from coterie.storage.direct import BLOCK_BYTES
from coterie.storage.files import File
from coterie.storage.syncing import NO_SPACE, sync_once

ZERO_CHUNK_BYTES = 1024 * 1024
"""A segment is extended by this many zeros at a time. Not beyond where it is ended, though."""


class Zeros:
    """How far the newest segment's zeros reach."""

    __slots__ = ("_chunk", "_limit", "_refused", "_room", "until")

    def __init__(self, segment_bytes: int, chunk: int = ZERO_CHUNK_BYTES, until: int = 0) -> None:
        """`chunk`: so many are made at a time. `until`: the durable length of the newest segment."""
        self._limit = segment_bytes
        self._chunk = chunk
        self.until = until
        """Length of the newest segment, once the write under way is done."""
        self._room: Room | None = None
        self._refused = False

    def reach(self, end: int) -> None:
        """A write makes the file as long as it should be with frames up to `end`: its own zeros are in it."""
        self.until = max(end, min(self._limit, end + self._chunk))
        self._room, self._refused = None, False

    def scarce(self, end: int) -> bool:
        """Whether more should be made, with frames up to `end`, and nobody is at it."""
        return self.until - end < self._chunk and self.until < self._limit and self._room is None and not self._refused

    def room(self, file: File) -> Room:
        """More of them, to be made in this file, the newest segment."""
        whole = -(-(self.until + self._chunk) // BLOCK_BYTES) * BLOCK_BYTES
        self._room = Room(self, file, self.until, min(self._limit, whole))
        return self._room

    def made(self, room: Room, refused: bool) -> None:
        """For `Room` alone: it was made, or there was no space. What is made of a segment that has been ended since, or
        that a write has lengthened further, is of no account."""
        if self._room is room:
            self._room, self._refused = None, refused
            if not refused:
                self.until = room.end


class Room:
    """Zeros to be made behind those that the newest segment has. Frames may be written into these meanwhile; but a
    write that lengthens the file comes after, or the zeros would wipe it out."""

    __slots__ = ("_begin", "_file", "_full", "_zeros", "end")

    def __init__(self, zeros: Zeros, file: File, begin: int, end: int) -> None:
        self._zeros = zeros
        self._file = file
        self._begin = begin
        self.end = end
        """Length of the file with them."""
        self._full = False

    def perform(self) -> None:
        """Write and sync; no space is no failure: the log finds out by itself when it needs some. Raises `OSError`:
        nobody knows what the disk holds."""
        try:
            self._file.write_at(self._begin, bytes(self.end - self._begin))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._full = True
            return
        sync_once(self._file.sync, f"zeros up to byte {self.end}")

    def finish(self) -> None:
        """It was performed: on the log's own thread."""
        self._zeros.made(self, self._full)
