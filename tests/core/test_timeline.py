"""A timeline is a list of changes: whatever is truncated or compacted, what is in force stays known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.timeline import Timeline


@given(st.lists(st.integers(1, 40), unique=True).map(sorted), st.integers(0, 40), st.integers(0, 41))
def test_it_knows_what_is_in_force_after_compaction_and_truncation(changes: list[int], base: int, first: int) -> None:
    timeline = Timeline(0, 0)
    for index in changes:
        timeline.append(index, index)
    timeline.compact(base)
    first = max(first, base + 1)
    changed = timeline.truncate(first)
    left = [index for index in changes if index < first]
    assert changed == (left != changes)
    assert timeline.newest == max(left, default=0)
    for index in range(base, first):
        assert timeline.at(index) == max((c for c in left if c <= index), default=0)
    with pytest.raises(LookupError, match="compacted away"):
        timeline.at(base - 1)


def test_a_reset_leaves_the_snapshots_value_alone() -> None:
    timeline = Timeline(0, "a")
    timeline.append(3, "b")
    timeline.reset(9, "c")
    assert (timeline.newest, timeline.newest_index, timeline.at(9)) == ("c", 9, "c")
    with pytest.raises(LookupError):
        timeline.at(8)


changed_indexes = st.lists(st.integers(1, 20), unique=True).map(sorted)


@given(changed_indexes, changed_indexes, st.integers(1, 22), st.integers(0, 8))
def test_overwritten_entries_take_their_changes_with_them_and_leave_all_others(
    changes: list[int], new: list[int], first: int, length: int
) -> None:
    timeline = Timeline(0, "0")
    for index in changes:
        timeline.append(index, str(index))
    last = first + length
    values = [(index, f"new {index}") for index in new if first <= index <= last]
    before = dict(timeline.newest_first())
    changed = timeline.replace(first, last, values)
    expected = {index: value for index, value in before.items() if not first <= index <= last} | dict(values)
    assert dict(timeline.newest_first()) == expected
    assert [index for index, _ in timeline.newest_first()] == sorted(expected, reverse=True)
    assert changed == (expected != before)
    assert not timeline.replace(first, last, values), "the same once more changes nothing"


@given(changed_indexes, st.integers(0, 25))
def test_a_rebased_log_holds_the_snapshots_value_and_the_changes_after_it(changes: list[int], index: int) -> None:
    timeline = Timeline(0, "0")
    for each in changes:
        timeline.append(each, str(each))
    timeline.rebase(index, "snapshot")
    later = [(each, str(each)) for each in changes if each > index]
    assert list(timeline.newest_first()) == [*reversed(later), (index, "snapshot")]
    assert timeline.at(index) == "snapshot"
    with pytest.raises(LookupError):
        timeline.at(index - 1)
