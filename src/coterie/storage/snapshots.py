"""The snapshots of a data directory: which there are, which are whole, and what is sent of them.

A snapshot becomes one by getting its name, and it gets it when it is durable. So whatever has a name was whole once;
what has the name of one that was being made is removed at the next start.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from coterie.core.replica import SnapshotChunk
from coterie.core.types import Index, SnapshotMeta
from coterie.storage.errors import SnapshotDamaged, StorageError
from coterie.storage.files import File, Files
from coterie.storage.snapshot_files import (
    Snapshot,
    SnapshotReceiver,
    SnapshotWriter,
    content,
    glance,
    whole,
)
from coterie.storage.snapshot_format import (
    NEW_SUFFIX,
    PART_SUFFIX,
    SnapshotCheck,
    SnapshotHeader,
    SnapshotName,
    parse_name,
    snapshot_name,
)

__all__ = ["Snapshot", "SnapshotDirectory", "SnapshotReceiver", "SnapshotWriter"]

KEPT = 2
"""Snapshots that are kept: should the newest be damaged, the one before may still do."""


@dataclass
class _Sending:
    """A file that is being read for other members. It can be read on when its name is gone."""

    file: File
    check: SnapshotCheck
    checked: int = 0
    """Bytes from the beginning on that were checked as they were read."""
    used: bool = True
    """Since the last `prune`."""


@dataclass(frozen=True)
class Content:
    """The state in a snapshot, in pieces; each is checked before it is handed out. May be iterated in any thread,
    more than once.

    Raises `SnapshotDamaged`, `WrongSnapshot` (both `ValueError`), also after the last piece: nothing may be taken
    for whole before the iteration has ended. `LookupError` if the file is gone, `OSError`.
    """

    files: Files
    path: str
    name: SnapshotName
    cluster: int

    def __iter__(self) -> Iterator[bytes]:
        try:
            file = self.files.open(self.path)
        except FileNotFoundError as error:
            raise LookupError(f"there is no snapshot {self.path}") from error
        try:
            yield from content(file, self.name, self.cluster)
        finally:
            file.close()


class SnapshotDirectory:
    """The directory that snapshots are kept in; a `SnapshotReader` of them.

    One thread reads (`kept`, `newest`, `chunks`, `chunk`); another may make and remove (`write`, `receive`,
    `prune`, and what `create` and `begin_receiving` return).
    """

    def __init__(self, files: Files, path: str, cluster: int) -> None:
        """Makes the directory if need be, and removes what an earlier process left unfinished. Nothing else may
        use it. Raises `OSError`."""
        self.problems: list[SnapshotDamaged] = []
        """Snapshots that were found damaged, for whoever tells people: take them out."""
        self._files = files
        self._path = path
        self._cluster = cluster
        self._lock = threading.Lock()
        """Held where what may be used in other threads and this object meet; not while the disk is waited for."""
        self._making: set[str] = set()
        self._receiver: SnapshotReceiver | None = None
        self._sending: dict[Index, tuple[SnapshotName, _Sending]] = {}
        self._damaged: set[SnapshotName] = set()
        self._held: set[SnapshotName] = set()
        """Not to be removed, though newer ones come."""
        files.make_directory(path)
        files.sync_directory(path.rpartition("/")[0] or ("/" if path.startswith("/") else "."))
        unfinished = [name for name in files.list(path) if name.endswith((NEW_SUFFIX, PART_SUFFIX))]
        for name in unfinished:
            files.remove(f"{path}/{name}")
        # A process that ended just after it named one may have left the name to the file system's memory alone. The log
        # is to begin after what is found here, so it must be found again when the power has failed.
        files.sync_directory(path)
        self.notices = tuple(f"removed {name}, which was left unfinished" for name in unfinished)

    # -- which there are ----------------------------------------------------------------------

    def names(self) -> list[SnapshotName]:
        """Those that have a name and were not found damaged, the newest first. Raises `OSError`."""
        found = (parse_name(name) for name in self._files.list(self._path))
        return sorted((name for name in found if name is not None and name not in self._damaged), reverse=True)

    def newest(self, at_least: Index = 0, *, thorough: bool = True) -> Snapshot | None:
        """The newest that is whole and whose index is `at_least` so high; None if there is none.

        A log that begins after entry n needs one with index n or higher: with an older one entries would be missing.
        `thorough`: all of it is read and checked; else only how it begins and ends. Those that are damaged are
        passed over, and told in `problems`. Raises `WrongSnapshot` for one of another cluster, `OSError`.
        """
        for name in self.names():
            if name.at < at_least:
                break
            snapshot = self._look(name, thorough=thorough)
            if snapshot is not None:
                return snapshot
        return None

    def kept(self) -> list[tuple[SnapshotMeta, int]]:
        """(meta, bytes) of each that is whole at a glance, the newest first. Raises `WrongSnapshot`, `OSError`."""
        found: list[tuple[SnapshotMeta, int]] = []
        for name in self.names():
            snapshot = self._look(name, thorough=False)
            if snapshot is not None:
                found.append((snapshot.meta, snapshot.size))
        return found

    def chunks(self, meta: SnapshotMeta) -> Content:
        """The state that the snapshot at `meta` holds."""
        name = snapshot_name(meta)
        return Content(self._files, self._where(name), name, self._cluster)

    def _look(self, name: SnapshotName, *, thorough: bool) -> Snapshot | None:
        """The snapshot; None if it is damaged, or was removed just now."""
        try:
            file = self._files.open(self._where(name))
        except FileNotFoundError:
            return None
        try:
            meta = (whole if thorough else glance)(file, name, self._cluster)
            return Snapshot(meta, file.size(), self._where(name))
        except SnapshotDamaged as damage:
            self._found_damaged(name, damage)
            return None
        finally:
            file.close()

    # -- making -------------------------------------------------------------------------------

    def create(self, meta: SnapshotMeta) -> SnapshotWriter:
        """Begin to write the snapshot of the state at `meta`. Raises `StorageError` if it is being written already,
        `ValueError` if the membership is too large, `OSError`."""
        path = self._begin(meta, NEW_SUFFIX)
        try:
            header = SnapshotHeader(self._cluster, meta)
            return SnapshotWriter(self._files, path, header, self._publish, partial(self._forget, path))
        except BaseException:
            self._forget(path)
            raise

    def begin_receiving(self, meta: SnapshotMeta, size: int) -> SnapshotReceiver:
        """Begin to receive a snapshot of `size` bytes. Raises `StorageError` if it is being received already,
        `ValueError` for a size that none has, `OSError`."""
        path = self._begin(meta, PART_SUFFIX)
        try:
            header = SnapshotHeader(self._cluster, meta)
            return SnapshotReceiver(self._files, path, header, size, self._publish, partial(self._forget, path))
        except BaseException:
            self._forget(path)
            raise

    def write(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> int:
        """Write the snapshot of the state at `meta`, of whose pieces each may have any length; it is durable under
        its name on return. Returns the bytes of the file. Raises as `create` does, what `chunks` raises, `OSError`:
        then there is none."""
        writer = self.create(meta)
        try:
            for chunk in chunks:
                writer.write(chunk)
            return writer.finish().size
        except BaseException:
            with suppress(OSError):
                writer.abandon()
            raise

    def receive(self, chunk: SnapshotChunk) -> bool:
        """Keep bytes of a snapshot that comes from the leader. Those of another one, or of the beginning, begin it
        anew: one at a time is received. Returns whether it is whole now: checked, and durable under its name.
        Raises `ValueError` where it is damaged or bytes are missing, and `OSError`: then what had come is gone."""
        try:
            receiver = self._receiver
            if receiver is None or not chunk.offset or (receiver.meta, receiver.size) != (chunk.meta, chunk.size):
                self.abandon()
                receiver = self._receiver = self.begin_receiving(chunk.meta, chunk.size)
            receiver.append(chunk.offset, chunk.data)
            if not receiver.complete:
                return False
            receiver.finish()
            self._receiver = None
            return True
        except BaseException:
            with suppress(OSError):
                self.abandon()
            raise

    def abandon(self) -> None:
        """What has come of a snapshot that is being received is of no more use. Raises `OSError`."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.abandon()

    def _begin(self, meta: SnapshotMeta, suffix: str) -> str:
        path = f"{self._where(snapshot_name(meta))}{suffix}"
        with self._lock:
            if path in self._making:
                raise StorageError(
                    f"the snapshot file {path} is being made already", advice="Wait for it, or abandon it first."
                )
            self._making.add(path)
        return path

    def _forget(self, path: str) -> None:
        with self._lock:
            self._making.discard(path)

    def _publish(self, unnamed: str, snapshot: Snapshot) -> Snapshot:
        """A state may be taken here and received, too. If there is a whole one of that name, it stays: another
        file in its place could end up half of this, half of that at a member which it is sent to. But one that was
        found damaged, be it that a read failed that does not fail now, gives way: `prune` would remove it."""
        name = snapshot_name(snapshot.meta)
        with self._lock:
            damaged = name in self._damaged
        there = None if damaged else self._whole(name)
        if there is not None:
            self._files.remove(unnamed)
            return there
        with self._lock:
            self._files.rename(unnamed, snapshot.path)
            self._damaged.discard(name)
            self._close_sending(name)
        self._files.sync_directory(self._path)
        return snapshot

    def _whole(self, name: SnapshotName) -> Snapshot | None:
        if not self._files.exists(self._where(name)):
            return None
        file = self._files.open(self._where(name))
        try:
            return Snapshot(whole(file, name, self._cluster), file.size(), self._where(name))
        except StorageError:
            return None
        finally:
            file.close()

    # -- sending ------------------------------------------------------------------------------

    def chunk(self, index: Index, offset: int, limit_bytes: int) -> bytes:
        """See `SnapshotReader.chunk`: bytes of the file itself. What is read in order is checked on the way, for a
        damaged one would be asked for again and again. Raises `LookupError` if it is gone or damaged, `OSError`."""
        with self._lock:
            name, sending = self._sending.get(index) or self._begin_sending(index)
            sending.used = True
            try:
                data = sending.file.read_at(offset, limit_bytes)
                if offset <= sending.checked < offset + len(data):
                    sending.check.feed(data[sending.checked - offset :])
                    sending.checked = offset + len(data)
                if len(data) < limit_bytes and offset + len(data) == sending.checked:
                    sending.check.finish()
                return data
            except (StorageError, OSError) as error:
                self._close_sending(name)
                damage = error if isinstance(error, SnapshotDamaged) else SnapshotDamaged(str(name), offset, str(error))
                self._found_damaged(name, damage)
                raise LookupError(str(damage)) from error

    def _begin_sending(self, index: Index) -> tuple[SnapshotName, _Sending]:
        name = next((name for name in self.names() if name.at == index), None)
        if name is None:
            raise LookupError(f"there is no snapshot at entry {index} in {self._path}")
        try:
            file = self._files.open(self._where(name))
        except FileNotFoundError as error:
            raise LookupError(f"the snapshot {name} was removed just now") from error
        sending = _Sending(file, SnapshotCheck(name, self._cluster))
        self._sending[index] = name, sending
        return name, sending

    def _close_sending(self, name: SnapshotName) -> None:
        if name.at in self._sending and self._sending[name.at][0] == name:
            self._sending.pop(name.at)[1].file.close()

    # -- removing -----------------------------------------------------------------------------

    def hold(self, meta: SnapshotMeta) -> None:
        """Until `release`, `prune` leaves this one: it is being installed, and newer ones may come meanwhile."""
        with self._lock:
            self._held.add(snapshot_name(meta))

    def release(self, meta: SnapshotMeta) -> None:
        """It may be removed when it is old."""
        with self._lock:
            self._held.discard(snapshot_name(meta))

    def prune(self, keep: int = KEPT) -> None:
        """Remove all but the newest `keep`. One that was read for another member since the last call stays for it,
        so that a transfer under way is not cut off; so does one that is held. To be called when a new one is durable,
        and not where anybody waits: to remove a large file takes the file system a while. Raises `OSError`."""
        names = self.names()
        with self._lock:
            used = {name for name, sending in self._sending.values() if sending.used}
            old = [name for name in names[keep:] if name not in used and name not in self._held]
            for _, sending in self._sending.values():
                sending.used = False
            for name in old:
                self._close_sending(name)
            # One that is held may be whole for all that: a read failed, and does not fail now.
            damaged = sorted(self._damaged - self._held)
            for name in damaged:  # while nobody can put a whole one in its place
                if self._files.exists(self._where(name)):
                    self._files.remove(self._where(name))
            self._damaged.difference_update(damaged)
        for name in old:
            self._files.remove(self._where(name))
        if old or damaged:
            self._files.sync_directory(self._path)

    def close(self) -> None:
        """Close what is open for reading."""
        with self._lock:
            for name, _ in list(self._sending.values()):
                self._close_sending(name)

    # -- inside -------------------------------------------------------------------------------

    def _where(self, name: SnapshotName) -> str:
        return f"{self._path}/{name}"

    def _found_damaged(self, name: SnapshotName, damage: SnapshotDamaged) -> None:
        self._damaged.add(name)
        self.problems.append(damage)
