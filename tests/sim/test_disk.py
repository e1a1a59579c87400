"""What a power loss may and may not do to a simulated disk."""

from __future__ import annotations

import errno
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.sim.disk import DiskErrors, SimulatedFile, SimulatedFiles
from coterie.sim.sectors import BLOCK_BYTES, SECTOR_BYTES, Content
from coterie.storage.files import File, Files, Lock

MAX_BYTES = 6 * SECTOR_BYTES

seeds = st.integers(0, 2**32)
writes = st.tuples(st.just("write"), st.integers(0, MAX_BYTES), st.integers(1, 3 * SECTOR_BYTES), st.integers(0, 255))
cuts = st.tuples(st.just("truncate"), st.integers(0, MAX_BYTES), st.just(0), st.just(0))
changes = st.lists(st.one_of(writes, writes, cuts), max_size=6)
Change = tuple[str, int, int, int]


def disk(*, torn: bool = False) -> tuple[SimulatedFiles, SimulatedFile]:
    files = SimulatedFiles(torn_sectors=torn)
    files.make_directory("/data")
    file = files.open("/data/log", create=True)
    files.sync_all()
    return files, file


def change(file: File, model: bytes, step: Change) -> bytes:
    """Do a step to a file and to the plain bytes that it should read as."""
    kind, offset, length, fill = step
    if kind == "truncate":
        file.truncate(offset)
        return model[:offset].ljust(offset, b"\0")
    data = bytes([fill]) * length
    file.write_at(offset, data)
    return model[:offset].ljust(offset, b"\0") + data + model[offset + length :]


def sectors(data: bytes) -> list[bytes]:
    """The sectors that a file could show, zeros after its end."""
    padded = data.ljust(MAX_BYTES * 2, b"\0")
    return [padded[at : at + SECTOR_BYTES] for at in range(0, len(padded), SECTOR_BYTES)]


def reread(files: SimulatedFiles, path: str = "/data/log") -> bytes:
    file = files.open(path)
    return file.read_at(0, file.size() + 1)


def test_it_is_the_port() -> None:
    files: Files = SimulatedFiles()
    file: File = files.open("a", create=True)
    lock: Lock = files.lock("b")
    lock.release()
    assert (file.size(), files.list("")) == (0, ["a", "b"])


# -- bytes ------------------------------------------------------------------------------------


@given(changes)
def test_reads_are_those_of_plain_bytes(steps: list[Change]) -> None:
    _, file = disk()
    model = b""
    for step in steps:
        model = change(file, model, step)
        assert file.size() == len(model)
        assert file.read_at(0, len(model) + 9) == model
        assert file.read_at(700, 600) == model[700:1300]


@given(changes, changes, seeds, st.booleans())
def test_what_was_synced_survives(steps: list[Change], later: list[Change], seed: int, torn: bool) -> None:
    files, file = disk(torn=torn)
    model = b""
    for step in steps:
        model = change(file, model, step)
    file.sync()
    assert files.image("/data/log") == model
    touched = [False] * len(sectors(b""))
    grown, end = model, len(model)
    for step in later:
        before = sectors(grown)
        grown = change(file, grown, step)
        end = min(end, len(grown))
        touched = [was or old != new for was, old, new in zip(touched, before, sectors(grown), strict=True)]
    assert files.image("/data/log") == model
    assert reread(files.durable_files()) == model
    files.crash(Random(seed), power=True)
    found = reread(files)
    assert len(found) >= end
    assert all(was or old == new for was, old, new in zip(touched, sectors(model), sectors(found), strict=True)), (
        "an untouched sector changed"
    )
    assert files.image("/data/log") == found
    file = files.open("/data/log")
    file.truncate(2 * MAX_BYTES)
    assert reread(files) == found.ljust(2 * MAX_BYTES, b"\0"), "what lay after the end has come back"


@given(changes, st.lists(writes, max_size=6), seeds)
def test_each_sector_is_wholly_one_of_the_contents_it_had(steps: list[Change], later: list[Change], seed: int) -> None:
    files, file = disk()
    model = b""
    for step in steps:
        model = change(file, model, step)
    file.sync()
    states = [model]
    for step in later:
        states.append(change(file, states[-1], step))
    files.crash(Random(seed), power=True)
    found = reread(files)
    assert len(states[0]) <= len(found) <= len(states[-1])
    lengths = {len(state) for state in states}
    assert len(found) in lengths or len(found) % SECTOR_BYTES == 0
    for at, sector in enumerate(sectors(found)):
        kept = max(0, min(SECTOR_BYTES, len(found) - at * SECTOR_BYTES))
        histories = [sectors(state)[at][:kept].ljust(SECTOR_BYTES, b"\0") for state in states]
        assert sector in histories


@given(changes, changes, seeds)
def test_bytes_never_come_from_nowhere(steps: list[Change], later: list[Change], seed: int) -> None:
    """Cuts included, and torn sectors: each byte is one that stood there once, or zero."""
    files, file = disk(torn=True)
    model = b""
    states = [model]
    for step in steps:
        model = change(file, model, step)
    file.sync()
    states = [model]
    for step in later:
        states.append(change(file, states[-1], step))
    files.crash(Random(seed), power=True)
    for at, byte in enumerate(reread(files)):
        assert byte == 0 or any(at < len(state) and state[at] == byte for state in states)


@given(changes, seeds)
def test_the_death_of_a_process_loses_no_byte_and_syncs_none(steps: list[Change], seed: int) -> None:
    files, file = disk()
    model = b""
    for step in steps:
        model = change(file, model, step)
    files.crash(Random(seed), power=False)
    assert reread(files) == model
    assert files.image("/data/log") == b""


def crashed(prepare: list[Change], later: list[Change], seed: int, *, torn: bool = False) -> bytes:
    files, file = disk(torn=torn)
    for step in prepare:
        change(file, b"", step)
    file.sync()
    for step in later:
        change(file, b"", step)
    files.crash(Random(seed), power=True)
    return reread(files)


def test_every_subset_of_rewritten_sectors_comes_up() -> None:
    old, new = ("write", 0, 3 * SECTOR_BYTES, 1), ("write", 0, 3 * SECTOR_BYTES, 2)
    found = {crashed([old], [new], seed)[::SECTOR_BYTES] for seed in range(300)}
    assert len(found) == 8


def test_a_longer_file_may_keep_its_length_and_lose_its_sectors() -> None:
    found = {crashed([], [("write", 0, 1000, 7)], seed) for seed in range(300)}
    whole = b"\7" * 1000
    holes = {bytes(512) + whole[512:], whole[:512] + bytes(488), bytes(1000)}
    assert {b"", whole, whole[:512], bytes(512)} | holes == found


def test_a_file_that_lost_its_length_grows_again_with_zeros() -> None:
    lengths = set()
    for seed in range(100):
        content = Content()
        content.write(0, b"x" * 1000)
        content.lose_power(Random(seed), torn=False)
        lengths.add(end := content.length)
        content.truncate(2000)
        assert content.read(end, 2000) == bytes(2000 - end)
    assert lengths == {0, 512, 1000}


def test_a_sector_is_torn_only_if_asked() -> None:
    old, new = ("write", 0, SECTOR_BYTES, 1), ("write", 0, SECTOR_BYTES, 2)
    assert {len(set(crashed([old], [new], seed))) for seed in range(200)} == {1}
    torn = {crashed([old], [new], seed, torn=True) for seed in range(200)}
    assert any(len(set(data)) == 2 and data == bytes(sorted(data, reverse=True)) for data in torn)


def test_a_lost_cut_takes_with_it_what_was_then_written_to_new_blocks() -> None:
    size = 2 * BLOCK_BYTES
    for seed in range(100):
        found = crashed([("write", 0, size, 1)], [("truncate", 0, 0, 0), ("write", 0, size, 2)], seed)
        if b"\1" in found:
            assert found == b"\1" * size
        else:
            assert len(found) in range(0, size + 1, SECTOR_BYTES)


def test_a_write_after_a_lost_cut_may_land_where_the_cut_left_the_block() -> None:
    size = 2 * SECTOR_BYTES
    for fill in (0, 2):
        later = [("truncate", 1, 0, 0), ("write", SECTOR_BYTES, SECTOR_BYTES, fill)]
        found = {crashed([("write", 0, size, 1)], later, seed) for seed in range(300)}
        assert b"\1" * SECTOR_BYTES + bytes([fill]) * SECTOR_BYTES in found


# -- names ------------------------------------------------------------------------------------


@given(seeds, st.booleans())
def test_a_rename_is_all_or_nothing(seed: int, across: bool) -> None:
    files = SimulatedFiles()
    files.make_directory("/a")
    files.make_directory("/b")
    new = "/b/meta" if across else "/a/meta"
    for path, data in (("/a/temporary", b"new"), (new, b"old")):
        files.open(path, create=True).write_at(0, data)
    files.sync_all()
    files.rename("/a/temporary", new)
    assert reread(files, new) == b"new"
    files.crash(Random(seed), power=True)
    assert (reread(files, new), files.exists("/a/temporary")) in ((b"old", True), (b"new", False))


@pytest.mark.parametrize("directory", ["/a", "/b"])
def test_a_rename_across_directories_is_durable_with_either(directory: str) -> None:
    files = SimulatedFiles()
    files.make_directory("/a")
    files.make_directory("/b")
    files.open("/a/x", create=True)
    files.sync_directory("/")
    files.rename("/a/x", "/b/y")
    files.sync_directory(directory)
    assert files.durable_files().paths() == ("b/y",)


def test_syncing_a_directory_takes_along_what_came_before_in_the_other() -> None:
    files = SimulatedFiles()
    files.make_directory("/a")
    files.make_directory("/b")
    files.sync_directory("/")
    files.open("/a/x", create=True)
    files.rename("/a/x", "/b/y")
    files.open("/a/z", create=True)
    files.sync_directory("/b")
    assert files.durable_files().paths() == ("b/y",)
    files.sync_directory("/a")
    assert files.durable_files().paths() == ("a/z", "b/y")


def test_nothing_overtakes_a_lost_rename() -> None:
    found = set()
    for seed in range(100):
        files = SimulatedFiles()
        files.make_directory("/a")
        files.make_directory("/b")
        files.open("/a/x", create=True)
        files.sync_all()
        files.rename("/a/x", "/b/y")
        files.open("/a/z", create=True)
        files.crash(Random(seed), power=True)
        found.add(files.paths())
    assert found == {("a/x",), ("b/y",), ("a/z", "b/y")}


def test_after_a_crash_names_are_again_not_durable_before_a_sync() -> None:
    files, _ = disk()
    files.crash(Random(1), power=True)
    files.open("/data/new", create=True)
    assert files.list("/data") == ["log", "new"]
    assert files.durable_files().list("/data") == ["log"]


def test_renaming_without_syncing_the_file_may_leave_an_empty_one() -> None:
    found = set()
    for seed in range(50):
        files, _ = disk()
        files.open("/data/t", create=True).write_at(0, b"new")
        files.rename("/data/t", "/data/log")
        files.sync_directory("/data")
        files.crash(Random(seed), power=True)
        found.add(reread(files))
    assert found == {b"", b"new", bytes(3)}


name_steps = st.lists(st.tuples(st.sampled_from(("create", "rename", "remove", "sync")), *[st.integers(0, 3)] * 2))


@given(name_steps, seeds)
def test_a_directory_keeps_what_was_synced_and_a_prefix_of_the_rest(
    steps: list[tuple[str, int, int]], seed: int
) -> None:
    files = SimulatedFiles()
    files.make_directory("/d")
    files.sync_directory("/")
    history = [files.list("/d")]
    for kind, one, two in steps:
        if kind == "sync":
            files.sync_directory("/d")
            history.clear()
        elif kind == "create" and not files.exists(f"/d/{one}"):
            files.open(f"/d/{one}", create=True)
        elif kind == "rename" and files.exists(f"/d/{one}"):
            files.rename(f"/d/{one}", f"/d/{two}")
        elif kind == "remove" and files.exists(f"/d/{one}"):
            files.remove(f"/d/{one}")
        history.append(files.list("/d"))
    assert files.durable_files().list("/d") == history[0]
    files.crash(Random(seed), power=True)
    assert files.list("/d") in history


def test_a_name_that_was_not_synced_may_go_and_take_synced_bytes_with_it() -> None:
    kept = []
    for seed in range(40):
        files, _ = disk()
        file = files.open("/data/new", create=True)
        file.write_at(0, b"bytes")
        file.sync()
        with pytest.raises(FileNotFoundError):
            files.image("/data/new")
        files.crash(Random(seed), power=True)
        kept.append(files.exists("/data/new"))
        assert not kept[-1] or reread(files, "/data/new") == b"bytes"
    assert set(kept) == {True, False}


def test_a_new_directory_is_durable_with_its_parent() -> None:
    files = SimulatedFiles()
    files.make_directory("/a/b")
    files.open("/a/b/f", create=True)
    files.sync_directory("/a/b")
    files.sync_directory("/a")
    assert files.durable_files().list("/") == []
    files.sync_directory("/")
    assert files.durable_files().paths() == ("a/b/f",)


@pytest.mark.parametrize(
    ("expected", "act"),
    [
        (FileNotFoundError, lambda files: files.open("/data/none")),
        (FileNotFoundError, lambda files: files.open("/none/file", create=True)),
        (FileExistsError, lambda files: files.open("/data/log", create=True)),
        (IsADirectoryError, lambda files: files.open("/data")),
        (IsADirectoryError, lambda files: files.remove("/data")),
        (IsADirectoryError, lambda files: files.rename("/data/log", "/data")),
        (NotADirectoryError, lambda files: files.list("/data/log")),
        (NotADirectoryError, lambda files: files.rename("/data", "/other")),
        (FileExistsError, lambda files: files.make_directory("/data/log/x")),
        (FileNotFoundError, lambda files: files.rename("/data/none", "/data/log")),
        (FileNotFoundError, lambda files: files.remove("/data/none")),
        (FileNotFoundError, lambda files: files.sync_directory("/none")),
        (OSError, lambda files: files.rename("/data", "/data/inner")),
        (OSError, lambda files: files.list("/data/../data")),
    ],
)
def test_what_a_file_system_refuses(expected: type[OSError], act: object) -> None:
    files, _ = disk()
    files.open("/other", create=True)
    assert callable(act)
    with pytest.raises(expected):
        act(files)
    assert files.paths() == ("data/log", "other")


# -- processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [True, False])
def test_the_dead_hold_no_file_and_no_lock(power: bool) -> None:
    files, file = disk()
    lock = files.lock("/data/lock")
    with pytest.raises(BlockingIOError):
        files.lock("/data/lock")
    files.crash(Random(1), power=power)
    for act in (lambda: file.read_at(0, 1), lambda: file.write_at(0, b"x"), file.sync, file.size):
        with pytest.raises(OSError, match="simulated") as caught:
            act()
        assert caught.value.errno == errno.EBADF
    second = files.lock("/data/lock")
    lock.release()
    with pytest.raises(BlockingIOError):
        files.lock("/data/lock")
    second.release()
    files.lock("/data/lock")


def test_a_closed_file_is_closed() -> None:
    _, file = disk()
    file.close()
    with pytest.raises(OSError, match="simulated"):
        file.size()


# -- errors -----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 2000)), max_size=8), st.integers(1, 4000))
def test_files_never_outgrow_the_capacity(steps: list[tuple[int, int]], capacity: int) -> None:
    files = SimulatedFiles(errors=DiskErrors(capacity=capacity))
    file = files.open("a", create=True)
    for offset, length in steps:
        size = file.size()
        fits = length == 0 or max(size, offset + length) <= capacity
        if fits:
            file.write_at(offset, b"x" * length)
            assert file.read_at(offset, length) == b"x" * length
            continue
        with pytest.raises(OSError, match="simulated") as caught:
            file.write_at(offset, b"x" * length)
        assert caught.value.errno == errno.ENOSPC
        assert file.size() == (capacity if offset < capacity else size)


def test_a_full_disk_still_takes_what_needs_no_space() -> None:
    files, file = disk()
    file.write_at(0, b"abc")
    files.errors.full = True
    file.write_at(0, b"ABC")
    file.truncate(2)
    for act in (
        lambda: file.write_at(2, b"x"),
        lambda: file.truncate(9),
        lambda: files.open("/data/x", create=True),
    ):
        with pytest.raises(OSError, match="simulated") as caught:
            act()
        assert caught.value.errno == errno.ENOSPC
    assert reread(files) == b"AB"
    files.errors.full = False
    file.write_at(2, b"x")
    assert reread(files) == b"ABx"


@pytest.mark.parametrize("reads_old", [True, False])
def test_after_a_failed_sync_the_next_one_succeeds_and_the_bytes_are_gone(reads_old: bool) -> None:
    files, file = disk()
    file.write_at(0, b"old")
    file.sync()
    files.errors.failing_syncs, files.errors.reads_old = 1, reads_old
    file.write_at(0, b"new")
    with pytest.raises(OSError, match="simulated") as caught:
        file.sync()
    assert caught.value.errno == errno.EIO
    file.sync()
    assert file.read_at(0, 3) == (b"old" if reads_old else b"new")
    assert files.image("/data/log") == b"old"
    files.crash(Random(3), power=False)
    assert reread(files) == (b"old" if reads_old else b"new")
    files.crash(Random(3), power=True)
    assert reread(files) == b"old"


def test_writing_again_after_a_failed_sync_saves_the_bytes() -> None:
    files, file = disk()
    files.errors.failing_syncs = 1
    file.write_at(0, b"new")
    with pytest.raises(OSError, match="simulated"):
        file.sync()
    file.write_at(0, b"new")
    file.sync()
    assert files.image("/data/log") == b"new"


@given(changes, changes, changes, seeds)
def test_a_failed_sync_and_cuts_leave_a_disk_that_agrees_with_itself(
    one: list[Change], two: list[Change], three: list[Change], seed: int
) -> None:
    files, file = disk()
    for steps in (one, two, three):
        for step in steps:
            change(file, b"", step)
        if steps is not two:
            file.sync()
            continue
        files.errors.failing_syncs, files.errors.reads_old = 1, bool(seed % 2)
        with pytest.raises(OSError, match="simulated"):
            file.sync()
    durable = files.image("/data/log")
    assert len(durable) == file.size()
    files.crash(Random(seed), power=True)
    assert reread(files) == durable
    file = files.open("/data/log")
    file.truncate(0)
    file.truncate(MAX_BYTES)
    assert reread(files) == bytes(MAX_BYTES), "a cut leaves nothing behind"


def test_a_cut_whose_sync_failed_is_done_by_the_next() -> None:
    files, file = disk()
    file.write_at(0, b"\1" * 1000)
    file.sync()
    file.truncate(100)
    files.errors.failing_syncs = 1
    with pytest.raises(OSError, match="simulated"):
        file.sync()
    file.truncate(1000)
    file.sync()
    assert files.image("/data/log") == reread(files) == b"\1" * 100 + bytes(900)


def test_a_failing_read() -> None:
    files, file = disk()
    file.write_at(0, b"abc")
    files.errors.failing_reads = 1
    with pytest.raises(OSError, match="simulated") as caught:
        file.read_at(0, 3)
    assert caught.value.errno == errno.EIO
    assert file.read_at(0, 3) == b"abc"


def test_a_failed_sync_of_a_directory_makes_nothing_durable() -> None:
    files, _ = disk()
    files.open("/data/new", create=True)
    files.errors.failing_syncs = 1
    with pytest.raises(OSError, match="simulated"):
        files.sync_directory("/data")
    assert files.durable_files().list("/data") == ["log"]


def test_a_flipped_bit_is_read_and_stays() -> None:
    files, file = disk()
    file.write_at(0, b"\0" * 600 + b"a")
    file.sync()
    files.flip_bit("/data/log", 600 * 8 + 1)
    assert file.read_at(600, 1) == b"c" == files.image("/data/log")[600:]
    files.flip_bit("/data/log", 600 * 8 + 1)
    assert file.read_at(600, 1) == b"a"
    with pytest.raises(ValueError, match="durable bytes"):
        files.flip_bit("/data/log", 601 * 8)


# -- the simulator's needs ----------------------------------------------------------------------


@given(changes, name_steps, seeds)
@settings(max_examples=50)
def test_one_seed_one_outcome(steps: list[Change], names: list[tuple[str, int, int]], seed: int) -> None:
    def run() -> tuple[dict[str, bytes], int]:
        files, file = disk(torn=True)
        for step in steps:
            change(file, b"", step)
        for kind, one, _ in names:
            if kind == "create" and not files.exists(f"/data/{one}"):
                files.open(f"/data/{one}", create=True).write_at(0, b"x" * 2000)
        rng = Random(seed)
        files.crash(rng, power=True)
        return {path: reread(files, path) for path in files.paths()}, rng.getrandbits(64)

    assert run() == run()


def test_a_copy_of_what_is_durable_is_a_disk_of_its_own() -> None:
    files, file = disk()
    file.write_at(0, b"old")
    file.sync()
    copy = files.durable_files()
    other = copy.open("/data/log")
    other.write_at(0, b"new")
    other.sync()
    copy.open("/data/x", create=True)
    assert (reread(files), files.list("/data")) == (b"old", ["log"])
    file.write_at(0, b"OLD")
    assert reread(copy) == b"new"


def test_a_large_file_costs_only_what_was_written_to_it() -> None:
    content = Content()
    chunk = bytes(1 << 20)
    for at in range(64):
        content.write(at << 20, chunk)
    content.sync()
    assert (content.durable_length, len(content._durable), len(content._versions)) == (64 << 20, 0, 0)
    content.write(5000, b"entry")
    assert (len(content._live), len(content._versions)) == (1, 1)
    content.sync()
    assert (len(content._durable), len(content._versions)) == (1, 0)
    assert content.read(4998, 9) == b"\0\0entry\0\0"
