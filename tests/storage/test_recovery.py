"""What is wrong with a log is refused, with the segment and the offset, and nothing is cut off."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.logs import DIRECTORY, FIRST, OWNER, PLEDGE, Model, content, entry, holding

from coterie.core.records import Put, Record, SaveHardState, StoreBatch, Truncate
from coterie.core.types import Entry, Epoch, HardState
from coterie.sim.disk import SimulatedFiles
from coterie.storage.errors import LogDamaged, WrongLog
from coterie.storage.frame import HEADER_BYTES, SECTOR, FrameHeader, aligned, decode_header, encode_frame
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.record_codec import encode_record
from coterie.storage.segment import MAX_SEGMENT_BYTES, SegmentHeader, new_segment_name, segment_name

SEGMENT_BYTES = 6400
VALUES = (b"a" * 900, bytes(1700), b"b" * 30, bytes(600) + b"c", b"\x01" + bytes(1023), b"", b"d" * 487)


class Frame(NamedTuple):
    offset: int
    used: int
    """Bytes without the padding."""
    span: int


def path(number: int) -> str:
    return f"{DIRECTORY}/{segment_name(number)}"


def write_log(count: int, *, owner: LogHeader = OWNER, fill: bytes = b"") -> tuple[SimulatedFiles, Model]:
    """A log of several segments on a disk of its own, all of it durable."""
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, owner, (FIRST,), segment_bytes=SEGMENT_BYTES)
    model = Model([FIRST])
    for number in range(count):
        last = len(model.entries)
        value = VALUES[number % len(VALUES)] + fill
        records: list[Record] = [Put((entry(last + 1, value, term=2), entry(last + 2, b"second", term=2)))]
        if number % 5 == 4:
            records = [
                Truncate(last),
                SaveHardState(HardState(Epoch(number, 0), 3)),
                Put((entry(last, value, term=3),)),
            ]
        batches = [StoreBatch(number + 1, tuple(records))]
        store.prepare(batches).perform()
        model = model.take(batches)
    store.close()
    files.sync_all()
    return files, model


@cache
def sample() -> tuple[SimulatedFiles, Model, dict[int, list[Frame]]]:
    """One log, its content and its frames; to be copied before it is changed."""
    files, model = write_log(18)
    numbers = range(1, len(files.list(DIRECTORY)) + 1)
    assert len(numbers) == 3
    return files, model, {number: frames(files, number) for number in numbers}


def frames(files: SimulatedFiles, number: int) -> list[Frame]:
    data, offset, found = files.image(path(number)), 0, []
    while isinstance(header := decode_header(data[offset : offset + SECTOR], number, offset), FrameHeader):
        found.append(Frame(offset, HEADER_BYTES + header.body_bytes, header.span))
        offset += header.span
    assert len(found) > 3
    return found


def images(files: SimulatedFiles) -> dict[str, bytes]:
    return {each: files.image(each) for each in files.paths()}


def damage(files: SimulatedFiles) -> LogDamaged:
    """How the log is refused. Not a byte is changed by it, in memory or on the medium."""
    before = images(files)
    with pytest.raises(LogDamaged) as caught:
        LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)
    files.sync_all()
    assert images(files) == before
    assert "Do not delete or edit" in caught.value.advice
    assert f"{caught.value.segment} is damaged at byte {caught.value.offset}" in str(caught.value)
    return caught.value


def found_in(files: SimulatedFiles) -> Model:
    return content(LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES))


def overwrite(files: SimulatedFiles, number: int, offset: int, data: bytes) -> None:
    file = files.open(path(number))
    file.write_at(offset, data)
    file.sync()


def test_the_sample_is_read_back() -> None:
    files, model, _ = sample()
    assert holding(found_in(files.durable_files())) == holding(model)


@st.composite
def bits(draw: st.DrawFn) -> tuple[int, int]:
    """A segment, and a bit of one of its frames or of what follows them."""
    _, _, found = sample()
    number = draw(st.sampled_from(sorted(found)))
    frame = draw(st.sampled_from([found[number][0], found[number][-1], *found[number]]))
    place = draw(st.sampled_from(["header", "any", "end", "after"]))
    low, high = {
        "header": (0, HEADER_BYTES),
        "any": (0, frame.used),
        "end": (frame.used - 2, frame.span),
        "after": (frame.span, frame.span + 600),
    }[place]
    high = min(high, SEGMENT_BYTES - frame.offset)
    return number, draw(st.integers((frame.offset + min(low, high - 1)) * 8, (frame.offset + high) * 8 - 1))


@settings(max_examples=250, deadline=None)
@given(bits())
def test_one_flipped_bit_is_refused_or_changes_nothing(where: tuple[int, int]) -> None:
    number, bit = where
    original, model, found = sample()
    files = original.durable_files()
    files.flip_bit(path(number), bit)
    hit = [each for each in found[number] if each.offset <= bit // 8 < each.offset + each.used]
    if hit:
        error = damage(files)
        assert (error.segment, error.offset) == (segment_name(number), hit[0].offset)
    else:
        assert holding(found_in(files)) == holding(model)
        assert holding(found_in(files)) == holding(model)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_lost_sector_is_refused_unless_it_is_in_the_last_frame(seed: int) -> None:
    """A sector that was durable and is zeros again. In the last frame nobody can tell it from a torn write."""
    rng = Random(seed)
    original, model, found = sample()
    files = original.durable_files()
    number = rng.choice(sorted(found))
    last = found[number][-1]
    sector = rng.randrange(0, last.offset + last.used, SECTOR)
    overwrite(files, number, sector, bytes(SECTOR))
    if number == max(found) and sector + SECTOR > last.offset:
        if sector >= last.offset:
            assert len(found_in(files).entries) < len(model.entries)
    else:
        assert damage(files).segment in (segment_name(number), segment_name(number + 1))


@pytest.mark.parametrize("cut", range(0, 2 * SECTOR, 61))
def test_a_file_that_was_cut_is_refused(cut: int) -> None:
    """Wherever a frame after the segment's first write is still seen to have begun."""
    original, _, found = sample()
    for number, each in found.items():
        files = original.durable_files()
        length = each[2].offset + HEADER_BYTES + cut
        file = files.open(path(number))
        assert length < file.size() == SEGMENT_BYTES
        file.truncate(length)
        file.sync()
        assert damage(files).segment == segment_name(number)


def test_frames_lost_at_a_segments_end_are_missed_by_the_next_segment() -> None:
    original, _, found = sample()
    for number in (1, 2):
        for lost in (1, 2):
            files = original.durable_files()
            begin = found[number][-lost].offset
            overwrite(files, number, begin, bytes(found[number][-1].offset + found[number][-1].span - begin))
            error = damage(files)
            assert (error.segment, error.offset) == (segment_name(number), begin)


def test_a_frame_written_to_a_wrong_place_is_refused() -> None:
    original, _, found = sample()
    for number in (1, 3):
        data = original.image(path(number))
        one, other = found[number][2], found[number][3]
        files = original.durable_files()
        overwrite(files, number, one.offset, data[other.offset : other.offset + other.span])
        assert damage(files).offset == one.offset


def test_a_frame_of_another_segment_is_no_frame_of_this() -> None:
    """As where a file's blocks are used again: even at the very offset that it was written for."""
    original, _, found = sample()
    end = found[3][-1].offset + found[3][-1].span
    data = original.image(path(1))
    later = next(each for each in found[1] if each.offset >= aligned(end))
    files = original.durable_files()
    overwrite(files, 3, end, data[later.offset : later.offset + later.span])
    error = damage(files)
    assert (error.segment, error.offset) == (segment_name(3), end)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_segment_is_named(missing: int) -> None:
    files = sample()[0].durable_files()
    files.remove(path(missing))
    files.sync_directory(DIRECTORY)
    error = damage(files)
    assert "missing" in str(error)
    assert error.segment == segment_name(2)


def test_segments_that_changed_places_are_refused() -> None:
    files = sample()[0].durable_files()
    for old, new in ((path(2), "aside"), (path(3), path(2)), ("aside", path(3))):
        files.rename(old, new)
    files.sync_all()
    assert (damage(files).segment, damage(files).offset) == (segment_name(2), 0)


def test_a_segment_of_another_log_does_not_fit() -> None:
    """Of the same member even: an old copy of the file was put back."""
    for other, _ in (write_log(18, fill=b"!" * 90), write_log(10)):
        files = sample()[0].durable_files()
        number = 2
        overwrite(files, number, 0, other.image(path(number))[: 2 * SEGMENT_BYTES])
        damage(files)


def test_a_last_segment_cut_to_any_length_never_opens_with_acknowledged_entries_missing() -> None:
    original, segment_bytes = SimulatedFiles(), 1250
    store = LogStore.create(original, DIRECTORY, OWNER, (FIRST,), segment_bytes=segment_bytes)
    model = Model([FIRST])
    for index in range(2, 11):
        batches = [StoreBatch(index, (Put((entry(index, b"v" * 120),)),))]
        store.prepare(batches).perform()
        model = model.take(batches)
    store.close()
    original.sync_all()
    segments = original.list(DIRECTORY)
    assert segments == [segment_name(number) for number in range(1, 5)]
    for number in range(1, 5):
        for length in range(0, len(original.image(path(number))), 64):
            files = original.durable_files()
            file = files.open(path(number))
            file.truncate(length)
            file.sync()
            before = images(files)
            with pytest.raises(LogDamaged) as caught:
                LogStore.open(files, DIRECTORY, OWNER, segment_bytes=segment_bytes)
            assert caught.value.segment == segment_name(number)
            assert images(files) == before
    assert holding(content(LogStore.open(original, DIRECTORY, OWNER, segment_bytes=segment_bytes))) == holding(model)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("lost", [HEADER_BYTES, SECTOR, 1 << 20])
def test_a_segment_that_lost_its_header_is_refused(number: int, lost: int) -> None:
    """A segment gets its name when its first write is durable: no crash takes the header away."""
    files = sample()[0].durable_files()
    overwrite(files, number, 0, bytes(min(lost, len(files.image(path(number))))))
    assert (damage(files).segment, damage(files).offset) == (segment_name(number), 0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_segment_that_lost_its_first_frame_is_refused(number: int) -> None:
    """So no crash takes that away, either, though nothing stands behind it."""
    original, _, found = sample()
    files = original.durable_files()
    first = found[number][1]
    overwrite(files, number, first.offset, bytes(len(files.image(path(number))) - first.offset))
    assert (damage(files).segment, damage(files).offset) == (segment_name(number), first.offset)


@pytest.mark.parametrize("length", [0, 10, 700])
def test_a_segment_that_was_never_written_has_no_name(length: int) -> None:
    files = sample()[0].durable_files()
    files.open(path(4), create=True).write_at(0, bytes(length))
    files.sync_all()
    assert (damage(files).segment, damage(files).offset) == (segment_name(4), 0)


def test_a_broken_end_is_no_torn_write_where_a_further_segment_was_begun() -> None:
    original, _, found = sample()
    files = original.durable_files()
    last = found[3][-1]
    overwrite(files, 3, last.offset + 200, bytes(last.span - 200))
    files.open(f"{DIRECTORY}/{new_segment_name(4)}", create=True)
    files.sync_all()
    assert (damage(files).segment, damage(files).offset) == (segment_name(3), last.offset)


def test_a_segment_missing_before_one_that_was_begun_is_named() -> None:
    files = sample()[0].durable_files()
    files.open(f"{DIRECTORY}/{new_segment_name(4)}", create=True)
    files.remove(path(3))
    files.sync_all()
    assert damage(files).segment == segment_name(3)


def test_a_segment_left_unfinished_is_removed_and_its_number_used_again() -> None:
    files = sample()[0].durable_files()
    new = f"{DIRECTORY}/{new_segment_name(4)}"
    files.open(new, create=True).write_at(0, bytes(700))
    files.sync_all()
    store = LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)
    assert [new_segment_name(4) in notice for notice in store.notices] == [True]
    files.crash(Random(1), power=True)
    assert not files.exists(new)
    store = LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)
    last = store.recovered.last_index
    store.prepare([StoreBatch(1, (Put((entry(last + 1, b"z" * 9000, term=9),)),))]).perform()
    store.close()
    assert found_in(files).entries[-1].payload == b"z" * 9000
    assert files.exists(path(4))
    assert not files.exists(new)


def test_a_file_longer_than_any_segment_is_refused_unread() -> None:
    files = sample()[0].durable_files()
    file = files.open(path(2))
    file.truncate(MAX_SEGMENT_BYTES + 1)
    file.sync()
    with pytest.raises(LogDamaged, match="more than was ever written"):
        LogStore.open(files, DIRECTORY, OWNER)


# A log that is another's


def cluster(header: SegmentHeader) -> SegmentHeader:
    return msgspec.structs.replace(header, owner=msgspec.structs.replace(OWNER, cluster=2))


def member(header: SegmentHeader) -> SegmentHeader:
    return msgspec.structs.replace(header, owner=msgspec.structs.replace(OWNER, member=2))


def protocol(header: SegmentHeader) -> SegmentHeader:
    return msgspec.structs.replace(header, owner=msgspec.structs.replace(OWNER, protocol="multipaxos"))


def format_version(header: SegmentHeader) -> SegmentHeader:
    return msgspec.structs.replace(header, format=3)


@pytest.mark.parametrize("change", [cluster, member, protocol, format_version])
@pytest.mark.parametrize("number", [1, 2])
def test_a_segment_of_another_owner_or_format_is_refused(
    change: Callable[[SegmentHeader], SegmentHeader], number: int
) -> None:
    files = sample()[0].durable_files()
    data = files.image(path(number))
    header = decode_header(data[:SECTOR], number, 0)
    assert isinstance(header, FrameHeader)
    old = msgspec.msgpack.decode(data[HEADER_BYTES : HEADER_BYTES + header.payload_bytes], type=SegmentHeader)
    overwrite(files, number, 0, encode_frame(msgspec.msgpack.encode(change(old)), number, 0, 0, PLEDGE))
    with pytest.raises(WrongLog, match=change.__name__.replace("_", " ")) as caught:
        LogStore.open(files, DIRECTORY, OWNER)
    assert segment_name(number) in str(caught.value)
    assert caught.value.advice


def test_a_log_of_an_earlier_format_is_no_damage() -> None:
    files = sample()[0].durable_files()
    for number in (1, 2, 3):
        overwrite(files, number, 0, b"\xe1")
    with pytest.raises(WrongLog, match="has format version 1; this program reads 2") as caught:
        LogStore.open(files, DIRECTORY, OWNER)
    assert "version of the program that wrote it" in caught.value.advice


def test_a_header_of_an_unknown_shape_is_refused() -> None:
    files = sample()[0].durable_files()
    overwrite(files, 1, 0, encode_frame(msgspec.msgpack.encode([9, "later"]), 1, 0, 0, PLEDGE))
    with pytest.raises(WrongLog, match="can't read"):
        LogStore.open(files, DIRECTORY, OWNER)


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"\x09", "record of type 9"), (b"\x01\x01", "end early"), (b"\x02\x00", "type 2"), (bytes(1), "type 0")],
)
def test_a_frame_that_checks_and_holds_no_records_is_refused(payload: bytes, message: str) -> None:
    original, _, found = sample()
    files = original.durable_files()
    end = found[3][-1].offset + found[3][-1].span
    overwrite(files, 3, end, encode_frame(payload, 3, end, 0, PLEDGE))
    error = damage(files)
    assert error.offset == end
    assert re.search(message, str(error))


@pytest.mark.parametrize(
    ("astray", "message"),
    [
        (entry(2, b"astray"), "entry 2 of epoch 1 put in the place of one of epoch 2"),
        (entry(999, b"astray"), "entry 999 put into a log that ends with entry"),
    ],
)
def test_an_entry_out_of_order_is_refused(astray: Entry, message: str) -> None:
    original, _, found = sample()
    files = original.durable_files()
    end = found[3][-1].offset + found[3][-1].span
    parts: list[bytes] = []
    encode_record(Put((astray,)), parts)
    overwrite(files, 3, end, encode_frame(b"".join(parts), 3, end, 0, PLEDGE))
    error = damage(files)
    assert error.offset == end
    assert message in str(error)
