"""The sync thread: one write at a time, batches grouped, marks in order; no space waits, an error ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.runtime.conftest import run, until

from coterie.core.records import Put, StoreBatch
from coterie.core.types import NO_EPOCH, Entry, EntryKind
from coterie.runtime.log_lines import Lines
from coterie.runtime.quick_disk import QUICK_STREAK, QUICK_SYNC, SLOW_SYNC, QuickDisk
from coterie.runtime.sync_thread import (
    KERNEL_SYNC_MIN_BYTES,
    WAITED_BYTES,
    SyncThread,
)
from coterie.storage.write import Begun


class Disk:
    """Writes into a list, when it is let."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.written: list[list[int]] = []
        self.attempts: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.errors: list[OSError] = []
        self.trimmable = False
        self.grows = False
        self.rooms: list[Room] = []
        self.trims = 0
        self.direct = False
        self.trim_error: OSError | None = None

    def trim(self) -> None:
        if self.trim_error is not None:
            raise self.trim_error
        self.trims += 1
        self.trimmable = False

    def no_direct(self) -> None:
        self.direct = False

    def more_room(self) -> Room | None:
        return self.rooms.pop(0) if self.rooms else None

    def prepare(self, batches: Sequence[StoreBatch]) -> Pending:
        return Pending(self, [batch.mark for batch in batches])


class Room:
    """Zeros that are made when they are let."""

    def __init__(self, disk: Disk, error: OSError | None = None) -> None:
        self.disk = disk
        self.error = error
        self.gate = threading.Event()
        self.finished = 0

    def perform(self) -> None:
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.disk.written.append([])

    def finish(self) -> None:
        self.finished += 1


class Pending:
    def __init__(self, disk: Disk, marks: list[int]) -> None:
        self.disk = disk
        self.marks = marks
        self.size = disk.size
        self.grows = disk.grows

    def begin(self) -> Begun | None:
        return None

    def finish(self) -> None:
        raise AssertionError("nothing was begun")

    def perform(self) -> None:
        self.disk.attempts.append(self.marks)
        assert self.disk.gate.wait(10)
        if self.disk.errors:
            raise self.disk.errors.pop(0)
        self.disk.written.append(self.marks)


class Bench:
    def __init__(self, size: int = 1 << 20) -> None:
        self.disk = Disk(size)
        self.stored: list[int] = []
        self.failed: list[int] = []
        self.ended: list[BaseException] = []
        self.sync = SyncThread(
            store=self.disk,
            lines=Lines("a"),
            where="here",
            on_stored=self.stored.append,
            on_no_space=self.failed.append,
            on_disk_error=lambda error, where: self.ended.append(error),
            clock=lambda: 0,
        )

    def store(self, mark: int) -> int | None:
        """Give it a batch, and let it begin; the mark of what was written at once."""
        self.sync.store(StoreBatch(mark, ()))
        return self.sync.begin()


def test_batches_that_come_during_a_write_become_one_write() -> None:
    async def work() -> None:
        bench = Bench()
        bench.disk.gate.clear()
        for mark in range(1, 6):
            bench.store(mark)
        await until(lambda: bench.disk.attempts)
        assert bench.stored == []
        bench.disk.gate.set()
        await bench.sync.drain()
        assert bench.disk.written == [[1], [2, 3, 4, 5]]
        await until(lambda: bench.stored == [1, 5])
        assert not bench.sync.busy
        bench.sync.stop()

    run(work)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_tried_again_with_the_same_bytes(number: int, lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        bench = Bench()
        bench.disk.errors = [OSError(number, os.strerror(number)) for _ in range(2)]
        bench.store(1)
        await until(lambda: bench.failed)
        bench.store(2)
        assert bench.stored == []
        await until(lambda: bench.stored == [1, 2])
        assert bench.failed == [1, 1]
        assert bench.disk.attempts == [[1], [1], [1], [2]]
        assert bench.disk.written == [[1], [2]]
        assert sum(line.startswith("disk-full") for line in lines()) == 1
        assert any(line.startswith("disk-has-space-again") for line in lines())
        bench.sync.stop()

    run(work)


def test_any_other_error_is_never_tried_again_nor_acknowledged() -> None:
    async def work() -> None:
        bench = Bench()
        bench.disk.errors = [OSError(errno.EIO, "input/output error")]
        bench.store(1)
        bench.store(2)
        await until(lambda: bench.ended)
        bench.sync.stop()
        assert bench.stored == []
        assert bench.disk.attempts == [[1]]

    run(work)


def test_stopping_waits_for_the_write_under_way_and_drops_the_rest() -> None:
    async def work() -> None:
        bench = Bench()
        bench.disk.gate.clear()
        bench.store(1)
        bench.store(2)
        await until(lambda: bench.disk.attempts)
        threading.Timer(0.05, bench.disk.gate.set).start()
        bench.sync.stop()
        assert bench.disk.written == [[1]]

    run(work)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_nothing_is_left_open_when_it_has_stopped() -> None:
    async def work() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            bench = Bench()
            bench.store(1)
            await bench.sync.drain()
            bench.sync.stop()
        assert len(os.listdir("/proc/self/fd")) == before

    run(work)


async def earn_trust(bench: Bench) -> int:
    """Quick writes until the disk is trusted; the next mark."""
    for mark in range(1, QUICK_STREAK + 1):
        assert bench.store(mark) is None
        await until(lambda expected=mark: bench.stored[-1:] == [expected])  # type: ignore[misc]
    return QUICK_STREAK + 1


def test_a_small_write_to_a_disk_that_has_shown_to_be_quick_is_durable_on_return() -> None:
    async def work() -> None:
        bench = Bench(size=KERNEL_SYNC_MIN_BYTES - 1)
        mark = await earn_trust(bench)
        told = len(bench.stored)
        assert bench.store(mark) == mark
        assert bench.disk.written[-1] == [mark]
        assert len(bench.stored) == told
        bench.sync.stop()

    run(work)


def test_it_is_told_beforehand_whether_a_write_will_be_waited_for() -> None:
    def batch(mark: int, size: int) -> StoreBatch:
        return StoreBatch(mark, (Put((Entry(mark, NO_EPOCH, EntryKind.COMMANDS, 0, bytes(size)),)),))

    async def work() -> None:
        unknown = Bench(size=100).sync
        unknown.store(batch(1, 100))
        assert not unknown.prompt
        unknown.stop()
        bench = Bench(size=100)
        sync = bench.sync
        mark = await earn_trust(bench)
        told = [sync.prompt]  # nothing waits
        sync.store(batch(mark, WAITED_BYTES))
        told.append(sync.prompt)
        sync.begin()
        sync.store(batch(mark + 1, 300))
        told.append(sync.prompt)
        assert sync.begin() == mark + 1
        told.append(sync.prompt)
        assert told == [False, False, True, False]
        sync.stop()

    run(work)


def test_a_large_write_is_with_the_disk_at_once_where_it_passes_the_page_cache_by() -> None:
    """Whatever the disk has shown; and not while another write is under way."""

    def batch(mark: int) -> StoreBatch:
        payload = bytes(KERNEL_SYNC_MIN_BYTES)
        return StoreBatch(mark, (Put((Entry(mark, NO_EPOCH, EntryKind.COMMANDS, 0, payload),)),))

    async def work() -> None:
        bench = Bench()
        sync, disk = bench.sync, bench.disk
        sync.store(batch(1))
        told = [sync.prompt]
        disk.direct = sync._kernel is not None
        told.append(sync.prompt)
        disk.gate.clear()
        sync.begin()
        sync.store(batch(2))
        told.append(sync.prompt)
        disk.gate.set()
        await until(lambda: bench.stored == [1, 2])
        assert told == [False, disk.direct, False]
        sync.stop()

    run(work)


def test_a_leader_waits_for_no_write_that_the_kernel_does_by_itself() -> None:
    async def work() -> None:
        bench = Bench(size=100)
        mark = await earn_trust(bench)
        bench.sync.may_wait = False
        assert bench.store(mark) == mark  # through the page cache: the thread would take longer
        bench.disk.direct = True
        done = bench.store(mark + 1)
        assert done == (None if bench.sync._kernel is not None else mark + 1)
        await bench.sync.drain()
        bench.sync.may_wait = True
        assert bench.store(mark + 2) == mark + 2
        bench.sync.stop()

    run(work)


@pytest.mark.parametrize(("leads", "size"), [(False, WAITED_BYTES), (True, KERNEL_SYNC_MIN_BYTES)])
def test_a_large_write_never_holds_up_the_loop_and_a_leaders_is_large_sooner(leads: bool, size: int) -> None:
    async def work() -> None:
        bench = Bench(size=size)
        mark = await earn_trust(bench)
        bench.sync.may_wait = not leads
        bench.disk.gate.clear()
        assert bench.store(mark) is None
        bench.disk.gate.set()
        await until(lambda: bench.stored[-1] == mark)
        bench.sync.stop()

    run(work)


def test_a_follower_waits_for_a_write_of_many_commands_on_a_quick_disk() -> None:
    async def work() -> None:
        bench = Bench(size=WAITED_BYTES - 1)
        mark = await earn_trust(bench)
        assert bench.store(mark) == mark
        bench.sync.stop()

    run(work)


def test_no_space_in_a_write_that_was_waited_for_leaves_it_to_the_thread() -> None:
    async def work() -> None:
        bench = Bench(size=100)
        mark = await earn_trust(bench)
        bench.disk.errors = [OSError(errno.ENOSPC, "no space") for _ in range(2)]
        assert bench.store(mark) is None
        await until(lambda: bench.stored[-1] == mark)
        assert bench.failed == [mark]
        bench.sync.stop()

    run(work)


def test_an_error_of_a_write_that_was_waited_for_ends_the_process_and_acknowledges_nothing() -> None:
    async def work() -> None:
        bench = Bench(size=100)
        mark = await earn_trust(bench)
        bench.disk.errors = [OSError(errno.EIO, "input/output error")]
        assert bench.store(mark) is None
        assert [type(error) for error in bench.ended] == [OSError]
        bench.store(mark + 1)
        bench.sync.stop()
        assert bench.stored[-1] == mark - 1
        assert bench.disk.attempts[-1] == [mark]

    run(work)


def test_one_slow_write_ends_the_trust_in_a_disk_and_a_long_row_of_quick_ones_restores_it() -> None:
    disk = QuickDisk()
    trusted = []
    for duration in [QUICK_SYNC] * QUICK_STREAK + [SLOW_SYNC + 1] + [QUICK_SYNC] * QUICK_STREAK:
        disk.took(duration)
        trusted.append(disk.trusted)
    earning = [False] * (QUICK_STREAK - 1) + [True]
    assert trusted == [*earning, False, *earning]


def test_a_disk_that_is_often_not_quick_is_not_trusted() -> None:
    disk = QuickDisk()
    for _ in range(100):
        for _ in range(7):
            disk.took(QUICK_SYNC)
        disk.took(QUICK_SYNC + 1)
    assert not disk.trusted


PROGRAM = """
import asyncio, errno
from coterie.core.records import StoreBatch
from coterie.runtime.log_lines import Lines
from coterie.runtime.sync_thread import SyncThread

class Disk:
    def prepare(self, batches):
        return self
    size = 1 << 20
    def begin(self):
        return None
    def perform(self):
        raise OSError(errno.EIO, "Input/output error")

async def main():
    sync = SyncThread(store=Disk(), lines=Lines("a"), where="/data/a",
        on_stored=lambda mark: print("stored", mark, flush=True), on_no_space=print)
    sync.store(StoreBatch(1, ()))
    sync.begin()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_failed_sync_ends_the_process_at_once_with_the_reason() -> None:
    source = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(source)},
        check=False,
    )
    assert done.returncode == 70
    assert done.stdout == ""
    assert "the disk failed at /data/a: [Errno 5] Input/output error" in done.stderr
    assert "acknowledges nothing more" in done.stderr


def test_room_is_made_by_the_thread_and_a_write_that_lengthens_the_file_comes_after_it() -> None:
    async def work() -> None:
        bench = Bench(size=100)
        mark = await earn_trust(bench)
        room = Room(bench.disk)
        bench.disk.rooms.append(room)
        assert bench.store(mark + 1) == mark + 1, "the loop waits for a small write on a quick disk"
        assert bench.store(mark + 2) == mark + 2, "beside the room that is made, too"
        bench.disk.written.clear()
        bench.disk.grows = True
        assert bench.store(mark + 3) is None
        bench.disk.grows = False
        assert room.finished == 0
        room.gate.set()
        await bench.sync.drain()
        assert bench.disk.written == [[], [mark + 3]]
        assert room.finished == 1
        bench.disk.grows = True
        assert bench.store(mark + 4) == mark + 4
        bench.sync.stop()

    run(work)


def test_a_failure_to_make_room_ends_the_process() -> None:
    async def work() -> None:
        bench = Bench()
        room = Room(bench.disk, OSError(errno.EIO, "input/output error"))
        room.gate.set()
        bench.disk.rooms.append(room)
        bench.store(1)
        await until(lambda: bench.ended)
        assert bench.stored == [1]
        assert room.finished == 0
        bench.sync.stop()

    run(work)


def test_files_that_are_not_needed_are_removed_when_a_write_is_done_and_by_the_thread() -> None:
    async def work() -> None:
        bench = Bench()
        bench.store(1)
        await bench.sync.drain()
        assert bench.disk.trims == 0
        bench.disk.trimmable = True
        for mark in (2, 3):
            bench.store(mark)
        await until(lambda: bench.stored == [1, 2, 3])
        await until(lambda: bench.disk.trims == 1)
        bench.disk.trimmable = True
        bench.store(4)
        await until(lambda: bench.disk.trims == 2)
        bench.sync.stop()

    run(work)


def test_a_failure_to_remove_files_ends_the_process() -> None:
    """For the directory was to be synced after it, too."""

    async def work() -> None:
        bench = Bench()
        bench.disk.trimmable = True
        bench.disk.trim_error = OSError(errno.EIO, "input/output error")
        bench.store(1)
        await until(lambda: bench.ended)
        assert bench.stored == [1]
        bench.sync.stop()

    run(work)
