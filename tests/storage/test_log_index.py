"""The sparse index against a list of all that was ever written, in the order in which it was."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.core.types import Index
from coterie.storage.log_index import MAX_REMEMBERED, NO_SEGMENT, POINT_EVERY_BYTES, LogIndex, Point

SIZES = st.sampled_from([10, POINT_EVERY_BYTES // 3, POINT_EVERY_BYTES])


class Written(NamedTuple):
    entry: Index
    segment: int


class IndexMachine(RuleBasedStateMachine):
    """A log that is written, overwritten, cut back and forgotten. Each record is a frame of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.index = LogIndex()
        self.base, self.last, self.segment = 0, 0, 1
        self.tape: list[Written] = []
        """All records; a record's place in here is the offset of its frame."""
        self.places: dict[Index, int] = {}
        """Of the entries that hold."""

    def write(self, entry: Index, size: int) -> None:
        self.places[entry] = len(self.tape)
        self.index.put(entry, self.segment, len(self.tape), 7, size)
        self.tape.append(Written(entry, self.segment))
        self.last = max(self.last, entry)

    @rule(count=st.integers(1, 5), size=SIZES)
    def append(self, count: int, size: int) -> None:
        for _ in range(count):
            self.write(self.last + 1, size)

    @precondition(lambda self: self.last > self.base)
    @rule(data=st.data(), count=st.integers(1, 8), size=SIZES)
    def overwrite(self, data: st.DataObject, count: int, size: int) -> None:
        first = data.draw(st.integers(self.base + 1, self.last))
        for entry in range(first, first + count):
            self.write(entry, size)

    @precondition(lambda self: self.tape and self.base <= self.tape[-1].entry < self.last)
    @rule(count=st.integers(1, 8), size=SIZES)
    def overwrite_what_follows(self, count: int, size: int) -> None:
        """The entries behind the one that was written last."""
        first = self.tape[-1].entry + 1
        for entry in range(first, first + count):
            self.write(entry, size)

    @precondition(lambda self: self.last > self.base)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Somebody reads up to an entry."""
        entry = data.draw(st.integers(self.base + 1, self.last))
        place = self.places[entry]
        self.index.remember(Point(entry, self.tape[place].segment, place, 7))

    @rule()
    def begin_segment(self) -> None:
        self.segment += 1
        self.index.begin_segment()

    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(self.base + 1, self.last + 1))
        self.index.truncate(first)
        self.last = first - 1
        self.tape.append(Written(0, self.segment))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        self.base = data.draw(st.integers(self.base, self.last))
        self.index.compact(self.base)

    @rule(further=st.integers(0, 4))
    def clear(self, further: int) -> None:
        self.base = self.last = self.last + further
        self.index.clear(self.base)

    @invariant()
    def reading_on_from_the_point_finds_every_entry_that_holds(self) -> None:
        for entry in range(self.base + 1, self.last + 1):
            point, following = self.index.locate(entry)
            assert following is None or following > entry
            place = self.places[entry]
            assert point.position == 7
            assert self.tape[point.frame] == (point.entry, point.segment)
            between = self.tape[point.frame : place + 1]
            assert [each.entry for each in between] == [*range(point.entry, entry + 1)]
            assert {each.segment for each in between} == {point.segment}

    @invariant()
    def the_earliest_point_is_in_the_first_segment_that_holds_what_is_needed(self) -> None:
        for entry in range(self.base + 1, self.last + 1):
            needed = [self.places[each] for each in range(entry, self.last + 1)]
            point = self.index.earliest(entry)
            assert point.segment == min(self.tape[place].segment for place in needed)
            assert point.frame <= min(needed)

    @invariant()
    def there_are_never_more_points_than_entries(self) -> None:
        assert len(self.index) <= self.last - self.base


IndexMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestIndex = IndexMachine.TestCase


def filled(count: int) -> LogIndex:
    index = LogIndex()
    for entry in range(1, count + 1):
        index.put(entry, 1, entry, 0, 100)
    return index


def test_what_was_overwritten_in_one_go_shares_points_by_its_size() -> None:
    index = filled(10_000)
    few = len(index)
    assert 10_000 * 100 / POINT_EVERY_BYTES < few < 2 * 10_000 * 100 / POINT_EVERY_BYTES
    for at, entry in enumerate(range(2_000, 8_000)):
        index.put(entry, 2, at, 0, 100)
    assert few - 2 <= len(index) <= few + 2


def test_overwriting_the_same_slots_for_ever_takes_no_more_memory() -> None:
    index = filled(1_000)
    sizes = set()
    for again in range(200):
        for entry in (500, 3, 4, 999, 1_000, 3):
            index.put(entry, 2 + again, 0, entry, 100)
        sizes.add(len(index))
    assert sizes == {1 + 7}
    index.compact(900)
    assert len(index) == 2
    index.compact(999)
    assert len(index) == 1


def test_who_reads_on_begins_where_the_last_reader_got_to() -> None:
    index = filled(600)
    start, following = index.locate(300)
    assert start.entry < 300
    index.remember(Point(300, 1, 300, 0))
    assert index.locate(301) == (Point(300, 1, 300, 0), following)
    assert index.locate(299) == (start, following)
    for entry in range(250, 290):
        index.put(entry, 2, entry, 0, 10)
    assert index.locate(300) == (Point(300, 1, 300, 0), following)
    index.truncate(300)
    index.put(300, 3, 0, 0, 10)
    assert index.locate(300) == (Point(300, 3, 0, 0), None)


def test_no_more_is_remembered_of_readers_than_the_limit_says() -> None:
    index = filled(200_000)
    for entry in range(1, 200_000, 600):
        index.remember(Point(entry, 1, entry, 0))
        assert len(index._read) <= MAX_REMEMBERED


def test_a_log_that_begins_late_says_that_what_stood_before_is_nowhere() -> None:
    index = LogIndex(4, 9)
    index.put(10, 5, 0, 0, 1)
    index.put(6, 5, 1, 0, 1)
    assert [index.locate(entry)[0].segment for entry in range(5, 11)] == [0, 5, 0, 0, 0, 5]
    assert index.earliest(10) == Point(10, 5, 0, 0)
    assert index.earliest(6).segment == NO_SEGMENT
    with pytest.raises(LookupError, match="entry 4 is before"):
        index.locate(4)


@pytest.mark.parametrize("between", ["compact", "truncate", "append", "begin_segment"])
def test_overwriting_does_not_go_on_behind_what_was_forgotten_or_written_elsewhere(between: str) -> None:
    index = filled(9)
    for entry in (4, 5):
        index.put(entry, 2, entry, 0, 10)
    segment = 2
    match between:
        case "compact":
            index.compact(5)
        case "truncate":
            index.truncate(9)
        case "append":
            index.put(10, 2, 10, 0, 10)
        case _:
            segment = 3
            index.begin_segment()
    index.put(6, segment, 6, 0, 10)
    assert index.locate(6) == (Point(6, segment, 6, 0), 7)
    assert index.locate(7)[0] == Point(1, 1, 1, 0)
