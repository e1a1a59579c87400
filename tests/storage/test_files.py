"""The contract of `Files`, held against every file system that storage may stand on."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.sim.disk import SimulatedFiles
from coterie.storage.disk import DiskFiles, DiskLock, lock_holder
from coterie.storage.files import File, Files

Disk: TypeAlias = tuple[Files, str]
"""A file system, and an empty directory in it."""


def real(directory: Path) -> Disk:
    return DiskFiles(), str(directory)


def simulated(_: Path) -> Disk:
    return SimulatedFiles(), ""


FACTORIES: list[Callable[[Path], Disk]] = [real, simulated]
"""One for each file system; the argument is an empty directory of the real one, to use or not."""


@pytest.fixture(params=FACTORIES, ids=lambda factory: factory.__name__)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    factory: Callable[[Path], Disk] = request.param
    return factory(tmp_path)


def content(file: File) -> bytes:
    return file.read_at(0, file.size())


def test_a_new_file_is_empty_and_a_name_is_taken_once(disk: Disk) -> None:
    files, root = disk
    file = files.open(f"{root}/a", create=True)
    assert file.size() == 0
    assert file.read_at(0, 10) == b""
    file.close()
    with pytest.raises(FileExistsError):
        files.open(f"{root}/a", create=True)
    with pytest.raises(FileNotFoundError):
        files.open(f"{root}/b")
    assert not files.exists(f"{root}/b")


def test_what_was_written_and_synced_is_read_back_by_another_opening(disk: Disk) -> None:
    files, root = disk
    file = files.open(f"{root}/a", create=True)
    file.write_at(0, b"hello world")
    file.write_at(6, b"there")
    file.sync()
    file.close()
    again = files.open(f"{root}/a")
    assert content(again) == b"hello there"
    assert again.read_at(6, 100) == b"there"
    assert again.read_at(11, 1) == b""
    again.close()


def test_a_file_is_cut_and_extended_and_a_hole_reads_as_zeros(disk: Disk) -> None:
    files, root = disk
    file = files.open(f"{root}/a", create=True)
    file.write_at(0, b"abcdef")
    file.truncate(3)
    assert content(file) == b"abc"
    file.truncate(6)
    assert content(file) == b"abc\0\0\0"
    file.write_at(8, b"x")
    assert content(file) == b"abc\0\0\0\0\0x"
    file.close()


@given(st.lists(st.tuples(st.integers(0, 64), st.binary(max_size=40)), max_size=12))
@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_a_file_is_an_array_of_bytes(
    factory: Callable[[Path], Disk], tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bytes]]
) -> None:
    files, root = factory(tmp_path_factory.mktemp("array"))
    model = bytearray()
    file = files.open(f"{root}/a", create=True)
    for offset, data in writes:
        file.write_at(offset, data)
        if data:
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset : offset + len(data)] = data
        assert content(file) == model
    file.close()


def test_a_directory_lists_its_names_in_order(disk: Disk) -> None:
    files, root = disk
    files.make_directory(f"{root}/x/y")
    files.make_directory(f"{root}/x/y")
    for name in ("b", "a", "c"):
        files.open(f"{root}/x/y/{name}", create=True).close()
    files.sync_directory(f"{root}/x/y")
    assert files.list(f"{root}/x/y") == ["a", "b", "c"]
    assert files.list(f"{root}/x") == ["y"]
    assert files.exists(f"{root}/x/y")
    assert files.exists(f"{root}/x/y/a")
    with pytest.raises(FileNotFoundError):
        files.list(f"{root}/z")


def test_a_rename_replaces_and_a_removal_removes(disk: Disk) -> None:
    files, root = disk
    for name in ("old", "new"):
        file = files.open(f"{root}/{name}", create=True)
        file.write_at(0, name.encode())
        file.close()
    files.rename(f"{root}/old", f"{root}/new")
    assert files.list(root) == ["new"]
    file = files.open(f"{root}/new")
    assert content(file) == b"old"
    file.close()
    files.remove(f"{root}/new")
    assert files.list(root) == []
    with pytest.raises(FileNotFoundError):
        files.remove(f"{root}/new")
    with pytest.raises(FileNotFoundError):
        files.rename(f"{root}/old", f"{root}/new")


def test_a_lock_is_exclusive_until_it_is_released(disk: Disk) -> None:
    files, root = disk
    lock = files.lock(f"{root}/LOCK")
    with pytest.raises(BlockingIOError):
        files.lock(f"{root}/LOCK")
    lock.release()
    files.lock(f"{root}/LOCK").release()


# What only the real disk has


def test_a_lock_file_names_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "LOCK")
    assert lock_holder(DiskFiles(), path) is None
    (tmp_path / "LOCK").write_bytes(b"99999999999")
    lock = DiskFiles().lock(path)
    assert lock_holder(DiskFiles(), path) == os.getpid()
    lock.release()
    lock.release()
    (tmp_path / "LOCK").write_bytes(b"nobody")
    assert lock_holder(DiskFiles(), path) is None


def test_locks_and_files_are_not_inherited_by_a_program_that_is_started(tmp_path: Path) -> None:
    lock = DiskFiles().lock(str(tmp_path / "LOCK"))
    file = DiskFiles().open(str(tmp_path / "a"), create=True)
    inherited = open(tmp_path / "b", "wb")  # noqa: SIM115 - shows that the child would say so
    os.set_inheritable(inherited.fileno(), True)
    program = "import os\nfor fd in range(3, 256):\n  try: print(os.fstat(fd).st_ino)\n  except OSError: pass\n"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, close_fds=False, check=True)
    inodes = {int(line) for line in done.stdout.split()}
    inherited.close()
    file.close()
    lock.release()
    assert (tmp_path / "b").stat().st_ino in inodes
    assert (tmp_path / "LOCK").stat().st_ino not in inodes
    assert (tmp_path / "a").stat().st_ino not in inodes


def test_a_lock_that_was_released_is_free_though_a_forked_child_still_has_the_file(tmp_path: Path) -> None:
    lock = DiskLock(os.open(tmp_path / "LOCK", os.O_RDWR | os.O_CREAT))
    fcntl.flock(lock._fd, fcntl.LOCK_EX)
    shared = os.dup(lock._fd)  # as fork does
    with pytest.raises(BlockingIOError):
        DiskFiles().lock(str(tmp_path / "LOCK"))
    lock.release()
    DiskFiles().lock(str(tmp_path / "LOCK")).release()
    os.close(shared)


def test_a_write_that_fits_only_in_part_raises(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = DiskFiles().open(str(tmp_path / "a"), create=True)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises(OSError, match="File too large"):
            file.write_at(0, bytes(1500))
        assert file.size() == 1000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
        file.close()


def test_a_closed_file_refuses_and_closes_again(tmp_path: Path) -> None:
    file = DiskFiles().open(str(tmp_path / "a"), create=True)
    file.close()
    file.close()
    for call in (lambda: file.read_at(0, 1), lambda: file.write_at(0, b"x"), file.sync, file.size):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()


def test_a_failed_sync_never_succeeds_afterwards(tmp_path: Path) -> None:
    (read_end, write_end) = os.pipe()
    fifo = f"/proc/self/fd/{write_end}"
    if not os.path.exists(fifo):
        pytest.skip("needs /proc")
    file = DiskFiles().open(fifo)  # a pipe cannot be synced
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            file.sync()
        with pytest.raises(OSError, match="earlier sync"):
            file.sync()
    finally:
        file.close()
        os.close(read_end)
        os.close(write_end)


def test_new_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    files = DiskFiles()
    files.make_directory(str(tmp_path / "d"))
    files.open(str(tmp_path / "d" / "a"), create=True).close()
    assert (tmp_path / "d").stat().st_mode & 0o077 == 0
    assert (tmp_path / "d" / "a").stat().st_mode & 0o077 == 0
