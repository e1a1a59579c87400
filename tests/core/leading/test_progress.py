"""What a leader knows of a follower: `match` never goes back, `next` is above it, the window has bounds."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.core.config import ReplicaConfig
from coterie.core.leading.progress import Mode, Progress

CONFIG = ReplicaConfig(max_inflight_messages=3, max_inflight_bytes=20)
LARGEST = 9
"""Bytes of the largest message here: the window closes above its limit, so it may exceed it by one message."""


class ProgressMachine(RuleBasedStateMachine):
    """A leader sends, a follower answers: in time, late, twice, or with a refusal."""

    def __init__(self) -> None:
        super().__init__()
        self.last_index = 10
        self.progress = Progress(CONFIG, self.last_index + 1, 0)
        self.highest_match = 0

    @rule(count=st.integers(1, 5))
    def append(self, count: int) -> None:
        self.last_index += count

    @precondition(lambda self: self.progress.open and self.progress.next <= self.last_index)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        before, mode = self.progress.next, self.progress.mode
        last = data.draw(st.integers(before, self.last_index))
        self.progress.sent(last, data.draw(st.integers(0, LARGEST)))
        if mode is Mode.PROBE:
            assert not self.progress.open
            assert self.progress.next == before
        else:
            assert self.progress.next == last + 1

    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, self.last_index))
        news = self.progress.accepted(index)
        assert news == (index > self.highest_match)
        self.highest_match = max(self.highest_match, index)

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        index, retry = data.draw(st.integers(0, self.last_index)), data.draw(st.integers(0, self.last_index))
        before = self.progress.next
        taken = self.progress.refused(index, retry)
        assert taken == (self.highest_match < index < before)
        if taken:
            assert self.progress.mode is Mode.PROBE
            assert self.progress.open
            assert self.progress.next <= index
        else:
            assert self.progress.next == before

    @rule()
    def lose_connection(self) -> None:
        self.progress.become_probe()
        assert self.progress.mode is Mode.PROBE
        assert self.progress.open

    @invariant()
    def match_never_goes_back_and_next_is_above_it(self) -> None:
        assert self.progress.match == self.highest_match
        assert self.progress.match < self.progress.next <= self.last_index + 1

    @invariant()
    def the_window_has_bounds(self) -> None:
        progress = self.progress
        inflight = list(progress._inflight)
        assert progress._inflight_bytes == sum(size for _, size in inflight)
        assert len(inflight) <= CONFIG.max_inflight_messages
        assert progress._inflight_bytes < CONFIG.max_inflight_bytes + LARGEST
        assert all(progress.match < last < progress.next for last, _ in inflight)
        if progress.mode is Mode.PROBE:
            assert not inflight


TestProgress = ProgressMachine.TestCase
TestProgress.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_snapshot_stops_entries_and_no_late_refusal_starts_them_again() -> None:
    progress = Progress(CONFIG, 11, 0)
    progress.accepted(10)
    progress.sent(12, 3)
    progress.become_snapshot()
    assert not progress.open
    assert not progress.refused(11, 11)
    assert progress.mode is Mode.SNAPSHOT
    progress.accepted(30)
    progress.become_replicate()
    assert (progress.mode, progress.match, progress.next, progress.open) == (Mode.REPLICATE, 30, 31, True)


def replicating(match: int, following: int) -> Progress:
    progress = Progress(ReplicaConfig(), match + 1, 0)
    progress.accepted(match)
    progress.sent(following - 1, 1)
    return progress


def test_a_follower_that_forgot_for_what_it_vouches_is_sent_that_again_also_below_match() -> None:
    progress = replicating(match=9, following=13)
    assert progress.rewind(12, 3)
    assert (progress.mode, progress.next, progress.match) == (Mode.PROBE, 4, 9)


def test_one_that_forgets_twice_is_sent_it_twice() -> None:
    progress = replicating(match=9, following=13)
    assert progress.rewind(12, 3)
    progress.accepted(4)
    assert (progress.mode, progress.next) == (Mode.REPLICATE, 5)
    assert progress.rewind(4, 2)
    assert (progress.mode, progress.next) == (Mode.PROBE, 3)


def test_a_late_word_of_a_gap_that_is_filled_rewinds_nothing() -> None:
    progress = replicating(match=9, following=13)
    assert not progress.rewind(6, 3)
    assert not progress.rewind(13, 3), "what was not sent"
    assert progress.rewind(12, 10)
    assert not progress.rewind(9, 3), "the answer to another message than the one that probes"
    assert (progress.next, progress.match) == (11, 9)
