"""Who waits for the disk: the kernel, one thread, or, for a moment, the event loop.

Store batches that arrive while a write is under way are prepared together as the next write, so that
one sync covers them all (group commit). Larger writes are done by the kernel where it can do that by itself
(`kernel_sync`), all others by the one thread; but on a disk that has shown to be quick, a small write is done
where it is (`QuickDisk`): handing it to a thread and back would take as long as the disk does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from coterie.core.records import Put, StoreBatch
from coterie.core.types import Mark, Nanos
from coterie.runtime.kernel_sync import kernel_sync
from coterie.runtime.log_lines import Lines, logger
from coterie.runtime.quick_disk import QUICK_SYNC, QuickDisk
from coterie.runtime.write_times import WriteTimes
from coterie.storage.direct import NOT_SUPPORTED
from coterie.storage.write import Begun

DISK_ERROR_EXIT_CODE = 70
"""Exit code of a process whose disk failed (EX_SOFTWARE of sysexits.h)."""
NO_SPACE_RETRY_S = 0.2
"""A write that found no space is tried again so often, with the same bytes."""
MAX_WRITE_BYTES = 16 * 1024 * 1024
"""Payload bytes of store batches that are written together (one batch may exceed it)."""
STOP_TIMEOUT_S = 5.0
"""How long a stopping node waits for a write that the disk does not finish."""
KERNEL_SYNC_MIN_BYTES = 4096
"""Smaller writes are left to the thread: few wait for them, and the thread has them done sooner by about
0.1 ms; for larger ones the kernel costs a quarter less CPU (docs/decisions/0002-kernel-sync.md)."""
WAITED_BYTES = 32 * 1024
"""A follower on a quick disk waits in its loop for writes smaller than this: the kernel's worker that ends a write
would wait for whatever the follower did meanwhile."""
FRAME_ROOM_BYTES = 512
"""What a small write has beside its payloads, at most, unless it has many records."""
BLOCKED_STREAK = 16
"""So many direct writes in a row that the kernel did not take within `QUICK_SYNC`: its file system does them while the
caller waits, and the event loop must not wait for a disk that nobody knows to be quick."""
SWITCH_INTERVAL_S = 0.0005
"""After a sync the thread must wait until the event loop's thread gives up the interpreter lock: at most this
long (Python's default is 5 ms, which a disk that syncs in 1 ms would feel)."""


class PreparedWrite(Protocol):
    """Bytes on their way to the log."""

    @property
    def size(self) -> int:
        """How many."""
        ...

    @property
    def grows(self) -> bool:
        """It lengthens a file. It is never begun (`begin` gives None)."""
        ...

    def perform(self) -> None:
        """Write and sync. `OSError` for want of space: call again; any other: the process must end."""
        ...

    def begin(self) -> Begun | None:
        """Prepare what the kernel is to do by itself; None if `perform` must do it all."""
        ...

    def finish(self) -> None:
        """What `begin` wrote is synced."""
        ...


class Room(Protocol):
    """Zeros on their way to the end of the log."""

    def perform(self) -> None:
        """Write and sync. `OSError`: the process must end."""
        ...

    def finish(self) -> None:
        """They are durable; called in the event loop."""
        ...


class PreparesWrites(Protocol):
    """The log store, as the sync thread needs it."""

    def prepare(self, batches: Sequence[StoreBatch]) -> PreparedWrite:
        """One write for all these batches."""
        ...

    @property
    def direct(self) -> bool:
        """Whether writes pass the page cache by: then the disk is at work when `begin` has been given to the kernel."""
        ...

    def no_direct(self) -> None:
        """Let all further writes go through the page cache."""
        ...

    def more_room(self) -> Room | None:
        """Zeros to be made ahead of the log, beside any write but one that `grows`; None if there are enough."""
        ...

    @property
    def trimmable(self) -> bool:
        """Whether `trim` has something to do."""
        ...

    def trim(self) -> None:
        """Remove files that are not needed any more. It may take as long as the file system does."""
        ...


def is_no_space(error: OSError) -> bool:
    """Whether a failed write only found no space: nothing was acknowledged, and it may be tried again."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def end_process(error: BaseException, where: str, code: int = DISK_ERROR_EXIT_CODE) -> None:
    """Say why and end the process at once, without another acknowledgement. Never returns."""
    text = (
        f"coterie: the disk failed at {where}: {error}. After a failed write or sync nobody knows what is on the disk, "
        "so this process ends now and acknowledges nothing more. Look at the disk (dmesg, SMART); if it is sound, "
        "start the node again: it checks its log. If the log is damaged, remove the member and add it again.\n"
    )
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
        for handler in logger.handlers:
            handler.flush()
    finally:
        os._exit(code)


def _payload_bytes(batch: StoreBatch) -> int:
    size = 0
    for record in batch.records:
        if type(record) is Put:
            for entry in record.entries:
                size += len(entry.payload)
    return size


class _Trim:
    """Work for the thread: let the store remove files."""


class _More:
    """Work for the thread: make room."""

    def __init__(self, room: Room) -> None:
        self.room = room


class SyncThread:
    """Performs writes one after another; see the module's text for where."""

    def __init__(
        self,
        *,
        store: PreparesWrites,
        lines: Lines,
        where: str,
        on_stored: Callable[[Mark], None],
        on_no_space: Callable[[Mark], None],
        on_disk_error: Callable[[BaseException, str], None] = end_process,
        clock: Callable[[], Nanos] = time.monotonic_ns,
    ) -> None:
        """`where` names the directory in messages. The callbacks run in the event loop, but
        `on_disk_error`, which must not return, runs in the thread."""
        self._store = store
        self._lines = lines
        self._where = where
        self._on_stored = on_stored
        self._on_no_space = on_no_space
        self._on_disk_error = on_disk_error
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[StoreBatch] = []
        self._waiting_bytes = 0
        """Payload bytes of what waits."""
        self._busy = False
        self._full = False
        self.may_wait = True
        """Whether to wait for small writes on a quick disk even where the kernel would do them without: a follower can
        do nothing before; a leader takes its followers' acknowledgements meanwhile."""
        self._idle: asyncio.Future[None] | None = None
        self._disk = QuickDisk()
        """Told of a write by whoever performed it: one is under way at a time."""
        self._kernel = kernel_sync(self._loop, self._kernel_done)
        self._under_way: tuple[PreparedWrite, Mark, Nanos, bool] | None = None
        """The write that the kernel does, when it began, and whether past the page cache."""
        self._blocked = 0
        """Direct writes in a row that the kernel took long to take."""
        self._work: queue.SimpleQueue[tuple[PreparedWrite, Mark] | _More | _Trim | None] = queue.SimpleQueue()
        self._making_room = False
        self._trimming = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coterie-sync", daemon=True)
        self._thread.start()

    def store(self, batch: StoreBatch) -> None:
        """Write this batch after all earlier ones, once `begin` is called."""
        self._waiting.append(batch)
        self._waiting_bytes += _payload_bytes(batch)

    def begin(self) -> Mark | None:
        """Begin to write what waits, unless a write is under way (then it follows by itself). Returns the mark that is
        durable already, if the write was done at once; `on_stored` is not called for that. Call it when
        whatever may leave before the disk is done has left."""
        if self._busy or not self._waiting:
            return None
        return self._begin()

    @property
    def prompt(self) -> bool:
        """Whether the disk is at work as soon as `begin` is called: with a small write on a quick disk, which is waited
        for, or with one that passes the page cache by. (A sync that the kernel does begins when its worker gets a
        processor: while this thread is busy it may not.)"""
        if self._busy or not self._waiting or self._full:
            return False
        small = self._waiting_bytes < self._most_waited - FRAME_ROOM_BYTES
        return (small and self._disk.trusted) or (self._kernel is not None and self._store.direct)

    @property
    def _most_waited(self) -> int:
        return WAITED_BYTES if self.may_wait else KERNEL_SYNC_MIN_BYTES

    @property
    def times(self) -> WriteTimes:
        """How long writes took."""
        return self._disk.times

    @property
    def busy(self) -> bool:
        """A write is under way."""
        return self._busy

    async def drain(self) -> None:
        """Wait until everything is written."""
        self.begin()
        while self._busy:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await self._idle

    def stop(self) -> None:
        """End the thread once the write under way, if any, is done. Batches that wait are not written.

        A disk that hangs is not waited for longer than `STOP_TIMEOUT_S`; see `ended`.
        """
        self._stopping.set()
        self._waiting, self._waiting_bytes = [], 0
        self._work.put(None)
        self._thread.join(STOP_TIMEOUT_S)
        if self._kernel is not None:
            self._kernel.close(at_work=self._under_way is not None)
            self._kernel = None
        if not self.ended:
            self._lines.error("disk-hangs", directory=self._where, waited_s=STOP_TIMEOUT_S)

    @property
    def ended(self) -> bool:
        """The thread is gone. Until then its files must stay open: their descriptors would be used again."""
        return not self._thread.is_alive()

    def _begin(self) -> Mark | None:
        batches = self._next_group()
        self._busy = True
        write, mark = self._store.prepare(batches), batches[-1].mark
        alone = self._kernel is not None and (write.size >= KERNEL_SYNC_MIN_BYTES or self._store.direct)
        small = write.size < self._most_waited and not (write.grows and self._making_room)
        if small and self._disk.trusted and not self._full and (self.may_wait or not alone):
            start = self._clock()
            try:
                write.perform()
            except OSError as error:
                if not is_no_space(error):
                    self._on_disk_error(error, self._where)
                    return None  # busy for ever: nothing is written after a failure
            else:
                self._disk.took(self._clock() - start)
                self._busy = False
                if self._idle is not None:
                    self._tell_idle()
                self._tidy()
                return mark
        if not (alone and self._begin_in_kernel(write, mark)):
            self._work.put((write, mark))
        return None

    def _next_group(self) -> list[StoreBatch]:
        """The batches of the next write, at least one: they wait no longer."""
        batches = self._waiting
        if self._waiting_bytes <= MAX_WRITE_BYTES:
            self._waiting, self._waiting_bytes = [], 0
            return batches
        size = count = 0
        for batch in batches:
            more = _payload_bytes(batch)
            if count and size + more > MAX_WRITE_BYTES:
                break
            size += more
            count += 1
        self._waiting = batches[count:]
        self._waiting_bytes -= size
        return batches[:count]

    def _begin_in_kernel(self, write: PreparedWrite, mark: Mark) -> bool:
        """Let the kernel write, or write here (into memory: the write before it is on the disk) and let it sync. False
        if the thread must do it: a new segment, no space, or a kernel that has no room for the request."""
        assert self._kernel is not None
        start = self._clock()
        try:
            begun = write.begin()
        except OSError as error:
            if is_no_space(error):
                return False
            self._on_disk_error(error, self._where)
            return True
        if begun is None:
            return False
        try:
            self._kernel.begin(begun)
        except OSError:
            return False
        self._under_way = write, mark, start, begun.size > 0
        self._blocked = self._blocked + 1 if begun.size and self._clock() - start > QUICK_SYNC else 0
        if self._blocked >= BLOCKED_STREAK:
            self._blocked = 0
            self._store.no_direct()
            self._lines.info(
                "direct-writes-wait", directory=self._where, consequence="through the page cache from now on"
            )
        return True

    def _kernel_done(self, error: OSError | None) -> None:
        if self._under_way is None:
            return
        write, mark, start, direct = self._under_way
        self._under_way = None
        if error is not None:
            if direct and (error.errno in (*NOT_SUPPORTED, errno.EAGAIN) or is_no_space(error)):
                self._work.put((write, mark))  # no page was dropped: the same bytes may be written again
            else:
                self._on_disk_error(error, self._where)
            return
        write.finish()
        self._disk.took(self._clock() - start)
        self._done(mark)

    def _done(self, mark: Mark) -> None:
        self._busy = False
        if self._full:
            self._full = False
            self._lines.info("disk-has-space-again", directory=self._where)
        try:
            while self._waiting and not self._busy:
                mark = self._begin() or mark
        except Exception as error:
            self._on_disk_error(error, self._where)
            return
        self._tell_idle()
        self._tidy()
        self._on_stored(mark)

    def _tell_idle(self) -> None:
        if self._idle is not None and not self._busy and not self._waiting:
            self._idle.set_result(None)
            self._idle = None

    def _tidy(self) -> None:
        """Have room made where there is little, and files removed that nobody needs: after the write that the thread is
        at, if it is. Nobody waits for this, but a write that lengthens the file: it comes after."""
        if not self._making_room and (room := self._store.more_room()) is not None:
            self._making_room = True
            self._work.put(_More(room))
        if self._store.trimmable and not self._trimming:
            self._trimming = True
            self._work.put(_Trim())

    def _roomier(self, room: Room) -> None:
        self._making_room = False
        room.finish()

    def _no_space(self, mark: Mark, error: OSError) -> None:
        if not self._full:
            self._full = True
            self._lines.error("disk-full", directory=self._where, problem=error, retry_ms=int(NO_SPACE_RETRY_S * 1000))
        self._on_no_space(mark)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            if not isinstance(work, tuple):
                try:
                    self._tend(work)
                except BaseException as error:
                    self._on_disk_error(error, self._where)
                    return
                continue
            write, mark = work
            start = self._clock()
            while True:
                try:
                    write.perform()
                    self._disk.took(self._clock() - start)
                    break
                except OSError as error:
                    if not is_no_space(error):
                        self._on_disk_error(error, self._where)
                        return
                    self._tell(self._no_space, mark, error)
                    if self._stopping.wait(NO_SPACE_RETRY_S):
                        return
                except BaseException as error:
                    self._on_disk_error(error, self._where)
                    return
            self._tell(self._done, mark)

    def _tend(self, work: _More | _Trim) -> None:
        if isinstance(work, _More):
            work.room.perform()
            self._tell(self._roomier, work.room)
        else:
            self._store.trim()
            self._trimming = False

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            # The loop was closed under us: nobody is left to be told, and nothing was acknowledged.
            self._stopping.set()
