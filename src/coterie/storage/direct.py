"""Writes that pass the page cache by: durable when they are done, with nothing left for a sync to do.

A sync of what stands in the page cache costs the kernel a walk over its pages and, where the kernel does the waiting, a
worker that needs a processor to begin: on a busy machine it waits for that as long as for the disk. A direct write
(O_DIRECT, O_DSYNC) is with the disk when the call returns. See docs/decisions/0018-direct-writes.md.

It is made of whole blocks, so the block in which the bytes begin is written anew from its beginning, with what stood
there. A sector that holds the same before and after cannot be torn.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Sequence

from coterie.storage.files import File

BLOCK_BYTES = 4096
"""Where direct writes begin and end. Disks and file systems ask for multiples of 512 or 4096, in memory as on disk."""
MAX_DIRECT_BYTES = 1024 * 1024
"""Of one write: beyond it, nothing is gained."""

NOT_SUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a file system says that has no direct writes, or asks for other blocks: then nothing was written."""


class DirectFile:
    """A second descriptor of an open file, and memory for one write at a time."""

    __slots__ = ("_memory", "address", "descriptor", "refused")

    def __init__(self, descriptor: int) -> None:
        """Takes over `descriptor`, see `open_direct`."""
        self.descriptor = descriptor
        self.refused = False
        # Shared, not private: a child that is forked meanwhile must not make the kernel read a page's old copy.
        self._memory = mmap.mmap(-1, MAX_DIRECT_BYTES)
        self.address: int = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def stage(self, parts: Sequence[bytes]) -> int:
        """Bring bytes into the memory at `address`, with zeros up to the end of the last block; returns how many bytes
        that are, or 0 if they are too many. Not while a write is under way."""
        size = sum(map(len, parts))
        whole = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        if whole > MAX_DIRECT_BYTES:
            return 0
        memory = self._memory
        memory.seek(0)
        for part in parts:
            memory.write(part)
        memory.write(bytes(whole - size))
        return whole

    def write(self, offset: int, size: int) -> None:
        """Write `size` staged bytes at `offset`, a multiple of `BLOCK_BYTES`: durable on return. Raises `OSError`; one
        of `NOT_SUPPORTED`: nothing was written, and never will be this way."""
        done = 0
        with memoryview(self._memory) as memory:
            while done < size:
                # A disk that fills up writes what still fits; going on makes the system say why it stopped.
                written = os.pwrite(self.descriptor, memory[done:size], offset + done)
                if written == 0:
                    raise OSError(errno.EIO, f"the system wrote {done} of {size} bytes and gives no reason")
                done += written

    def refuse(self) -> None:
        """See `Direct`."""
        self.refused = True

    def close(self) -> None:
        """Let go of the descriptor. (The memory goes with the last that looks at it.)"""
        os.close(self.descriptor)


def open_direct(descriptor: int) -> DirectFile | None:
    """The same file for direct writes; None where the system or the file system has none."""
    if sys.platform != "linux" or not hasattr(os, "O_DIRECT"):
        return None
    flags = os.O_WRONLY | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC
    try:
        return DirectFile(os.open(f"/proc/self/fd/{descriptor}", flags))
    except OSError:
        return None


def write_past_cache(file: File, offset: int, parts: Sequence[bytes]) -> bool:
    """Write into bytes that the file has durably, from a multiple of `BLOCK_BYTES` on: durable on return. False, and
    nothing was written, if they are too many or the file has no such writes. Raises `OSError`: it failed."""
    direct = file.direct()
    if direct is None or not (size := direct.stage(parts)):
        return False
    try:
        direct.write(offset, size)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        direct.refuse()
        return False
    return True


def unfinished(block: bytes, data: bytes, end: int) -> bytes:
    """What stands before `end` in its block, once `data`, which ends there, has followed `block`."""
    begun = end % BLOCK_BYTES
    return data[len(data) - begun :] if begun <= len(data) else (block + data)[-begun:]
