"""The files that this room reads and writes: handed in by the caller, so that nothing here opens one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias


class SourceFile(Protocol):
    """A file that is read. `storage.files.File` is one. Every method may raise `OSError`."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        ...

    def size(self) -> int:
        """The file's length in bytes."""
        ...


class ScratchFile(SourceFile, Protocol):
    """An empty file of one's own, gone when it is closed. It need not survive anything, so it is never synced."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`, or raise."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


Scratch: TypeAlias = Callable[[], ScratchFile]
"""Makes a new scratch file."""
