"""Writes past the page cache leave the same bytes as those through it, and give way where they cannot be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.logs import ALL_BYTES, FIRST, OWNER, entry, put

from coterie.core.records import StoreBatch
from coterie.sim.disk import SimulatedFiles
from coterie.sim.frail import FrailFiles
from coterie.storage.direct import BLOCK_BYTES, MAX_DIRECT_BYTES, DirectFile, open_direct
from coterie.storage.disk import DiskFile, DiskFiles
from coterie.storage.log_store import LogStore
from coterie.storage.zeros import ZERO_CHUNK_BYTES

SEGMENT_BYTES = 4 * 1024 * 1024


def direct_to(directory: Path) -> DirectFile:
    """A direct file of some blocks, if the file system of the tests has such."""
    path = directory / "file"
    path.write_bytes(bytes(4 * BLOCK_BYTES))
    descriptor = os.open(path, os.O_RDWR)
    direct = open_direct(descriptor)
    os.close(descriptor)
    if direct is None:
        pytest.skip("the tests' directory is on a file system without direct writes")
    return direct


def written(files: Disk, sizes: list[int]) -> dict[str, bytes]:
    """The durable bytes of a log, opened anew half-way, to which entries of these sizes were written one by one."""
    log = LogStore.create(files, "data/log", OWNER, [FIRST], segment_bytes=SEGMENT_BYTES)
    for number, size in enumerate(sizes):
        if number == len(sizes) // 2:
            log.close()
            log = LogStore.open(files, "data/log", OWNER, segment_bytes=SEGMENT_BYTES)
        log.prepare([put(entry(number + 2, bytes([number % 255 + 1]) * size))]).perform()
    last = len(sizes) + 1
    assert [each.index for each in log.entries(1, last, ALL_BYTES)] == list(range(1, last + 1))
    disk = files.disk
    return {path: disk.image(path) for path in disk.paths()}


class Disk(FrailFiles):
    """Files whose disk can be looked at."""

    def __init__(self, *, past_cache: bool) -> None:
        self.disk = SimulatedFiles()
        self.disk.make_directory("data")
        self.disk.sync_directory("/")
        super().__init__(self.disk)
        self.past_cache = past_cache


sizes = st.one_of(
    st.integers(1, 600),
    st.integers(3 * BLOCK_BYTES, 5 * BLOCK_BYTES),
    st.sampled_from([BLOCK_BYTES - 64, MAX_DIRECT_BYTES - 4096, MAX_DIRECT_BYTES, ZERO_CHUNK_BYTES]),
)


@settings(max_examples=60)
@given(st.lists(sizes, min_size=1, max_size=30))
def test_a_log_written_past_the_page_cache_is_byte_for_byte_the_one_written_through_it(sizes: list[int]) -> None:
    assert written(Disk(past_cache=True), sizes) == written(Disk(past_cache=False), sizes)


def test_what_the_kernel_writes_by_itself_is_whole_blocks_with_what_stood_there(tmp_path: Path) -> None:
    direct_to(tmp_path)
    log = LogStore.create(DiskFiles(), str(tmp_path / "log"), OWNER, [FIRST])
    assert log.direct
    segment = tmp_path / "log" / "0000000000000001.log"
    for number in range(2, 40):
        write = log.prepare([put(entry(number, bytes([number]) * 700))])
        begun = write.begin()
        assert begun is not None
        assert begun.size % BLOCK_BYTES == begun.offset % BLOCK_BYTES == begun.address % BLOCK_BYTES == 0
        before = segment.read_bytes()
        write.perform()
        after = segment.read_bytes()
        assert len(after) == len(before)
        changed = [at for at in range(len(after)) if after[at] != before[at]]
        assert begun.offset <= changed[0]
        assert changed[-1] < begun.offset + begun.size
    log.close()
    again = LogStore.open(DiskFiles(), str(tmp_path / "log"), OWNER)
    assert [each.index for each in again.entries(1, 39, ALL_BYTES)] == list(range(1, 40))
    again.close()


def test_a_write_that_lengthens_the_file_goes_through_the_page_cache(tmp_path: Path) -> None:
    direct_to(tmp_path)
    log = LogStore.create(DiskFiles(), str(tmp_path / "log"), OWNER, [FIRST])
    direct = [number for number in range(2, 20) if _is_direct(log, number)]
    log.close()
    # The file is 1 MiB of zeros ahead: of entries of 100 kB each tenth or so has to lengthen it.
    assert len(direct) in (16, 17)


def _is_direct(log: LogStore, number: int) -> bool:
    write = log.prepare([put(entry(number, bytes([number]) * 100_000))])
    begun = write.begin()
    write.perform()
    return begun is not None and begun.size > 0


class Picky(DiskFile):
    """A file of a file system that opens files for direct writes, and refuses to write."""

    class Refuses(DirectFile):
        __slots__ = ()

        def write(self, offset: int, size: int) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def direct(self) -> DirectFile | None:
        if not self._asked:
            self._asked = True
            self._direct = self.Refuses(os.dup(self._fd))
        return super().direct()


class PickyFiles(DiskFiles):
    def open(self, path: str, *, create: bool = False) -> DiskFile:
        return Picky(os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)))


def test_where_direct_writes_are_refused_the_same_bytes_go_through_the_page_cache(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    log = LogStore.create(PickyFiles(), directory, OWNER, [FIRST])
    assert log.direct
    for number in (2, 3):
        log.prepare([put(entry(number, b"x" * 100))]).perform()
        assert not log.direct
    log.close()
    again = LogStore.open(DiskFiles(), directory, OWNER)
    assert [each.index for each in again.entries(1, 3, ALL_BYTES)] == [1, 2, 3]
    again.close()


def test_a_full_disk_is_told_as_one_and_the_same_write_may_be_tried_again() -> None:
    files = Disk(past_cache=True)
    log = LogStore.create(files, "data/log", OWNER, [FIRST])
    write = log.prepare([StoreBatch(7, put(entry(2, b"y" * 5000)).records)])
    files.full = True
    with pytest.raises(OSError, match="No space"):
        write.perform()
    files.full = False
    write.perform()
    assert [each.payload for each in log.entries(2, 2, ALL_BYTES)] == [b"y" * 5000]


def test_more_than_the_memory_for_a_write_is_not_staged(tmp_path: Path) -> None:
    direct = direct_to(tmp_path)
    assert direct.stage([bytes(MAX_DIRECT_BYTES)]) == MAX_DIRECT_BYTES
    assert direct.stage([bytes(MAX_DIRECT_BYTES), b"x"]) == 0
    assert direct.stage([b"abc", b"", b"def"]) == BLOCK_BYTES
    direct.write(BLOCK_BYTES, BLOCK_BYTES)
    direct.close()
    assert (tmp_path / "file").read_bytes() == bytes(BLOCK_BYTES) + b"abcdef".ljust(3 * BLOCK_BYTES, b"\0")


def test_a_file_that_is_closed_or_whose_system_refuses_has_no_direct_writes(tmp_path: Path) -> None:
    direct_to(tmp_path)
    refusing, closed = (DiskFiles().open(str(tmp_path / "file")) for _ in range(2))
    for file in (refusing, closed):
        assert file.direct() is not None
    direct = refusing.direct()
    assert direct is not None
    direct.refuse()
    closed.close()
    assert refusing.direct() is closed.direct() is None
    refusing.close()
