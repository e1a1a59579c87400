"""Slots that are overwritten: each by itself, all others stay, and the only copy of a live one is never removed."""

from __future__ import annotations

import msgspec
import pytest
from tests.storage.logs import ALL_BYTES, DIRECTORY, FIRST, OVERWRITING_OWNER, OWNER, base, content, entry

from coterie.core.records import Compact, Put, Record, Reset, StoreBatch, Truncate
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.sim.disk import SimulatedFiles
from coterie.storage.errors import LogDamaged
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.segment import segment_name, segment_number

SEGMENT_BYTES = 6600


def open_log(files: SimulatedFiles, owner: LogHeader = OVERWRITING_OWNER) -> LogStore:
    return LogStore.open(files, DIRECTORY, owner, segment_bytes=SEGMENT_BYTES)


def new_log(last: int, owner: LogHeader = OVERWRITING_OWNER) -> tuple[SimulatedFiles, LogStore]:
    """A log of entries 1 to `last`, of epoch 1, each alone in a frame of about 1 kB: five to a segment."""
    files = SimulatedFiles()
    store = LogStore.create(files, DIRECTORY, owner, (FIRST,), segment_bytes=SEGMENT_BYTES)
    put(store, *range(2, last + 1), term=1)
    return files, store


def write(store: LogStore, *records: Record) -> None:
    store.prepare([StoreBatch(1, records)]).perform()


def put(store: LogStore, *indexes: int, term: int) -> None:
    for index in indexes:
        write(store, Put((entry(index, b"v" * 1000, term=term),)))


def numbers(files: SimulatedFiles) -> list[int]:
    found = [segment_number(name) for name in files.list(DIRECTORY)]
    return [number for number in found if number is not None]


def terms(store: LogStore) -> list[int]:
    """The term of each entry in the log."""
    first, last = store.base.index + 1, store._bounds.last
    found = store.entries(first, last, ALL_BYTES) if first <= last else []
    assert [each.index for each in found] == [*range(first, last + 1)]
    return [each.epoch.round for each in found]


def terms_and_again(files: SimulatedFiles, store: LogStore) -> list[int]:
    """The same, read from this store and from one that is opened anew."""
    found = terms(store)
    again = open_log(files)
    assert terms(again) == [each.epoch.round for each in content(again).entries] == found
    return found


def test_an_entry_replaces_its_own_slot_and_all_beyond_it_stay() -> None:
    files, store = new_log(12)
    put(store, 4, 5, term=2)
    assert terms_and_again(files, store) == [1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    write(store, Put(tuple(entry(index, term=3) for index in range(11, 15))), Put((entry(5, term=3),)))
    assert terms_and_again(files, store) == [1, 1, 1, 2, 3, 1, 1, 1, 1, 1, 3, 3, 3, 3]
    assert open_log(files).recovered.epochs == tuple(
        (index, Epoch(term, 0)) for index, term in ((1, 1), (4, 2), (5, 3), (6, 1), (11, 3))
    )
    put(store, 15, term=1)
    assert terms_and_again(files, store)[-2:] == [3, 1]


def test_the_limit_of_bytes_holds_across_what_was_overwritten() -> None:
    _, store = new_log(9)
    put(store, 3, 6, term=2)
    for count in range(1, 8):
        found = store.entries(2, 9, count * 1000 + 10)
        assert [each.index for each in found] == [*range(2, 2 + count)]
    assert [each.epoch.round for each in store.entries(5, 7, ALL_BYTES)] == [1, 2, 1]


def test_a_slot_is_not_read_while_it_is_being_overwritten_and_those_behind_it_are() -> None:
    """Neither what it held, for that is about to go, nor what is not there yet."""
    _, store = new_log(9)
    overwriting = store.prepare([StoreBatch(1, (Put((entry(4, term=2), entry(5, term=2))),))])
    assert [each.index for each in store.entries(1, 9, ALL_BYTES)] == [1, 2, 3]
    for index in (4, 5):
        with pytest.raises(LookupError, match="being overwritten, as are entries 4 to 5"):
            store.entries(index, 9, ALL_BYTES)
    assert [(each.index, each.epoch.round) for each in store.entries(6, 9, ALL_BYTES)] == [(i, 1) for i in range(6, 10)]
    overwriting.perform()
    assert terms(store) == [1, 1, 1, 2, 2, 1, 1, 1, 1]


def test_entries_cut_off_after_overwriting_are_gone_whatever_stands_where() -> None:
    files, store = new_log(12)
    put(store, 4, 5, 10, term=2)
    write(store, Truncate(10))
    assert terms_and_again(files, store) == [1, 1, 1, 2, 2, 1, 1, 1, 1]
    put(store, 6, term=2)
    write(store, Truncate(5), Put((entry(5, term=3), entry(6, term=3))))
    assert terms_and_again(files, store) == [1, 1, 1, 2, 3, 3]
    put(store, 7, term=3)
    put(store, 6, term=4)
    assert terms_and_again(files, store) == [1, 1, 1, 2, 3, 4, 3]


def test_a_membership_that_was_overwritten_is_forgotten_and_the_others_stay_in_order() -> None:
    files, store = new_log(4)

    def of(kind: EntryKind, index: int, term: int) -> Entry:
        return entry(index, b"%d" % term, term=term, kind=kind)

    old = [of(EntryKind.MEMBERSHIP, index, 1) for index in (5, 7, 9)]
    write(store, Put((old[0], of(EntryKind.SETTINGS, 6, 1), old[1], entry(8), old[2])))
    new = [of(EntryKind.MEMBERSHIP, index, 2) for index in (3, 6)]
    settings = [of(EntryKind.SETTINGS, index, 2) for index in (4, 7)]
    write(store, Put((new[0], settings[0])))
    write(store, Put((new[1], settings[1])))
    recovered = open_log(files).recovered
    assert recovered.memberships == (FIRST, new[0], old[0], new[1], old[2])
    assert recovered.settings == tuple(settings)
    write(store, Compact(base(5)))
    assert open_log(files).recovered.memberships == (new[1], old[2])


# Removing segments


def test_a_segment_with_the_only_copy_of_a_live_slot_stays() -> None:
    files, store = new_log(20)
    assert numbers(files) == [1, 2, 3, 4]
    put(store, *range(6, 14), term=2)
    assert numbers(files) == [1, 2, 3, 4, 5, 6]
    write(store, Compact(base(5)))
    store.trim()
    assert numbers(files) == [3, 4, 5, 6], "entry 6 stands in the fourth, but 14 in the third"
    assert terms_and_again(files, store) == [2] * 8 + [1] * 7
    put(store, 14, 15, 16, term=2)
    write(store, Compact(base(6)))
    store.trim()
    assert numbers(files) == [4, 5, 6, 7], "17 to 20 stand in the fourth, and all before them behind it"
    assert terms_and_again(files, store) == [2] * 10 + [1] * 4
    files.sync_all()
    for missing in numbers(files)[:2]:
        copy = files.durable_files()
        copy.remove(f"{DIRECTORY}/{segment_name(missing)}")
        copy.sync_all()
        with pytest.raises(LogDamaged, match="missing"):
            open_log(copy)


def test_a_log_opens_without_the_segments_of_which_all_is_forgotten_or_overwritten() -> None:
    """And removing them is finished at the next start, whatever of it reached the disk."""
    files, store = new_log(20)
    put(store, *range(9, 21), term=2)
    write(store, Compact(base(8)))
    files.sync_all()
    needed = 4
    for gone in ([], [1], [2], [1, 3], [1, 2, 3]):
        copy = files.durable_files()
        for number in gone:
            copy.remove(f"{DIRECTORY}/{segment_name(number)}")
        copy.sync_all()
        again = open_log(copy)
        assert terms(again) == [2] * 12
        assert numbers(copy)[0] == needed
        assert again.recovered.epochs == ((9, Epoch(2, 0)),)
        put(again, 12, 21, term=3)
        assert terms_and_again(copy, again) == [2, 2, 2, 3] + [2] * 8 + [3]


def test_overwriting_alone_removes_nothing() -> None:
    """Nothing was forgotten: a segment that is missing is damage, for nobody could tell it from one that was lost."""
    files, store = new_log(10)
    put(store, *range(1, 11), term=2)
    assert not store.trimmable
    files.remove(f"{DIRECTORY}/{segment_name(1)}")
    files.sync_all()
    with pytest.raises(LogDamaged, match="missing"):
        open_log(files)


def test_the_bytes_to_be_read_again_reach_back_to_the_oldest_live_slot() -> None:
    _, store = new_log(20)
    before = store.bytes_after(9)
    put(store, 11, 12, 13, term=2)
    assert before < store.bytes_after(9) < before + SEGMENT_BYTES
    assert store.bytes_after(9) > store.bytes_after(15) > store.bytes_after(19) > 2048
    assert store.bytes_after(12) == store.bytes_after(13), "13 was written anew, but 14 was not"
    put(store, 20, term=2)
    assert store.bytes_after(19) < 2048


# A log that begins after what it need not hold


def test_a_rebased_log_keeps_what_was_accepted_beyond_the_snapshot() -> None:
    files, store = new_log(9)
    put(store, 5, 8, term=2)
    write(store, Compact(base(6, term=7)))
    assert terms_and_again(files, store) == [1, 2, 1]
    assert open_log(files).recovered.base == base(6, term=7)
    put(store, 7, 10, term=3)
    assert terms_and_again(files, store) == [3, 2, 1, 3]
    write(store, Reset(base(30)), Put((entry(31), entry(32))), Put((entry(31, term=2),)))
    assert terms_and_again(files, store) == [2, 1]


def test_overwriting_goes_on_where_a_log_was_rebased_to() -> None:
    files, store = new_log(9)
    put(store, 4, 5, term=2)
    write(store, Compact(base(5, term=2)))
    put(store, 6, 7, term=2)
    assert terms_and_again(files, store) == [2, 2, 1, 1]


def test_a_log_of_raft_that_begins_after_what_it_does_not_hold_is_damaged() -> None:
    """It would take over entries that do not belong to it (5.3)."""
    files, store = new_log(9, OWNER)
    write(store, Compact(base(6, term=7)))
    with pytest.raises(LogDamaged, match="its base 6 has epoch 7, the entry 1"):
        open_log(files, OWNER)


@pytest.mark.parametrize(
    "records",
    [
        [Put((entry(6, term=3),)), Put((entry(7, term=2),))],
        [Put((entry(6, term=3),)), Put((entry(7, term=1),))],
        [Put((entry(6, term=3), entry(7, term=3))), Put((entry(5, term=2), entry(6, term=2)))],
        [Put((entry(9), entry(10))), Put((entry(8, term=2), entry(9)))],
    ],
)
def test_an_epoch_that_is_not_higher_is_refused_and_changes_nothing(records: list[Record]) -> None:
    files, store = new_log(8)
    put(store, 7, term=2)
    with pytest.raises(ValueError, match=r"entry \d of epoch \d put in the place of one of epoch \d"):
        store.prepare([StoreBatch(1, tuple(records))])
    assert terms_and_again(files, store) == [1] * 6 + [2, 1]


def test_the_epoch_that_a_base_has_is_no_epoch_of_a_slot() -> None:
    """Where the entries before were in segments that are gone, an entry in the place of one is taken as it is."""
    files, store = new_log(20)
    put(store, *range(3, 21), term=2)
    write(store, Compact(msgspec.structs.replace(base(15), epoch=Epoch(9, 0))))
    store.trim()
    assert numbers(files)[0] > 4
    assert terms_and_again(files, store) == [2] * 5
