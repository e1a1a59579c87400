"""A commit index leaves with the next entry, or alone; the closer entries follow, the longer one is waited for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coterie.core.leading.commit_notice import LONGEST_PATIENCE, CommitNotice

DELAY = 1000


def test_with_no_entries_to_wait_for_it_is_due_after_the_delay_and_taken_once() -> None:
    notice = CommitNotice(DELAY)
    notice.appended(0)
    notice.wait(50)
    assert notice.due == 50 + DELAY
    assert not notice.take(49 + DELAY)
    assert notice.take(50 + DELAY)
    assert not notice.take(51 + DELAY)


def test_who_waits_for_it_is_told_at_once_whatever_was_to_come() -> None:
    notice = CommitNotice(DELAY)
    notice.wait(10)
    notice.hurry(20)
    notice.wait(30)
    assert notice.due == 20


def test_while_entries_follow_closely_it_leaves_time_for_twice_their_distance() -> None:
    notice = CommitNotice(DELAY)
    notice.appended(0)
    notice.appended(1800)
    notice.wait(2000)
    assert notice.due == 2000 + 3600


@given(st.lists(st.integers(0, 10 * DELAY), max_size=20), st.integers(0, 10**6))
def test_it_never_waits_shorter_than_the_delay_nor_longer_than_its_patience(gaps: list[int], later: int) -> None:
    notice = CommitNotice(DELAY)
    now = 0
    for gap in gaps:
        now += gap
        notice.appended(now)
    now += later
    notice.wait(now)
    assert notice.due is not None
    assert DELAY <= notice.due - now <= LONGEST_PATIENCE * DELAY
