"""The real disk: `Files` over the operating system's calls (POSIX)."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

from coterie.storage.direct import DirectFile, open_direct
from coterie.storage.files import File, Files, Lock

FILE_MODE = 0o600
"""Permissions of a new file: what a cluster agrees on is its users' business alone."""
DIRECTORY_MODE = 0o700

MAX_HOLDER_BYTES = 32
"""Of a lock file that are read to learn the holder's pid."""


class DiskFiles:
    """The file systems of this machine. Without state: any number may be made, and used from any thread."""

    def open(self, path: str, *, create: bool = False) -> File:
        """See `Files.open`. The file is not inherited by programs that this process starts."""
        flags = os.O_RDWR | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return DiskFile(os.open(path, flags, FILE_MODE))

    def exists(self, path: str) -> bool:
        """Whether there is anything at `path`. Unlike `os.path.exists` it raises `OSError` if it cannot tell."""
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def list(self, directory: str) -> list[str]:
        return sorted(os.listdir(directory))

    def make_directory(self, path: str) -> None:
        os.makedirs(path, DIRECTORY_MODE, exist_ok=True)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> Lock:
        """See `Files.lock`. Makes the file if need be, and writes this process's pid into it (see `lock_holder`).

        It is flock(2)'s lock: the kernel frees it however the process ends. The file stays for ever:
        were it removed, two processes could hold locks on two files of one name.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file = DiskFile(fd)
            file.truncate(0)  # else a longer pid's last digits would stay
            file.write_at(0, b"%d\n" % os.getpid())
        except BaseException:
            os.close(fd)
            raise
        return DiskLock(fd)


class DiskFile:
    """An open file. Positioned reads and writes only, so threads may share it."""

    __slots__ = ("_asked", "_direct", "_fd", "_sync_failed")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sync_failed = False
        self._direct: DirectFile | None = None
        self._asked = False
        """Whether it was found out if the file can be written to directly."""

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        # A signal, or a limit of the system's (2 GiB on Linux), may cut a read short before the file's end.
        parts = [data]
        done = len(data)
        while done < length:
            data = os.pread(self._fd, length - done, offset + done)
            if not data:
                break
            parts.append(data)
            done += len(data)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._fd, data, offset)
        if written == len(data):
            return
        # A disk that fills up writes what still fits; going on makes the system say why it stopped.
        rest = memoryview(data)
        while written < len(data):
            step = os.pwrite(self._fd, rest[written:], offset + written)
            if step == 0:
                raise OSError(errno.EIO, f"the system wrote {written} of {len(data)} bytes and gives no reason")
            written += step

    def truncate(self, length: int) -> None:
        os.ftruncate(self._fd, length)

    def sync(self) -> None:
        """fdatasync(2): the bytes, and the length if it changed, but not the times of access and change.

        After an error the system may have dropped the dirty pages and would report success the next
        time (Rebello et al., "Can Applications Recover from fsync Failures?", 2020): so it fails for ever.
        """
        if self._sync_failed:
            raise OSError(errno.EIO, "an earlier sync of this file failed: what it holds is unknown")
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            if sys.platform == "darwin":
                # There fsync leaves the bytes in the drive's cache, and fdatasync is not to be had.
                fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
            else:
                os.fdatasync(self._fd)
        except OSError:
            self._sync_failed = True
            raise

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def descriptor(self) -> int | None:
        return None if self._sync_failed or self._fd < 0 or sys.platform != "linux" else self._fd

    def direct(self) -> DirectFile | None:
        direct = self._direct
        if direct is None and not self._asked and self._fd >= 0:
            self._asked = True
            direct = self._direct = open_direct(self._fd)
        return None if direct is None or direct.refused or self._sync_failed else direct

    def close(self) -> None:
        """Close it; again does nothing. Any other call afterwards raises `OSError`."""
        fd, self._fd = self._fd, -1
        direct, self._direct = self._direct, None
        if direct is not None:
            direct.close()
        if fd >= 0:
            os.close(fd)


class DiskLock:
    """A lock that `DiskFiles.lock` took."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Free it; again does nothing. Unlocked, not only closed: children that were forked may share the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                fcntl.flock(fd, fcntl.LOCK_UN)
            finally:
                os.close(fd)


def lock_holder(files: Files, path: str) -> int | None:
    """The pid in a lock file, as its last holder wrote it; None if it cannot be told."""
    try:
        file = files.open(path)
        try:
            text = file.read_at(0, MAX_HOLDER_BYTES)
        finally:
            file.close()
        return int(text)
    except (OSError, ValueError):
        return None
