"""A snapshot file as the state that a new cluster begins with: `coterie restore`.

Of the file come the keys with their history, leases, compaction and auth. Members, alarms and the log's place do not:
they are the new cluster's own. Who its members are is agreed on at their first start, as ever (`engine.first_start`);
the data directories are left with the state alone (`storage.seed`), so one and the same is made for every member.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from coterie.core.errors import ConfigurationError, CoterieError, Effect
from coterie.core.types import Index
from coterie.etcd.backup.loading import load
from coterie.etcd.backup.machine_state import chunks_of
from coterie.etcd.backup.state import Origin
from coterie.etcd.backup.temporary import PREFIX, scratch_in
from coterie.machine.kv.protocol import Item
from coterie.storage.directory import LOCK_NAME, make_directory, sync_parents, take_lock
from coterie.storage.disk import DiskFile, DiskFiles
from coterie.storage.seed import INDEX_BYTES, MAX_INDEX, NEW_SEED_NAME, find_seed, write_seed

APART = 1 << 32
"""Entries between the file's place in its log and where the new log begins. Ids of leases are made from an entry's
index; those that the old cluster gave after the file was saved must not come again, for their holders may come."""


class RestoreFailed(CoterieError):
    """Nothing was restored, and nothing is left of the attempt."""


class Options(msgspec.Struct, frozen=True):
    """How a file is restored. Raises `ConfigurationError` for options that do not go together."""

    verify: bool = True
    """Whether its hash is looked at."""
    bump_revision: int = 0
    """By so much the revision is raised."""
    mark_compacted: bool = False
    """Whether all before the raised revision is compacted."""

    def __post_init__(self) -> None:
        if not 0 <= self.bump_revision < 1 << 62:
            raise ConfigurationError(f"bump-revision is {self.bump_revision}: it must be 0 to 2^62 - 1")
        if self.mark_compacted != (self.bump_revision > 0):
            raise ConfigurationError(
                "bump-revision and mark-compacted go together: revisions that are passed over have no history to read"
            )


class Restored(msgspec.Struct, frozen=True):
    """What was restored."""

    state: str
    """Digest of the state, in hexadecimal: the same for every member that is restored alike."""
    revision: int
    compacted: int
    """-1: never."""
    items: int
    """Of the history, deletions among them."""
    leases: int
    users: int
    index: Index
    """Of the entry that the new log begins after."""
    origin: Origin


def restore(file: Path, directory: Path, options: Options) -> Restored:
    """Make the data directory of a member that is to begin with the state in a snapshot file. `directory` must not
    exist, or be empty, or hold what an earlier attempt left unfinished; it is made whole or not at all.

    Raises `RestoreFailed`, `BadSnapshot`, `DirectoryRefused`. Memory is bounded; it takes some seconds for each million
    of items.
    """
    with _opened(file) as source:
        try:
            # Before anything is made: most of what can be wrong with the file is found here.
            state = load(source, scratch_in(directory), verify=options.verify, bump=options.bump_revision)
            index = first_index(state.origin)
            items = _Counted(state.items)
            chunks = chunks_of(replace(state, items=items))
            with new_data_directory(directory) as path:
                digest = write_seed(DiskFiles(), path, _content(index, chunks))
        except OSError as error:
            raise RestoreFailed(f"cannot read {file}: {error.strerror or error}", advice="check the disk") from error
        except ValueError as error:
            raise RestoreFailed(
                f"{file} is no state that a cluster can begin with: {error}",
                advice="save another snapshot file: in this one, parts do not fit together",
            ) from error
    return Restored(
        state=digest.hex(),
        revision=state.revision,
        compacted=state.compacted,
        items=items.count,
        leases=len(state.leases),
        users=len(state.auth.users),
        index=index,
        origin=state.origin,
    )


def restore_copy(whole: Path, directory: Path) -> bytes:
    """The same for another member, from a directory that was made just now; returns the state's digest. Raises
    `RestoreFailed`, `DirectoryRefused`."""
    files = DiskFiles()
    seed = find_seed(files, str(whole))
    if seed is None:
        raise ValueError(f"there is no restored state in {whole}")
    with new_data_directory(directory) as path:
        return write_seed(files, path, seed.content())


def first_index(origin: Origin) -> Index:
    """The entry that the new log begins after, of which the state is: well above all that the old cluster used."""
    return APART + (origin.index if origin.index <= MAX_INDEX // 2 else 0)


def _content(index: Index, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield index.to_bytes(INDEX_BYTES, "big")
    yield from chunks


@contextmanager
def _opened(path: Path) -> Iterator[DiskFile]:
    """The snapshot file, open for reading. Raises `RestoreFailed`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise RestoreFailed(f"{path} is no file", advice="name the file that `etcdctl snapshot save` wrote")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RestoreFailed(f"cannot read {path}: {error.strerror}", advice="check its path and its owner") from error
    file = DiskFile(descriptor)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def new_data_directory(directory: Path) -> Iterator[str]:
    """Make a data directory, empty but for its lock, which is held; it is durable in the end. On any error what was
    made is removed. Raises `RestoreFailed` if it holds something, or for the system's errors within;
    `DirectoryRefused` if it is in use."""
    files, path = DiskFiles(), str(directory)
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    unlocked = not (directory / LOCK_NAME).exists()
    try:
        try:
            parents = make_directory(files, path)
            _check_empty(directory)
            lock = take_lock(files, path)
            try:
                _clear(directory)
                yield path
                sync_parents(files, parents)
            finally:
                lock.release()
        except OSError as error:
            where = f" ({error.filename})" if isinstance(error.filename, str) else ""
            raise RestoreFailed(
                f"cannot restore into {directory}: {error.strerror or error}{where}",
                effect=Effect.NO,
                advice="check its path, its owner, free space and how its disk is mounted",
            ) from error
    except BaseException:
        if unlocked and not _others(directory):
            with suppress(OSError):
                (directory / LOCK_NAME).unlink()
        for each in missing:
            with suppress(OSError):
                each.rmdir()  # only if it is empty
        raise


def _check_empty(directory: Path) -> None:
    """Raise `RestoreFailed` if the directory holds anything but what an unfinished attempt left."""
    others = [name for name in _others(directory) if name != NEW_SEED_NAME and not name.startswith(PREFIX)]
    if others:
        raise RestoreFailed(
            f"{directory} is not empty: it holds {others[0]!r}",
            advice="name another directory, or remove this one if nobody needs it",
        )


def _others(directory: Path) -> list[str]:
    """What the directory holds beside the lock; nothing if it cannot be read."""
    with suppress(OSError):
        return sorted(name for name in os.listdir(directory) if name != LOCK_NAME)
    return []


def _clear(directory: Path) -> None:
    for name in os.listdir(directory):
        if name.startswith(PREFIX):
            (directory / name).unlink()


class _Counted:
    """Items, counted as they are read."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self.count = 0
        """Those that were read so far."""

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.count += 1
            yield item
