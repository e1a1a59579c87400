"""A log that is damaged is begun anew with all that binds its member, or not at all."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.logs import DIRECTORY, FIRST, OWNER, base, entry

from coterie.core.records import Put, Reset, SaveHardState, StoreBatch
from coterie.core.types import Epoch, HardState, Repair
from coterie.sim.disk import SimulatedFiles
from coterie.sim.frail import Death, FrailFiles
from coterie.storage.errors import LogDamaged, PromisesLost
from coterie.storage.frame import HEADER_BYTES, SECTOR, FrameHeader, Pledge, decode_header
from coterie.storage.log_store import LogStore
from coterie.storage.salvage import salvage
from coterie.storage.segment import damaged_segment_name, new_segment_name, segment_name

SEGMENT_BYTES = 5000
VOTE = HardState(Epoch(5, 0), 3)


def path(number: int) -> str:
    return f"{DIRECTORY}/{segment_name(number)}"


def open_log(files: SimulatedFiles | FrailFiles) -> LogStore:
    return LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)


def write(store: LogStore, *records: Put | SaveHardState | Reset) -> None:
    store.prepare([StoreBatch(1, records)]).perform()


def sample() -> SimulatedFiles:
    """Three segments of entries up to 20; the vote is cast in the last frame."""
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
    # So that there is somebody who could repair it.
    write(store, Reset(base(1, voters=3)))
    for index in range(2, 20):
        write(store, Put((entry(index, b"v" * 400, term=4),)))
    write(store, Put((entry(20, b"w" * 700, term=4),)), SaveHardState(VOTE))
    store.close()
    files.sync_all()
    assert files.list(DIRECTORY) == [segment_name(number) for number in (1, 2, 3)]
    return files


SAMPLE = sample()
PLEDGE = Pledge(VOTE.epoch, VOTE.vote, 20)


def frames(files: SimulatedFiles, number: int) -> list[FrameHeader]:
    data, offset, found = files.image(path(number)), 0, []
    while isinstance(header := decode_header(data[offset : offset + SECTOR], number, offset), FrameHeader):
        found.append(header)
        offset += header.span
    return found


def found_damaged(files: SimulatedFiles) -> LogDamaged:
    with pytest.raises(LogDamaged) as caught:
        open_log(files)
    return caught.value


def saved(files: SimulatedFiles) -> Pledge:
    return salvage(files, DIRECTORY, OWNER.member, found_damaged(files))


def pledge_of(files: SimulatedFiles) -> tuple[Pledge, bool]:
    """What binds the member, and whether its log is damaged."""
    try:
        store = open_log(files)
    except LogDamaged as damage:
        return salvage(files, DIRECTORY, OWNER.member, damage), True
    return store.pledge, False


def lost(files: SimulatedFiles, why: str) -> None:
    """Nothing is certain, and nothing is changed."""
    before = {each: files.image(each) for each in files.paths()}
    with pytest.raises(PromisesLost, match=why) as caught:
        saved(files)
    assert "coterie member remove" in caught.value.advice
    assert {each: files.image(each) for each in files.paths()} == before


@st.composite
def used_bits(draw: st.DrawFn) -> tuple[int, int]:
    number = draw(st.sampled_from([1, 2, 3, 3]))
    each = draw(st.sampled_from([*frames(SAMPLE, number), frames(SAMPLE, number)[-1]]))
    end = each.offset + HEADER_BYTES + each.body_bytes
    return number, draw(st.integers(each.offset * 8, end * 8 - 1))


@settings(max_examples=200, deadline=None)
@given(used_bits())
def test_what_binds_the_member_is_known_whichever_bit_turns_or_it_is_refused(where: tuple[int, int]) -> None:
    number, bit = where
    files = SAMPLE.durable_files()
    files.flip_bit(path(number), bit)
    last = frames(SAMPLE, 3)[-1]
    if number == 3 and last.offset <= bit // 8 < last.offset + HEADER_BYTES:
        lost(files, "cannot be read")
    else:
        assert saved(files) == PLEDGE


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_a_write_that_went_astray_leaves_what_binds_the_member_or_is_refused(seed: int) -> None:
    """Any sectors of the log, anywhere before its last frame."""
    rng = Random(seed)
    files = SAMPLE.durable_files()
    number, source = rng.choice((1, 2, 3)), SAMPLE.image(path(rng.choice((1, 2, 3))))
    room = frames(SAMPLE, 3)[-1].offset if number == 3 else len(files.image(path(number)))
    size = rng.choice((1, 2, 3)) * SECTOR
    data = source[(begin := rng.randrange(len(source) // SECTOR - 3) * SECTOR) : begin + size]
    files.overwrite(path(number), rng.randrange((room - size) // SECTOR + 1) * SECTOR, data)
    assert pledge_of(files)[0] == PLEDGE


@pytest.mark.parametrize("gone", [1, 2])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_name_that_is_lost_before_the_newest_segment_leaves_what_binds_the_member(gone: int, renamed: bool) -> None:
    files = SAMPLE.durable_files()
    if renamed:
        files.rename(path(gone), f"{DIRECTORY}/{new_segment_name(gone)}")
    else:
        files.remove(path(gone))
    files.sync_all()
    assert saved(files) == PLEDGE


def test_the_newest_segment_gone_or_cut_or_empty_is_refused() -> None:
    files = SAMPLE.durable_files()
    files.open(f"{DIRECTORY}/{new_segment_name(4)}", create=True)
    files.remove(path(3))
    files.sync_all()
    lost(files, "is missing")
    files = SAMPLE.durable_files()
    file = files.open(path(3))
    file.truncate(frames(SAMPLE, 3)[2].offset)
    file.sync()
    lost(files, "cannot be read")
    files = SAMPLE.durable_files()
    file = files.open(path(3))
    first = frames(SAMPLE, 3)[1].offset
    file.write_at(first, bytes(SEGMENT_BYTES - first))
    file.sync()
    lost(files, "cannot be read")


def test_a_block_of_something_else_behind_the_last_frame_is_refused() -> None:
    """It may stand in the place of a frame that was acknowledged."""
    files = SAMPLE.durable_files()
    last = frames(SAMPLE, 3)[-1]
    files.flip_bit(path(1), 8 * 900)
    files.overwrite(path(3), last.offset + last.span, b"anything" * 16)
    lost(files, "cannot be read")


def test_the_only_voter_is_refused_for_nobody_else_has_what_is_lost() -> None:
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
    alone = base(1)
    assert alone.membership.voters == (1,)
    write(store, Reset(alone))
    for index in range(2, 6):
        write(store, Put((entry(index, b"v" * 400),)))
    store.close()
    files.sync_all()
    files.flip_bit(path(1), 8 * 1500)
    with pytest.raises(PromisesLost, match="only voter"):
        salvage(files, DIRECTORY, 1, found_damaged(files))


def begun_anew(files: SimulatedFiles | FrailFiles, pledge: Pledge) -> LogStore:
    return LogStore.begin_anew(files, DIRECTORY, OWNER, pledge, segment_bytes=SEGMENT_BYTES)


def test_a_log_that_is_begun_anew_is_empty_owes_a_repair_and_keeps_the_evidence() -> None:
    files = SAMPLE.durable_files()
    files.flip_bit(path(2), 8 * 1000)
    before = [files.image(path(number)) for number in (1, 2, 3)]
    pledge = saved(files)
    store = begun_anew(files, pledge)
    owing = HardState(VOTE.epoch, VOTE.vote, Repair(20, VOTE.epoch))
    assert (store.recovered.hard_state, store.recovered.last_index) == (owing, 0)
    assert damaged_segment_name(2) in store.notices[-1]
    files.crash(Random(1), power=True)
    assert [files.image(f"{DIRECTORY}/{damaged_segment_name(number)}") for number in (1, 2, 3)] == before
    for index in range(1, 30):
        store = open_log(files)
        write(store, Put((entry(index, b"v" * 400),)))
    store.close()
    again = open_log(files)
    assert (again.recovered.hard_state, again.recovered.last_index) == (owing, 29)


def test_a_second_damage_while_it_is_repaired_forgets_nothing_of_the_first() -> None:
    files = SAMPLE.durable_files()
    files.flip_bit(path(2), 8 * 1000)
    store = begun_anew(files, saved(files))
    write(store, Reset(base(1, voters=3)))
    for index in range(2, 7):
        write(store, Put((entry(index, b"v" * 400),)))
    store.close()
    files.sync_all()
    files.flip_bit(path(4), 8 * 1500)
    assert saved(files) == PLEDGE, "up to the old end, which is further than the new one"
    store = begun_anew(files, PLEDGE)
    assert store.recovered.hard_state.repair == Repair(20, VOTE.epoch)
    assert files.list(DIRECTORY)[-1] == segment_name(5)


@pytest.mark.parametrize("power", [False, True])
def test_a_crash_at_any_moment_leaves_the_damaged_log_or_the_one_begun_anew(power: bool) -> None:
    outcomes: set[str] = set()
    for calls in range(1, 30):
        for seed in range(4 if power else 1):
            disk = SAMPLE.durable_files()
            disk.flip_bit(path(2), 8 * 1000)
            pledge = saved(disk)
            files = FrailFiles(disk)
            files.arm(calls)
            try:
                begun_anew(files, pledge)
            except Death:
                pass
            else:
                assert outcomes == {"damaged", "anew"}
                return
            files.disarm()
            disk.crash(Random(seed), power=power)
            pledge, damaged = pledge_of(disk)
            assert pledge == PLEDGE
            outcomes.add("damaged" if damaged else "anew")
            store = begun_anew(disk, pledge) if damaged else open_log(disk)
            assert store.recovered.hard_state == HardState(VOTE.epoch, VOTE.vote, Repair(20, VOTE.epoch))
            assert [name for name in disk.list(DIRECTORY) if name.endswith(".log")] == [segment_name(4)]
    pytest.fail("it never came to an end")
