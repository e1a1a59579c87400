"""Cluster time is never more than the time that passed, each nanosecond counts once, and an entry's is its own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coterie.core.config import ReplicaConfig
from coterie.core.leading.confirmation import GAP_IN_HEARTBEATS, Confirmation
from coterie.core.leading.progress import Progress
from coterie.core.quorum import Threshold

HEARTBEAT = 100
BEGAN = 5000
ELECTED = 5300
OWN = 1
VOTERS = (1, 2, 3, 4, 5)
QUORUM = Threshold(VOTERS, 3)


class ConfirmationMachine(RuleBasedStateMachine):
    """Rounds begin, members answer in any order, entries take the credit."""

    def __init__(self) -> None:
        super().__init__()
        self.now = ELECTED
        self.confirmation = Confirmation(OWN, BEGAN, ELECTED, HEARTBEAT)
        self.progress = {member: Progress(ReplicaConfig(), 1, 0) for member in VOTERS if member != OWN}
        self.starts = {0: BEGAN}
        self.taken = 0
        self.entries: list[int] = []
        """When they were appended."""
        self.confirmed_before = 0

    @rule(passed=st.integers(0, 10 * HEARTBEAT))
    def time_passes(self, passed: int) -> None:
        self.now += passed

    @rule()
    def begin(self) -> None:
        number = self.confirmation.begin(self.now)
        assert number == len(self.starts)
        self.starts[number] = self.now

    @rule(member=st.sampled_from(VOTERS[1:]), data=st.data())
    def answer(self, member: int, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.confirmation.round))
        progress = self.progress[member]
        progress.acked_round = max(progress.acked_round, number)
        before = self.confirmation.confirmed_round
        news = self.confirmation.update(self.progress, QUORUM)
        assert news == (self.confirmation.confirmed_round > before)

    @rule()
    def an_entry_takes_all_time_up_to_its_own(self) -> None:
        before = self.taken
        self.taken += self.confirmation.take_time(self.now)
        assert self.confirmation.credit == 0
        if self.entries and self.now - self.entries[-1] <= GAP_IN_HEARTBEATS * HEARTBEAT:
            assert self.taken - before == self.now - self.entries[-1]
        self.entries.append(self.now)

    @invariant()
    def a_round_is_confirmed_when_a_quorum_has_answered_it(self) -> None:
        confirmed = self.confirmation.confirmed_round
        answered = [OWN, *(m for m, p in self.progress.items() if p.acked_round >= confirmed)]
        more = [OWN, *(m for m, p in self.progress.items() if p.acked_round > confirmed)]
        assert QUORUM.reached(answered)
        assert confirmed == self.confirmation.round or not QUORUM.reached(more)
        assert self.confirmation.confirmed_at == self.starts[confirmed]
        assert confirmed >= self.confirmed_before
        self.confirmed_before = confirmed

    @invariant()
    def time_is_what_passed_between_entries_and_confirmed_rounds_counted_once(self) -> None:
        longest = GAP_IN_HEARTBEATS * HEARTBEAT
        counted = self.taken + self.confirmation.credit
        latest = max([ELECTED, self.confirmation.confirmed_at, *self.entries])
        assert counted <= latest - ELECTED <= self.now - ELECTED
        confirmed = [self.starts[number] for number in range(1, self.confirmation.confirmed_round + 1)]
        moments = sorted({ELECTED, *confirmed, *self.entries})
        assert counted <= sum(min(later - earlier, longest) for earlier, later in pairwise(moments))


TestConfirmation = ConfirmationMachine.TestCase
TestConfirmation.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_round_of_a_single_voter_is_confirmed_at_once() -> None:
    confirmation = Confirmation(OWN, 0, 20, HEARTBEAT)
    confirmation.begin(70)
    assert confirmation.update({}, Threshold((OWN,), 1))
    assert (confirmation.confirmed_round, confirmation.confirmed_at, confirmation.credit) == (1, 70, 50)
