"""Files that a process may die at: before any call that changes the disk, or for want of space."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from coterie.storage.direct import BLOCK_BYTES
from coterie.storage.files import File, Files, Lock, PlainFile


class Death(BaseException):
    """The process ends here. Not an `Exception`: no handler of the product may stop it."""


class Frailty:
    """Counts down to the end of a process."""

    def __init__(self) -> None:
        self._left = 0
        self._dead = False
        self.full = False
        """The disk has no space: every write that would lengthen a file fails."""
        self.past_cache = False
        """Whether files can be written past the page cache."""

    def arm(self, calls: int) -> None:
        """Die just before the call that is this many calls away."""
        self._left = calls

    def disarm(self) -> None:
        """Live on; or a new process lives."""
        self._left = 0
        self._dead = False

    def step(self) -> None:
        """One call is about to be made. The dead make none: no handler cleans up after the end."""
        if self._left:
            self._left -= 1
            self._dead = not self._left
        if self._dead:
            raise Death


class PastCache:
    """Writes past the page cache (see `storage.direct`), in two steps: the process may die before they are durable."""

    descriptor = -1
    address = 0

    def __init__(self, file: FrailFile) -> None:
        self._file = file
        self._staged = b""

    def stage(self, parts: Sequence[bytes]) -> int:
        """See `Direct`."""
        staged = b"".join(parts)
        self._staged = staged + bytes(-len(staged) % BLOCK_BYTES)
        return len(self._staged)

    def write(self, offset: int, size: int) -> None:
        """See `Direct`."""
        self._file.write_at(offset, self._staged[:size])
        self._file.sync()

    def refuse(self) -> None:
        """See `Direct`. These refuse nothing."""
        raise AssertionError("no simulated file refuses direct writes")


class FrailFile(PlainFile):
    """A file of `FrailFiles`."""

    def __init__(self, file: File, frailty: Frailty) -> None:
        self._file = file
        self._frailty = frailty

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        return self._file.read_at(offset, length)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`."""
        self._frailty.step()
        if self._frailty.full:
            raise OSError(errno.ENOSPC, "No space left on device (simulated)")
        self._file.write_at(offset, data)

    def truncate(self, length: int) -> None:
        """See `File`."""
        self._frailty.step()
        self._file.truncate(length)

    def sync(self) -> None:
        """See `File`."""
        self._frailty.step()
        self._file.sync()

    def direct(self) -> PastCache | None:
        """See `File`."""
        return PastCache(self) if self._frailty.past_cache else None

    def size(self) -> int:
        """See `File`."""
        return self._file.size()

    def close(self) -> None:
        """See `File`."""
        self._file.close()


class FrailFiles(Frailty):
    """A file system that counts the calls which change it."""

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files

    def put_in(self, files: Files) -> None:
        """Another disk takes the place of this one."""
        self._files = files

    def open(self, path: str, *, create: bool = False) -> FrailFile:
        """See `Files`."""
        if create:
            self.step()
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device (simulated)")
        return FrailFile(self._files.open(path, create=create), self)

    def exists(self, path: str) -> bool:
        """See `Files`."""
        return self._files.exists(path)

    def list(self, directory: str) -> list[str]:
        """See `Files`."""
        return self._files.list(directory)

    def make_directory(self, path: str) -> None:
        """See `Files`."""
        self._files.make_directory(path)

    def rename(self, old: str, new: str) -> None:
        """See `Files`."""
        self.step()
        self._files.rename(old, new)

    def remove(self, path: str) -> None:
        """See `Files`."""
        self.step()
        self._files.remove(path)

    def sync_directory(self, path: str) -> None:
        """See `Files`."""
        self.step()
        self._files.sync_directory(path)

    def lock(self, path: str) -> Lock:
        """See `Files`."""
        return self._files.lock(path)
