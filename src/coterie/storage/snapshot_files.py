"""Snapshot files being made: written from a machine's state, or received from a leader, and never half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from coterie.core.types import SnapshotMeta
from coterie.storage.errors import SnapshotDamaged, StorageError
from coterie.storage.files import File, Files
from coterie.storage.snapshot_format import (
    FOOTER_BYTES,
    PROLOGUE_BYTES,
    SnapshotCheck,
    SnapshotEncoder,
    SnapshotHeader,
    SnapshotName,
    check_footer,
    header_span,
    snapshot_name,
)

READ_BYTES = 1024 * 1024
"""Read together where a whole file is read."""
SYNC_EVERY_BYTES = 4 * 1024 * 1024
"""A file is synced so often while it grows: were all of it left to the end, the log's syncs would wait for it."""
MAX_SNAPSHOT_BYTES = 1 << 50
"""Claims beyond this are refused."""


class Snapshot(NamedTuple):
    """A whole snapshot file."""

    meta: SnapshotMeta
    size: int
    """Bytes of the file, and of what is sent of it."""
    path: str


Publish = Callable[[str, Snapshot], Snapshot]
"""Gives the file at a path, which is durable, the snapshot's name, durably; returns what is called so afterwards."""


class _Unfinished:
    """A file that has no name yet. Used by one thread at a time; `abandon`, or `finish`, must end it."""

    def __init__(self, files: Files, path: str, publish: Publish, forget: Callable[[], None]) -> None:
        self._files = files
        self._path = path
        self._publish = publish
        self._forget = forget
        self._unsynced = 0
        self._failed = False
        self._file: File | None
        if files.exists(path):
            files.remove(path)
        self._file = files.open(path, create=True)

    def abandon(self) -> None:
        """Remove what there is of it; again, or after `finish`, does nothing. Raises `OSError`."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._forget()
            self._files.remove(self._path)

    def _open(self) -> File:
        if self._file is None or self._failed:
            raise StorageError(
                f"the snapshot file {self._path} is closed, or writing it failed before",
                advice="Take the snapshot anew.",
            )
        return self._file

    def _write(self, offset: int, data: bytes) -> None:
        file = self._open()
        try:
            file.write_at(offset, data)
            self._unsynced += len(data)
            if self._unsynced >= SYNC_EVERY_BYTES:
                self._unsynced = 0
                file.sync()
        except BaseException:
            self._failed = True
            raise

    def _finish(self, meta: SnapshotMeta, size: int, name: SnapshotName, check: Callable[[File], None]) -> Snapshot:
        """Durable first, named then: a crash before leaves nothing that could be taken for a snapshot."""
        file = self._open()
        self._failed = True
        file.sync()
        check(file)
        file.close()
        self._file = None
        self._forget()
        directory = self._path.rpartition("/")[0]
        return self._publish(self._path, Snapshot(meta, size, f"{directory}/{name}"))


class SnapshotWriter(_Unfinished):
    """Writes a snapshot of the state at `meta`. Memory: one block and the piece at hand."""

    def __init__(
        self, files: Files, path: str, header: SnapshotHeader, publish: Publish, forget: Callable[[], None]
    ) -> None:
        """For `SnapshotDirectory.create` alone."""
        super().__init__(files, path, publish, forget)
        self.meta = header.meta
        self.size = 0
        """Bytes written so far."""
        self._encoder = SnapshotEncoder(header)
        self._append(self._encoder.begin())

    def write(self, chunk: bytes) -> None:
        """The next piece of the state, of any length. Raises `OSError`: then `abandon` it. After one of want of
        space nothing else is wrong; after one of a sync nobody knows what the disk holds."""
        for part in self._encoder.add(chunk):
            self._append(part)

    def finish(self) -> Snapshot:
        """Make it durable under its name. Raises `OSError`; then `abandon` it."""
        for part in self._encoder.end():
            self._append(part)
        return self._finish(self.meta, self.size, snapshot_name(self.meta), _unchecked)

    def _append(self, data: bytes) -> None:
        self._write(self.size, data)
        self.size += len(data)


class SnapshotReceiver(_Unfinished):
    """Takes in the bytes of another member's snapshot file."""

    def __init__(
        self, files: Files, path: str, header: SnapshotHeader, size: int, publish: Publish, forget: Callable[[], None]
    ) -> None:
        """For `SnapshotDirectory.receive` alone. Raises `ValueError` for a size that no snapshot has."""
        if not 0 < size <= MAX_SNAPSHOT_BYTES:
            raise ValueError(f"a snapshot of {size} bytes: it must have 1 to {MAX_SNAPSHOT_BYTES}")
        super().__init__(files, path, publish, forget)
        self.meta = header.meta
        self.size = size
        """Bytes of the whole."""
        self.received = 0
        """Bytes that are here, from the beginning on."""
        self._cluster = header.cluster

    @property
    def complete(self) -> bool:
        """All bytes are here: `finish` may be called."""
        return self.received == self.size

    def append(self, offset: int, data: bytes) -> None:
        """The bytes at `offset`. What is here already may come again. Raises `ValueError` where it would leave a gap
        or exceed the size, and `OSError` as `SnapshotWriter.write` does."""
        if not 0 <= offset <= self.received or offset + len(data) > self.size:
            raise ValueError(
                f"{len(data)} bytes at {offset} of a snapshot of {self.size} bytes, of which {self.received} are here"
            )
        self._write(offset, data)
        self.received = max(self.received, offset + len(data))

    def finish(self) -> Snapshot:
        """Check all of it as the disk has it, and give it its name, durably. Raises `SnapshotDamaged`,
        `WrongSnapshot`, `OSError`; then `abandon` it. May take long: it is read once."""
        if not self.complete:
            raise ValueError(f"{self.received} of {self.size} bytes are here")
        return self._finish(self.meta, self.size, snapshot_name(self.meta), self._check)

    def _check(self, file: File) -> None:
        name = snapshot_name(self.meta)
        found = whole(file, name, self._cluster)
        if found != self.meta:
            # What is installed is what the leader's message said: another membership could make other quorums.
            raise SnapshotDamaged(str(name), 0, "its header does not say what the leader said of it")


def _unchecked(file: File) -> None:
    """What this process wrote itself."""


def content(file: File, name: SnapshotName, cluster: int) -> Iterator[bytes]:
    """The state in a file, in pieces, each checked before it is handed out. Raises `SnapshotDamaged`,
    `WrongSnapshot`: at the end, too, so nothing may be taken for whole before the last piece has come."""
    check = SnapshotCheck(name, cluster)
    offset = 0
    while data := _read(file, name, offset, READ_BYTES):
        offset += len(data)
        yield from check.feed(data)
    check.finish()


def whole(file: File, name: SnapshotName, cluster: int) -> SnapshotMeta:
    """Read all of a file and check it. Raises `SnapshotDamaged`, `WrongSnapshot`."""
    check = SnapshotCheck(name, cluster)
    offset = 0
    while data := _read(file, name, offset, READ_BYTES):
        offset += len(data)
        check.feed(data)
    return check.finish()


def glance(file: File, name: SnapshotName, cluster: int) -> SnapshotMeta:
    """Check how a file begins and ends, not what is between. Raises `SnapshotDamaged`, `WrongSnapshot`."""
    size = file.size()
    first = _read(file, name, 0, PROLOGUE_BYTES)
    span = header_span(first)
    check = SnapshotCheck(name, cluster)
    check.feed(_read(file, name, 0, span))
    if check.meta is None:
        check.finish()
        raise AssertionError("a snapshot without a header is not whole")
    check_footer(name, span, size, _read(file, name, max(0, size - FOOTER_BYTES), FOOTER_BYTES))
    return check.meta


def _read(file: File, name: SnapshotName, offset: int, length: int) -> bytes:
    try:
        return file.read_at(offset, length)
    except OSError as error:
        raise SnapshotDamaged(
            str(name), offset, f"it can't be read ({error.strerror or error})", readable=False
        ) from error
