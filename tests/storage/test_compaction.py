"""What is forgotten leaves the disk, and nothing else does; a log that begins late proves that it may."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.logs import (
    ALL_BYTES,
    DIRECTORY,
    FIRST,
    OWNER,
    PLEDGE,
    Model,
    base,
    content,
    entry,
    holding,
    put,
)

from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import EntryKind, Epoch, HardState, Member, Membership, SnapshotMeta
from coterie.sim.disk import SimulatedFiles
from coterie.storage.disk import DiskFiles
from coterie.storage.errors import LogDamaged
from coterie.storage.frame import encode_frame
from coterie.storage.log_store import LogStore
from coterie.storage.record_codec import MAX_META_BYTES, Malformed, decode_records, encode_record
from coterie.storage.segment import segment_name, segment_number

SEGMENT_BYTES = 6600
VOTE = HardState(Epoch(7, 0), 3)


def path(number: int) -> str:
    return f"{DIRECTORY}/{segment_name(number)}"


def numbers(files: SimulatedFiles) -> list[int]:
    found = [segment_number(name) for name in files.list(DIRECTORY)]
    return [number for number in found if number is not None]


def open_log(files: SimulatedFiles) -> LogStore:
    return LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)


def new_log(last: int, *, before: tuple[Record, ...] = ()) -> tuple[SimulatedFiles, LogStore]:
    """A log of entries 1 to `last`, each alone in a frame of about 1 kB, in several segments."""
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
    if before:
        write(store, *before)
    for index in range(2, last + 1):
        write(store, Put((entry(index, b"v" * 1000),)))
    return files, store


def write(store: LogStore, *records: Record) -> None:
    store.prepare([StoreBatch(1, records)]).perform()


def damage(files: SimulatedFiles) -> LogDamaged:
    """How the log is refused; nothing is changed by it."""
    before = {each: files.image(each) for each in files.paths()}
    with pytest.raises(LogDamaged) as caught:
        open_log(files)
    files.sync_all()
    assert {each: files.image(each) for each in files.paths()} == before
    assert "start this member again" in caught.value.advice
    return caught.value


def indexes(store: LogStore, first: int) -> list[int]:
    return [each.index for each in store.entries(first, 999, ALL_BYTES)]


def test_segments_go_when_all_that_they_hold_is_forgotten_durably_and_not_before() -> None:
    files, store = new_log(20)
    assert numbers(files) == [1, 2, 3, 4]
    compaction = store.prepare([StoreBatch(1, (Compact(base(13)),))])
    store.trim()
    assert numbers(files) == [1, 2, 3, 4], "not before the record is durable"
    compaction.perform()
    assert numbers(files) == [1, 2, 3, 4], "not while somebody waits for the disk"
    store.trim()
    kept = numbers(files)
    assert kept == [3, 4]
    assert indexes(store, 14) == [*range(14, 21)]
    with pytest.raises(LookupError, match="entry 13 is not in the log, which holds 14 to 20"):
        store.entries(13, 14, ALL_BYTES)
    for _ in range(2):
        store = open_log(files)
        assert (store.base, store.recovered.last_index, numbers(files)) == (base(13), 20, kept)
        assert indexes(store, 14) == [*range(14, 21)]
        assert store.recovered.epochs == ((14, Epoch(1, 0)),)
        assert store.recovered.memberships == ()


def test_hard_state_outlives_the_segment_that_it_was_written_in() -> None:
    files, store = new_log(20, before=(SaveHardState(VOTE),))
    write(store, Compact(base(20)))
    store.trim()
    assert len(numbers(files)) == 1
    assert open_log(files).recovered.hard_state == VOTE


def test_the_newest_base_outlives_the_segment_that_it_was_written_in() -> None:
    files, store = new_log(8)
    write(store, Compact(base(8, voters=3)))
    for index in range(9, 30):
        write(store, Put((entry(index, b"v" * 1000),)))
    write(store, Compact(base(20, voters=2)))
    store.trim()
    write(store, Truncate(25), Put((entry(25, b"other", term=2),)))
    store = open_log(files)
    assert store.recovered.base == base(20, voters=2)
    assert store.recovered.epochs == ((21, Epoch(1, 0)), (25, Epoch(2, 0)))
    assert indexes(store, 21) == [*range(21, 26)]


@pytest.mark.parametrize("index", [3, 20, 90])
def test_a_reset_log_begins_after_its_snapshot_wherever_that_is(index: int) -> None:
    files, store = new_log(20, before=(SaveHardState(VOTE),))
    write(store, Reset(base(index, term=4, voters=3)))
    store.trim()
    assert len(numbers(files)) == 1
    assert store.bytes == 0
    for _ in range(2):
        store = open_log(files)
        expected = Model([], VOTE, base(index, term=4, voters=3))
        assert holding(content(store)) == holding(expected)
        with pytest.raises(LookupError):
            store.entries(index, index, ALL_BYTES)
    write(store, Put((entry(index + 1, term=5),)))
    assert content(open_log(files)).entries == [entry(index + 1, term=5)]


def test_a_log_that_grew_in_the_same_write_as_its_reset_is_read_back() -> None:
    files, store = new_log(6)
    after = (entry(31, term=2), entry(32, term=2, kind=EntryKind.SETTINGS))
    old = entry(7, kind=EntryKind.SETTINGS)
    batches = [put(old), StoreBatch(2, (Reset(base(30, term=2)), Put(after)))]
    store.prepare(batches).perform()
    store.trim()
    for _ in range(2):
        assert store.entries(31, 32, ALL_BYTES) == list(after)
        store = open_log(files)
        assert store.recovered.settings == after[1:]
    assert len(numbers(files)) == 1


def test_the_bytes_kept_since_the_base_are_what_a_snapshot_would_free() -> None:
    files, store = new_log(20)
    used = 20 * 1024
    assert used < store.bytes < 2 * used
    assert store.bytes_after(15) < store.bytes_after(8) < store.bytes_after(0) == store.bytes
    assert (store.bytes_after(20), store.bytes_after(99)) == (0, 0)
    before = store.bytes
    write(store, Compact(base(15)))
    assert store.bytes < before / 2
    assert open_log(files).bytes == store.bytes
    write(store, Compact(base(20)))
    assert store.bytes == 0


def test_an_empty_log_has_a_hard_state_and_no_membership() -> None:
    files = SimulatedFiles()
    for _ in range(2):
        store = LogStore.create(files, DIRECTORY, OWNER, (), segment_bytes=SEGMENT_BYTES)
        assert holding(content(store)) == holding(Model())
        assert store.recovered.last_index == store.recovered.base.index == store.bytes == 0
    store = LogStore.open(files, DIRECTORY, OWNER, segment_bytes=SEGMENT_BYTES)
    for number in range(200):
        write(store, SaveHardState(HardState(Epoch(number, 0))))
    assert len(numbers(files)) > 1
    assert not store.trimmable, "nothing was forgotten"
    with pytest.raises(LookupError):
        store.entries(1, 1, ALL_BYTES)
    write(store, Reset(base(50, voters=3)), Put((entry(51),)))
    store.trim()
    assert len(numbers(files)) == 1
    assert content(open_log(files)).entries == [entry(51)]


def test_segments_are_removed_beside_writing_and_reading(tmp_path: Path) -> None:
    """On the real disk, in a thread of its own, as the sync thread does it."""
    store = LogStore.create(DiskFiles(), str(tmp_path / "log"), OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
    with ThreadPoolExecutor(1) as thread:
        for index in range(2, 200):
            records: list[Record] = [Put((entry(index, b"v" * 1000),))]
            if index % 10 == 0:
                records.append(Compact(base(index - 5)))
            prepared = store.prepare([StoreBatch(index, tuple(records))])
            writing = thread.submit(prepared.perform)
            first = store.base.index + 1
            found = indexes(store, first)
            assert found[: index - first] == [*range(first, index)]
            assert found[index - first :] in ([], [index]), "the one on its way, if it has arrived"
            writing.result()
            removal = thread.submit(store.trim)
            assert indexes(store, first) == [*range(first, index + 1)]
            if index % 3:
                removal.result()
    assert len(list((tmp_path / "log").iterdir())) < 5
    store.close()
    again = LogStore.open(DiskFiles(), str(tmp_path / "log"), OWNER, segment_bytes=SEGMENT_BYTES)
    assert indexes(again, 186) == [*range(186, 200)]
    again.close()


# What cannot be


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ((Compact(base(9)),), "entries 6 to 8 forgets those up to 9"),
        ((Compact(base(4)),), "entries 6 to 8 forgets those up to 4"),
        ((Truncate(5),), "entry 5 cut off a log that begins after entry 5"),
        ((Reset(base(20)), Put((entry(9),))), "entry 9 put into a log that begins after entry 20"),
        ((Reset(SnapshotMeta(9, Epoch(1, 0), Membership((Member(1, "x" * MAX_META_BYTES, "", ""),), ()))),), "bytes"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused_and_changes_nothing(records: tuple[Record, ...], message: str) -> None:
    files, store = new_log(8)
    write(store, Compact(base(5)))
    with pytest.raises(ValueError, match=message):
        store.prepare([StoreBatch(1, records)])
    write(store, Put((entry(9),)))
    assert [each.index for each in content(open_log(files)).entries] == [6, 7, 8, 9]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Compact(base(10)), "entries 6 to 8 forgets those up to 10"),
        (Compact(base(3)), "entries 6 to 8 forgets those up to 3"),
        (Compact(base(7, term=2)), "its base 7 has epoch 2, the entry 1"),
        (Truncate(4), "entry 4 cut off a log that begins after entry 5"),
        (Put((entry(10),)), "entry 10 put into a log that ends with entry 8"),
        (Put((entry(7),)), "entry 7 of epoch 1 put in the place of one of epoch 1"),
        (Put((entry(5, term=2),)), "entry 5 put into a log that begins after entry 5"),
    ],
)
def test_a_durable_record_that_cannot_be_true_is_damage(record: Record, message: str) -> None:
    files, store = new_log(8)
    write(store, Compact(base(5)))
    number, end = store._number, store._offset
    store.close()
    parts: list[bytes] = []
    encode_record(record, parts)
    files.open(path(number)).write_at(end, encode_frame(b"".join(parts), number, end, 0, PLEDGE))
    files.sync_all()
    error = damage(files)
    assert (error.segment, error.offset) == (segment_name(number), end)
    assert message in str(error)


@pytest.mark.parametrize("cut", [1, 4, 30])
def test_a_base_that_ends_early_or_claims_too_much_is_no_record(cut: int) -> None:
    parts: list[bytes] = []
    size = encode_record(Compact(base(5, voters=3)), parts)
    payload = b"".join(parts)
    assert [each.record for each in decode_records(payload)] == [Compact(base(5, voters=3))]
    with pytest.raises(Malformed, match="end"):
        list(decode_records(payload[:4]))
    with pytest.raises(Malformed, match="more than its frame"):
        list(decode_records(payload[: size - cut]))
    with pytest.raises(Malformed, match="can't be read"):
        list(decode_records(payload[:5] + bytes(len(payload) - 5)))
    meta = msgspec.msgpack.encode((5, (1, 0), ((), ()), {"clock_drift_permille": 501}))
    with pytest.raises(Malformed, match="clock_drift_permille"):
        list(decode_records(payload[:1] + len(meta).to_bytes(4, "little") + meta))


# A log that begins late


@cache
def sample() -> tuple[SimulatedFiles, Model, list[int]]:
    """A log whose first segments are gone, and two of whose later ones hold only what is forgotten; to be copied."""
    files, store = new_log(21)
    write(store, Compact(base(11)))
    store.trim()
    write(store, SaveHardState(VOTE))
    for index in range(22, 38):
        write(store, Put((entry(index, b"w" * 700, term=2),)))
    write(store, Compact(base(23, term=2)), Put((entry(38, term=2),)))
    model = Model(list(store.entries(24, 38, ALL_BYTES)), VOTE, base(23, term=2))
    store.close()
    files.sync_all()
    assert numbers(files) == [3, 4, 5, 6, 7]
    return files, model, numbers(files)


def test_the_sample_is_read_back_and_its_removal_is_finished() -> None:
    files = sample()[0].durable_files()
    assert holding(content(open_log(files))) == holding(sample()[1])
    assert numbers(files) == [5, 6, 7]


@pytest.mark.parametrize("gone", [[3], [4], [3, 4]])
def test_a_removal_that_reached_the_disk_in_any_order_is_finished(gone: list[int]) -> None:
    files = sample()[0].durable_files()
    for number in gone:
        files.remove(path(number))
    files.sync_all()
    for _ in range(2):
        assert holding(content(open_log(files))) == holding(sample()[1])
        assert numbers(files) == [5, 6, 7]


@pytest.mark.parametrize("gone", [[5], [6], [3, 4, 5], [4, 5], [3, 6], [3, 4, 5, 6]])
def test_a_segment_that_is_needed_and_missing_is_damage(gone: list[int]) -> None:
    files = sample()[0].durable_files()
    for number in gone:
        files.remove(path(number))
    files.sync_all()
    assert "missing" in str(damage(files))


def test_a_log_that_lost_the_record_by_which_its_beginning_was_removed_is_refused() -> None:
    """Its last frame, which nobody could otherwise tell from a torn one."""
    files, store = new_log(20)
    offset = store._offset
    write(store, Compact(base(11)))
    number = store._number
    store.trim()
    files.sync_all()
    files.open(path(number)).write_at(offset, bytes(2048))
    files.sync_all()
    error = damage(files)
    assert (error.segment, error.offset) == (segment_name(3), 0)
    assert "begins with entry 12, and the log after entry 0" in str(error)


def test_a_segment_of_an_older_base_does_not_fit() -> None:
    """As where an old copy of a file was put back."""
    files, store = new_log(9)
    write(store, Compact(base(4)))
    for index in range(10, 16):
        write(store, Put((entry(index, b"v" * 1000),)))
    last = store._number
    other, store = new_log(9)
    write(store, Compact(base(5)))
    for index in range(10, 16):
        write(store, Put((entry(index, b"v" * 1000),)))
    other.sync_all()
    image = other.image(path(last))
    file = files.open(path(last))
    file.write_at(0, image)
    files.sync_all()
    error = damage(files)
    assert (error.segment, error.offset) == (segment_name(last), 0)
    assert re.search("begins after entry 5 of epoch 1, .* after entry 4", str(error))


@st.composite
def bits(draw: st.DrawFn) -> tuple[int, int]:
    files, _, found = sample()
    number = draw(st.sampled_from(found))
    return number, draw(st.integers(0, len(files.image(path(number))) * 8 - 1))


@settings(max_examples=250, deadline=None)
@given(bits())
def test_one_flipped_bit_of_a_compacted_log_is_refused_or_changes_nothing(where: tuple[int, int]) -> None:
    number, bit = where
    original, model, _ = sample()
    files = original.durable_files()
    files.flip_bit(path(number), bit)
    found = found_or_damaged(files)
    assert found == segment_name(number) or found == holding(model)


def found_or_damaged(files: SimulatedFiles) -> object:
    """What the log holds, or the segment that is called damaged."""
    try:
        return holding(content(open_log(files)))
    except LogDamaged as error:
        return error.segment


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_compacted_log_cut_anywhere_is_refused_unless_only_zeros_are_lost(data: st.DataObject) -> None:
    original, model, found = sample()
    number = data.draw(st.sampled_from(found))
    size = len(original.image(path(number)))
    length = data.draw(st.integers(0, size - 1))
    files = original.durable_files()
    file = files.open(path(number))
    file.truncate(length)
    file.sync()
    if number == found[-1]:
        kept = found_or_damaged(files)
        assert kept in (segment_name(number), segment_name(found[0])) or kept == holding(model)
    else:
        damage(files)
