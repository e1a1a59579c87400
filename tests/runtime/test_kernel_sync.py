"""What the kernel does for the log by itself: syncs, and writes past the page cache; what it says when it cannot."""

from __future__ import annotations

import asyncio
import errno
import os
from itertools import count
from pathlib import Path

import pytest
from tests.runtime.conftest import run, until

from coterie.core.records import StoreBatch
from coterie.runtime.kernel_sync import KernelSync
from coterie.runtime.log_lines import Lines
from coterie.runtime.quick_disk import QUICK_SYNC
from coterie.runtime.sync_thread import BLOCKED_STREAK, KERNEL_SYNC_MIN_BYTES, SyncThread
from coterie.storage.direct import BLOCK_BYTES, DirectFile, open_direct
from coterie.storage.write import Begun


class Bench:
    """A file, and the kernel at work on it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "file"
        self.path.write_bytes(bytes(4 * BLOCK_BYTES))
        self.descriptor = os.open(self.path, os.O_RDWR)
        self.told: list[OSError | None] = []
        try:
            self.kernel = KernelSync(asyncio.get_running_loop(), self.told.append)
        except OSError:
            pytest.skip("this system has no kernel AIO")

    @property
    def direct(self) -> DirectFile:
        direct = open_direct(self.descriptor)
        if direct is None:
            pytest.skip("the tests' directory is on a file system without direct writes")
        return direct

    async def outcome(self, begun: Begun) -> int:
        """Of one piece of work: 0, or the error's number."""
        self.told.clear()
        self.kernel.begin(begun)
        await until(lambda: self.told)
        return 0 if self.told[0] is None else self.told[0].errno or -1

    def close(self) -> None:
        self.kernel.close()
        os.close(self.descriptor)


def test_a_direct_write_is_in_the_file_when_it_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        direct = bench.direct
        for number in range(1, 4):
            size = direct.stage([bytes([number]) * 100])
            assert await bench.outcome(Begun(direct.descriptor, direct.address, size, number * BLOCK_BYTES)) == 0
        blocks = [bench.path.read_bytes()[at : at + BLOCK_BYTES] for at in range(0, 4 * BLOCK_BYTES, BLOCK_BYTES)]
        assert blocks == [(bytes([number]) * 100).ljust(BLOCK_BYTES, b"\0") for number in (0, 1, 2, 3)]
        direct.close()
        bench.close()

    run(work)


def test_syncs_and_writes_may_take_turns(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        direct = bench.direct
        for number in range(10):
            if number % 2:
                os.pwrite(bench.descriptor, b"cached", 0)
                assert await bench.outcome(Begun(bench.descriptor)) == 0
                assert bench.path.read_bytes()[:6] == b"cached"
            else:
                size = direct.stage([b"direct"])
                assert await bench.outcome(Begun(direct.descriptor, direct.address, size, 0)) == 0
                assert bench.path.read_bytes()[:6] == b"direct"
        direct.close()
        bench.close()

    run(work)


def test_what_the_file_system_refuses_is_told_as_that(tmp_path: Path) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        direct = bench.direct
        size = direct.stage([b"x"])
        crooked = Begun(direct.descriptor, direct.address, size, 17)
        try:
            told = await bench.outcome(crooked)
        except OSError as error:  # some say it at once
            told = error.errno or -1
        assert told == errno.EINVAL
        assert bench.path.read_bytes() == bytes(4 * BLOCK_BYTES)
        direct.close()
        bench.close()

    run(work)


class Log:
    """Writes that the kernel is given, of which it refuses the first as `fault` says."""

    size = KERNEL_SYNC_MIN_BYTES
    grows = False
    trimmable = False

    def __init__(self, begun: Begun) -> None:
        self.begun = begun
        self.direct = True
        self.performed = 0
        self.finished = 0

    def prepare(self, batches: object) -> Log:
        return self

    def no_direct(self) -> None:
        self.direct = False

    def more_room(self) -> None:
        return None

    def trim(self) -> None:
        raise AssertionError("there is nothing to trim")

    def begin(self) -> Begun:
        return self.begun

    def perform(self) -> None:
        self.performed += 1

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("kind", ["direct", "sync"])
def test_a_direct_write_that_is_refused_is_done_by_the_thread_and_a_failed_sync_never_again(
    tmp_path: Path, kind: str
) -> None:
    async def work() -> None:
        bench = Bench(tmp_path)
        direct = bench.direct
        size = direct.stage([b"x"])
        crooked = Begun(direct.descriptor, direct.address, size, 17)
        log = Log(crooked if kind == "direct" else Begun(bench.descriptor))
        stored: list[int] = []
        ended: list[BaseException] = []
        sync = SyncThread(
            store=log,
            lines=Lines("a"),
            where="here",
            on_stored=stored.append,
            on_no_space=stored.append,
            on_disk_error=lambda error, where: ended.append(error),
        )
        sync.store(StoreBatch(1, ()))
        if kind == "direct":
            assert sync.begin() is None
            await until(lambda: stored)
            assert (stored, log.performed, log.finished, ended) == ([1], 1, 0, [])
        else:
            assert sync.begin() is None
            sync._kernel_done(OSError(errno.ENOSPC, "late"))
            assert (stored, log.performed, log.finished) == ([], 0, 0)
            assert [type(error) for error in ended] == [OSError]
        sync.stop()
        direct.close()
        bench.close()

    run(work)


@pytest.mark.parametrize("step", [QUICK_SYNC, QUICK_SYNC + 1])
def test_direct_writes_that_the_kernel_does_while_the_caller_waits_are_given_up(tmp_path: Path, step: int) -> None:
    """As of a file system that has no asynchronous ones: each takes the loop's time, as the clock shows."""

    async def work() -> None:
        bench = Bench(tmp_path)
        direct = bench.direct
        log = Log(Begun(direct.descriptor, direct.address, direct.stage([b"x"]), 0))
        stored: list[int] = []
        sync = SyncThread(
            store=log,
            lines=Lines("a"),
            where="here",
            on_stored=stored.append,
            on_no_space=stored.append,
            clock=count(step=step).__next__,
        )
        given_up: list[bool] = []
        for mark in range(1, BLOCKED_STREAK + 1):
            given_up.append(not log.direct)
            sync.store(StoreBatch(mark, ()))
            sync.begin()
            await until(lambda expected=mark: stored[-1:] == [expected])  # type: ignore[misc]
        assert not any(given_up)
        assert log.direct == (step <= QUICK_SYNC)
        sync.stop()
        direct.close()
        bench.close()

    run(work)
