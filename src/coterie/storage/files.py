"""The one port through which storage touches a disk. The simulator puts its own disk here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Direct(Protocol):
    """A file's way to the disk past the page cache, for one write at a time; see `storage.direct`."""

    @property
    def descriptor(self) -> int:
        """What the kernel knows it by."""
        ...

    @property
    def address(self) -> int:
        """Of the memory where a write is staged."""
        ...

    def stage(self, parts: Sequence[bytes]) -> int:
        """Make the bytes ready, in whole blocks; returns how many that are, or 0 if they are too many."""
        ...

    def write(self, offset: int, size: int) -> None:
        """Write what is staged: durable on return."""
        ...

    def refuse(self) -> None:
        """It does not work here after all: the file gives it to nobody any more."""
        ...


class File(Protocol):
    """An open file. Offsets and lengths in bytes. Every method may raise `OSError`."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        ...

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data`, or raise; not durable before `sync`."""
        ...

    def truncate(self, length: int) -> None:
        """Cut the file, or extend it with zeros. Not durable before `sync`."""
        ...

    def sync(self) -> None:
        """Make the file's bytes and length durable. An error is fatal: never call again."""
        ...

    def size(self) -> int: ...

    def descriptor(self) -> int | None:
        """What the kernel knows the file by, for a sync that the kernel does by itself; None if it can't."""
        ...

    def direct(self) -> Direct | None:
        """For writes past the page cache, into bytes that the file has durably; None if it can't."""
        ...

    def close(self) -> None: ...


class PlainFile:
    """What a file says of the kernel if none knows it."""

    def descriptor(self) -> int | None:
        """See `File`."""
        return None

    def direct(self) -> Direct | None:
        """See `File`."""
        return None


class Lock(Protocol):
    """An exclusive lock held until released or until the process ends."""

    def release(self) -> None: ...


class Files(Protocol):
    """A file system, paths as strings with '/'. Creation, renaming and removal are durable only
    after `sync_directory` of the directory that they happened in. May raise `OSError`."""

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing. `create`: make an empty file; `FileExistsError` if there is one."""
        ...

    def exists(self, path: str) -> bool: ...

    def list(self, directory: str) -> list[str]:
        """Names in the directory, sorted."""
        ...

    def make_directory(self, path: str) -> None:
        """Make it, with its parents; no error if it is there."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomically, replacing `new`."""
        ...

    def remove(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...

    def lock(self, path: str) -> Lock:
        """Take an exclusive lock; raises `BlockingIOError` at once if another process has it."""
        ...
