"""One write of the log: bytes on their way to the disk."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from coterie.core.types import Index, Mark
from coterie.storage.direct import write_past_cache
from coterie.storage.segment import NEW_SUFFIX, SUFFIX
from coterie.storage.syncing import NO_SPACE, sync_once

if TYPE_CHECKING:
    from coterie.storage.log_store import LogStore


class Begun(NamedTuple):
    """What the kernel is to do by itself for a write."""

    descriptor: int
    address: int = 0
    size: int = 0
    """Bytes to be written from `address` on; 0: they are written, and to be synced."""
    offset: int = 0


class Write:
    """Bytes on their way to the disk. After an ENOSPC `perform` may be called again: it does the same
    once more. After any other error nobody knows what the disk holds: the process must end."""

    __slots__ = ("_block", "_data", "_failed", "_last", "_offset", "_path", "_store", "grows", "mark", "size")

    def __init__(
        self,
        store: LogStore,
        path: str,
        offset: int,
        data: bytes,
        size: int,
        mark: Mark,
        last: Index,
        block: bytes | None,
        grows: bool,
    ) -> None:
        """`block`: what stands before the data in the block where they begin; None: they change more than bytes that
        the file has, so they go through the page cache."""
        self._block = block
        self._store = store
        self._path = path
        self._offset = offset
        self._data = data
        self._last = last
        self._failed = False
        self.size = size
        """Bytes of the frame."""
        self.mark = mark
        """Of the last batch in it."""
        self.grows = grows
        """It makes its segment's file longer, or a new one."""

    def perform(self) -> None:
        """Write and sync. Raises `OSError`: ENOSPC or EDQUOT if there was no space to write into (call
        again); with any other, now and at every further call, the write has failed for ever."""
        if self._failed:
            raise OSError(errno.EIO, "this write failed before: what the disk holds is unknown", self._path)
        try:
            self._write()
        except OSError as error:
            self._failed = error.errno not in NO_SPACE
            raise
        self._store.performed(self, self._last)

    def begin(self) -> Begun | None:
        """Prepare what the kernel is to do by itself: then `finish` must follow when that is done. None: nothing was
        done, `perform` must do it all. Raises `OSError` as `perform` does."""
        file = self._store.opened.get(self._path)
        if file is None or self.grows or self._failed:
            return None
        block = self._block
        direct = file.direct() if block is not None else None
        if direct is not None and block is not None and (size := direct.stage((block, self._data))):
            return Begun(direct.descriptor, direct.address, size, self._offset - len(block))
        descriptor = file.descriptor()
        if descriptor is None:
            return None
        try:
            file.write_at(self._offset, self._data)
        except OSError as error:
            self._failed = error.errno not in NO_SPACE
            raise
        return Begun(descriptor)

    def finish(self) -> None:
        """What `begin` asked for has succeeded."""
        self._store.performed(self, self._last)

    def _write(self) -> None:
        file = self._store.opened.get(self._path)
        if file is not None and self._offset > 0:
            block = self._block
            if block is None or not write_past_cache(file, self._offset - len(block), (block, self._data)):
                file.write_at(self._offset, self._data)
                sync_once(file.sync, self._path)
            return
        if self._offset > 0:
            raise OSError(errno.EBADF, "the log was closed before this write", self._path)
        self._make_segment()

    def _make_segment(self) -> None:
        """Write a new segment aside, and name it once it is durable: a segment is whole, or damaged. The name
        must be durable, too, or the whole file may vanish."""
        files = self._store.files
        new = self._path.removesuffix(SUFFIX) + NEW_SUFFIX
        if files.exists(new):  # left by an attempt that found no space
            files.remove(new)
        file = files.open(new, create=True)
        try:
            file.write_at(0, self._data)
            sync_once(file.sync, self._path)
            files.rename(new, self._path)
        except BaseException:
            file.close()
            raise
        self._store.opened[self._path] = file
        sync_once(lambda: files.sync_directory(self._store.directory), self._path)
