"""Zeros are made ahead of the log, are counted on when they are durable, and a full disk is no failure."""

from __future__ import annotations

import errno
from random import Random

import pytest
from tests.storage.logs import ALL_BYTES, DIRECTORY, FIRST, OWNER, entry, put

from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.storage.log_store import LogStore
from coterie.storage.zeros import ZERO_CHUNK_BYTES, Zeros

SEGMENT_BYTES = 40_000
PAYLOAD = bytes(700)


def new_log(errors: DiskErrors | None = None) -> tuple[SimulatedFiles, LogStore]:
    files = SimulatedFiles(errors=errors)
    files.make_directory("data")
    files.sync_all()
    LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=100).close()
    log = opened(files)
    assert write(log, 2)
    return files, log


def opened(files: SimulatedFiles) -> LogStore:
    return LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES, zero_bytes=SEGMENT_BYTES // 4)


def write(log: LogStore, number: int) -> bool:
    """Write an entry; whether that lengthened a file."""
    prepared = log.prepare([put(entry(number, PAYLOAD))])
    prepared.perform()
    return prepared.grows


def make_room(log: LogStore) -> bool:
    room = log.more_room()
    if room is not None:
        room.perform()
        room.finish()
    return room is not None


def sizes(files: SimulatedFiles) -> list[int]:
    return [files.open(path).size() for path in files.paths() if path.endswith(".log")]


def test_where_room_is_made_in_time_no_write_lengthens_a_file_but_to_begin_one() -> None:
    files, log = new_log()
    grown = []
    for number in range(3, 200):
        if write(log, number):
            grown.append(number)
        make_room(log)
    assert len(grown) == len(sizes(files)) - 1
    assert log.more_room() is None
    log.close()


def test_where_none_is_made_each_quarter_of_a_segment_is_lengthened_by_a_write() -> None:
    files, log = new_log()
    grown = [number for number in range(3, 200) if write(log, number)]
    assert len(grown) > 3 * len(sizes(files))
    log.close()


def test_zeros_reach_no_further_than_where_a_segment_is_ended() -> None:
    files, log = new_log()
    for number in range(3, 200):
        write(log, number)
        make_room(log)
    assert max(sizes(files)) <= SEGMENT_BYTES
    log.close()


def test_a_large_segment_is_lengthened_by_a_chunk_at_a_time() -> None:
    zeros = Zeros(1 << 26, until=5000)
    assert zeros.scarce(100)
    room = zeros.room(SimulatedFiles().open("a", create=True))
    assert 5000 + ZERO_CHUNK_BYTES <= room.end < 5000 + ZERO_CHUNK_BYTES + 4096
    assert not zeros.scarce(100), "somebody is at it"
    assert zeros.until == 5000, "nothing is durable yet"
    room.perform()
    room.finish()
    assert zeros.until == room.end
    assert not zeros.scarce(5000)
    assert zeros.scarce(room.end - ZERO_CHUNK_BYTES + 1)


def test_room_that_comes_after_a_write_has_lengthened_the_file_is_of_no_account() -> None:
    zeros = Zeros(1 << 26, until=5000)
    room = zeros.room(SimulatedFiles().open("a", create=True))
    zeros.reach(6000)
    until = zeros.until
    room.perform()
    room.finish()
    assert zeros.until == until


def test_a_full_disk_is_no_failure_and_the_log_finds_out_by_itself() -> None:
    errors = DiskErrors()
    files, log = new_log(errors)
    number = 3
    while log.more_room() is None:
        write(log, number)
        number += 1
    log.close()
    log = opened(files)
    errors.capacity = sum(sizes(files))
    assert make_room(log)
    assert log.more_room() is None, "it is not tried again and again"
    problem = None
    while problem is None:
        try:
            write(log, number)
            number += 1
        except OSError as error:
            problem = error
    assert problem.errno == errno.ENOSPC
    errors.capacity = None
    log._under_way.perform()  # type: ignore[union-attr]
    write(log, number + 1)
    assert make_room(log)
    assert [each.index for each in log.entries(1, number + 1, ALL_BYTES)] == list(range(1, number + 2))
    log.close()


def test_a_sync_that_fails_is_an_error_even_for_want_of_space() -> None:
    errors = DiskErrors()
    _, log = new_log(errors)
    number = 3
    while (room := log.more_room()) is None:
        write(log, number)
        number += 1
    errors.failing_syncs = 1
    with pytest.raises(OSError, match="error") as failure:
        room.perform()
    assert failure.value.errno == errno.EIO
    log.close()


@pytest.mark.parametrize("power", [True, False])
def test_frames_do_not_count_on_zeros_that_a_crash_may_take(power: bool) -> None:
    """A frame says how long its file was: were that longer than it is after a crash, the log would seem cut."""
    for seed in range(20):
        files, log = new_log()
        number = 3
        while (room := log.more_room()) is None:
            write(log, number)
            number += 1
        for _ in range(3):  # beside the zeros on their way
            write(log, number)
            number += 1
        room._file.write_at(room._begin, bytes(room.end - room._begin))
        files.crash(Random(seed), power=power)
        again = opened(files)
        assert [each.index for each in again.entries(1, number, ALL_BYTES)] == list(range(1, number))
        again.close()
