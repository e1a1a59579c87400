"""A disk in memory, behind the port `storage.files`, that loses at a power loss what a real one may lose."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from coterie.sim.sectors import Content
from coterie.storage.files import PlainFile


def _error(number: int, path: str) -> OSError:
    """An `OSError` of the subclass that Python gives this number."""
    return OSError(number, f"{os.strerror(number)} (simulated)", path)


class Directory:
    """Names and what they stand for: as processes see them, and as they are on the medium."""

    __slots__ = ("durable", "entries", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.entries: dict[str, Directory | Content] = {}
        self.durable: dict[str, Directory | Content] = {}


class _Change(NamedTuple):
    """One name of a directory gets another meaning (None: is removed)."""

    directory: Directory
    name: str
    node: Directory | Content | None


_Operation = tuple[_Change, ...]
"""Changes that happen all or none: two for a rename."""


@dataclass(slots=True)
class DiskErrors:
    """What goes wrong. Set the fields, or override the methods, which are asked each time."""

    capacity: int | None = None
    """Bytes that all files' lengths together (holes count) may have; then ENOSPC."""
    full: bool = False
    """No write may lengthen a file, and no file be made: ENOSPC."""
    failing_syncs: int = 0
    """How many of the next syncs fail with EIO; a file's dirty pages are then called clean (`Content.fail_sync`)."""
    reads_old: bool = False
    """After a failed sync, whether the old bytes are read at once; else the new ones, until the power fails."""
    failing_reads: int = 0
    """How many of the next reads fail with EIO."""
    failed_reads: int = 0
    """How many have failed."""

    def sync_fails(self, path: str) -> bool:
        """Whether this sync, of the file or directory `path`, fails."""
        fails = self.failing_syncs > 0
        self.failing_syncs -= fails
        return fails

    def read_fails(self, path: str, offset: int, length: int) -> bool:
        """Whether this read, of `length` bytes at `offset`, fails."""
        fails = self.failing_reads > 0
        self.failing_reads -= fails
        self.failed_reads += fails
        return fails


class SimulatedFile(PlainFile):
    """An open file of `SimulatedFiles`. EBADF once it was closed or its process has died."""

    def __init__(self, files: SimulatedFiles, path: str, content: Content) -> None:
        self._files = files
        self._path = path
        self._content = content
        self._life = files.life
        self._open = True

    def _check(self, *numbers: int) -> None:
        if not self._open or self._life != self._files.life:
            raise _error(errno.EBADF, self._path)
        if any(number < 0 for number in numbers):
            raise _error(errno.EINVAL, self._path)

    def read_at(self, offset: int, length: int) -> bytes:
        """See `File`."""
        self._check(offset, length)
        if self._files.errors.read_fails(self._path, offset, length):
            raise _error(errno.EIO, self._path)
        return self._content.read(offset, length)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `File`. Where the space ends inside `data`, what fits is written before ENOSPC is raised."""
        self._check(offset)
        data = bytes(data)
        room = self._files.room()
        if room is None or not data or offset + len(data) <= self._content.length + room:
            self._content.write(offset, data)
            return
        self._content.write(offset, data[: max(0, self._content.length + room - offset)])
        raise _error(errno.ENOSPC, self._path)

    def truncate(self, length: int) -> None:
        """See `File`."""
        self._check(length)
        room = self._files.room()
        if room is not None and length > self._content.length + room:
            raise _error(errno.ENOSPC, self._path)
        self._content.truncate(length)

    def sync(self) -> None:
        """See `File`."""
        self._check()
        if self._files.errors.sync_fails(self._path):
            self._content.fail_sync(reads_old=self._files.errors.reads_old)
            raise _error(errno.EIO, self._path)
        self._content.sync()

    def size(self) -> int:
        """See `File`."""
        self._check()
        return self._content.length

    def close(self) -> None:
        """See `File`. Nothing becomes durable by it."""
        self._open = False


class SimulatedLock:
    """A lock of `SimulatedFiles`; void once its process has died."""

    def __init__(self, files: SimulatedFiles, content: Content) -> None:
        self._files = files
        self._content = content

    def release(self) -> None:
        """See `Lock`."""
        self._files.release(self, self._content)


class SimulatedFiles:
    """A file system, see `Files`; paths are absolute, with or without a leading '/'.

    Names follow their directory: operations reach the medium in each directory's order, a rename all or nothing.
    Syncing a file says nothing about its name, and syncing a directory nothing about its own name: the least that
    POSIX promises.
    """

    def __init__(self, *, errors: DiskErrors | None = None, torn_sectors: bool = False) -> None:
        self.errors = DiskErrors() if errors is None else errors
        self.torn_sectors = torn_sectors
        """Whether a power loss may leave the head of a sector new and its tail old."""
        self.life = 0
        """Which process uses the files: one more at each crash."""
        self._root = Directory(0)
        self._directories = 1
        self._pending: list[_Operation] = []
        self._locks: list[tuple[SimulatedLock, Content]] = []

    # -- the port -----------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        """See `Files`."""
        directory, name = self._place(path)
        node = directory.entries.get(name)
        if create:
            if node is not None:
                raise _error(errno.EEXIST, path)
            node = self._create(directory, name, path)
        if node is None:
            raise _error(errno.ENOENT, path)
        if isinstance(node, Directory):
            raise _error(errno.EISDIR, path)
        return SimulatedFile(self, path, node)

    def exists(self, path: str) -> bool:
        """See `Files`."""
        try:
            return self._find(self._root, path) is not None
        except OSError:
            return False

    def list(self, directory: str) -> list[str]:
        """See `Files`."""
        return sorted(self._directory(directory).entries)

    def make_directory(self, path: str) -> None:
        """See `Files`. Each new directory is durable once its parent is synced."""
        directory = self._root
        for name in _parts(path):
            node = directory.entries.get(name)
            if node is None:
                node = Directory(self._directories)
                self._directories += 1
                self._perform((_Change(directory, name, node),))
            if not isinstance(node, Directory):
                raise _error(errno.EEXIST, path)
            directory = node

    def rename(self, old: str, new: str) -> None:
        """See `Files`."""
        source, source_name = self._place(old)
        target, target_name = self._place(new)
        node, replaced = source.entries.get(source_name), target.entries.get(target_name)
        if node is None:
            raise _error(errno.ENOENT, old)
        if node is replaced:
            return
        if isinstance(node, Directory):
            if any(at is node for at in self._path_to(new)):
                raise _error(errno.EINVAL, new)
            if isinstance(replaced, Content):
                raise _error(errno.ENOTDIR, new)
        if isinstance(replaced, Directory):
            if not isinstance(node, Directory):
                raise _error(errno.EISDIR, new)
            if replaced.entries:
                raise _error(errno.ENOTEMPTY, new)
        self._perform((_Change(source, source_name, None), _Change(target, target_name, node)))

    def remove(self, path: str) -> None:
        """See `Files`. Files only."""
        directory, name = self._place(path)
        node = directory.entries.get(name)
        if node is None:
            raise _error(errno.ENOENT, path)
        if isinstance(node, Directory):
            raise _error(errno.EISDIR, path)
        self._perform((_Change(directory, name, None),))

    def sync_directory(self, path: str) -> None:
        """See `Files`. After EIO its operations may still be made durable by a later sync."""
        directory = self._directory(path)
        if self.errors.sync_fails(path):
            raise _error(errno.EIO, path)
        # An operation reaches the medium after all earlier ones in the directories that it touches.
        needed = {directory.number: None}
        rest: list[_Operation] = []
        durable: list[_Operation] = []
        for operation in reversed(self._pending):
            if any(change.directory.number in needed for change in operation):
                needed.update((change.directory.number, None) for change in operation)
                durable.append(operation)
            else:
                rest.append(operation)
        for operation in reversed(durable):
            self._write_back(operation)
        self._pending = rest[::-1]

    def lock(self, path: str) -> SimulatedLock:
        """See `Files`. Makes the file if it is not there; the lock is its own, whatever it is called."""
        directory, name = self._place(path)
        node = directory.entries.get(name)
        if isinstance(node, Directory):
            raise _error(errno.EISDIR, path)
        if node is None:
            node = self._create(directory, name, path)
        if any(content is node for _, content in self._locks):
            raise _error(errno.EAGAIN, path)
        lock = SimulatedLock(self, node)
        self._locks.append((lock, node))
        return lock

    # -- for handles --------------------------------------------------------------------------

    def release(self, lock: SimulatedLock, content: Content) -> None:
        """Give a lock back; nothing if it is not held any more."""
        self._locks = [held for held in self._locks if held[0] is not lock]

    def room(self) -> int | None:
        """Bytes by which files may grow; None: any number."""
        if self.errors.full:
            return 0
        if self.errors.capacity is None:
            return None
        return max(0, self.errors.capacity - sum(content.length for _, content in _walk(self._root, durable=False)))

    # -- for the simulator and its checks -----------------------------------------------------

    def crash(self, rng: Random, *, power: bool) -> None:
        """End the process: its handles are dead, its locks released.

        `power` False: the operating system lives, nothing that was written is lost, nor becomes durable. True: what was
        synced stays, and of the rest a part drawn from `rng`: each directory's operations up to some point, each
        file's un-synced sectors in any subset (see `Content.lose_power`).
        """
        self.life += 1
        self._locks.clear()
        if not power:
            return
        self._lose_names(rng)
        for _, content in _walk(self._root, durable=True):
            content.lose_power(rng, torn=self.torn_sectors)

    def sync_all(self) -> None:
        """Make everything durable, without injected errors."""
        for operation in self._pending:
            self._write_back(operation)
        self._pending.clear()
        for _, content in _walk(self._root, durable=False):
            content.sync()

    def paths(self) -> tuple[str, ...]:
        """Every file's path, without a leading '/', in order."""
        return tuple(path for path, _ in _walk(self._root, durable=False))

    def image(self, path: str) -> bytes:
        """The bytes that a power loss certainly leaves under this name; `FileNotFoundError` if it may leave no such."""
        return self._content(path, durable=True).durable_image()

    def durable_files(self) -> SimulatedFiles:
        """A copy, as after a power loss that took all that was not synced; without locks or injected errors."""
        copy = SimulatedFiles(torn_sectors=self.torn_sectors)
        places = [(self._root, copy._root)]
        while places:
            source, target = places.pop()
            for name, node in source.durable.items():
                if isinstance(node, Content):
                    target.entries[name] = node.durable_copy()
                else:
                    inner = Directory(copy._directories)
                    copy._directories += 1
                    target.entries[name] = inner
                    places.append((node, inner))
            target.durable = dict(target.entries)
        return copy

    def flip_bit(self, path: str, bit: int) -> None:
        """Damage a durable bit (bit 0 is the lowest of byte 0) at rest. Raises `ValueError` if there is no such bit."""
        self._content(path, durable=False).flip_bit(bit)

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Damage at rest: a write for another place reached this one. Raises `ValueError` beyond the durable end."""
        self._content(path, durable=False).overwrite(offset, data)

    # -- inside -------------------------------------------------------------------------------

    def _create(self, directory: Directory, name: str, path: str) -> Content:
        if self.room() == 0:
            raise _error(errno.ENOSPC, path)
        content = Content()
        self._perform((_Change(directory, name, content),))
        return content

    def _perform(self, operation: _Operation) -> None:
        for change in operation:
            _assign(change.directory.entries, change)
        self._pending.append(operation)

    def _write_back(self, operation: _Operation) -> None:
        for change in operation:
            _assign(change.directory.durable, change)

    def _lose_names(self, rng: Random) -> None:
        """Each directory keeps a prefix of its operations; one that two directories share needs both."""
        counts: dict[int, int] = {}
        for operation in self._pending:
            for number in _touched(operation):
                counts[number] = counts.get(number, 0) + 1
        left = {number: (0, count, rng.randrange(count + 1))[rng.randrange(3)] for number, count in counts.items()}
        for operation in self._pending:
            touched = _touched(operation)
            if all(left[number] > 0 for number in touched):
                self._write_back(operation)
                for number in touched:
                    left[number] -= 1
            else:
                left.update((number, 0) for number in touched)
        self._pending.clear()
        places = [self._root]
        while places:
            directory = places.pop()
            directory.entries = dict(directory.durable)
            places.extend(node for node in directory.entries.values() if isinstance(node, Directory))

    def _find(self, root: Directory, path: str, *, durable: bool = False) -> Directory | Content | None:
        node: Directory | Content | None = root
        for name in _parts(path):
            if node is None:
                raise _error(errno.ENOENT, path)
            if not isinstance(node, Directory):
                raise _error(errno.ENOTDIR, path)
            node = (node.durable if durable else node.entries).get(name)
        return node

    def _content(self, path: str, *, durable: bool) -> Content:
        node = self._find(self._root, path, durable=durable)
        if node is None:
            raise _error(errno.ENOENT, path)
        if isinstance(node, Directory):
            raise _error(errno.EISDIR, path)
        return node

    def _directory(self, path: str) -> Directory:
        node = self._find(self._root, path)
        if node is None:
            raise _error(errno.ENOENT, path)
        if not isinstance(node, Directory):
            raise _error(errno.ENOTDIR, path)
        return node

    def _place(self, path: str) -> tuple[Directory, str]:
        """The directory that a path's last name is in, and that name."""
        parts = _parts(path)
        if not parts:
            raise _error(errno.EISDIR, path)
        return self._directory("/".join(parts[:-1])), parts[-1]

    def _path_to(self, path: str) -> Iterator[Directory | Content | None]:
        parts = _parts(path)
        return (self._find(self._root, "/".join(parts[:depth])) for depth in range(len(parts)))


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise _error(errno.EINVAL, path)
    return parts


def _assign(entries: dict[str, Directory | Content], change: _Change) -> None:
    if change.node is None:
        entries.pop(change.name, None)
    else:
        entries[change.name] = change.node


def _touched(operation: _Operation) -> list[int]:
    return list(dict.fromkeys(change.directory.number for change in operation))


def _walk(root: Directory, *, durable: bool) -> Iterator[tuple[str, Content]]:
    """Every file below, with its path, in the order of names."""
    names = root.durable if durable else root.entries
    for name in sorted(names):
        node = names[name]
        if isinstance(node, Content):
            yield name, node
        else:
            for path, content in _walk(node, durable=durable):
                yield f"{name}/{path}", content
