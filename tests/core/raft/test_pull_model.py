"""Every order of events around a pull, with the shipped members: what was committed stays. Without the rules it does
not, and the shortest way there is told."""

from __future__ import annotations

import pytest
from tests.core.raft.pull_model import Group, Start, State
from tests.core.raft.pull_rules import Forgetful, Greedy, Hasty, Impatient, Old, Rules

from coterie.core.types import Epoch
from coterie.sim.explorer import explore

CONFLICT = (Start((1,), 1), Start((), 2), Start((2,), 2))
"""n1 led epoch 1 and wrote an entry for itself, n3 led epoch 2 and did the same."""
SAME = (Start((1,), 2), Start((), 2), Start((2,), 2))
"""The same, and n1 knows of epoch 2."""
BEHIND = (Start((), 2), Start((), 2), Start((2,), 2))
"""n3 led epoch 2 and wrote an entry for itself."""


@pytest.mark.slow
def test_what_is_committed_stays_and_no_log_is_newer_than_its_epoch() -> None:
    group = Group(CONFLICT, rounds=3, length=3)
    seen = explore(group.initial, group.successors, group.laws)
    assert seen.counterexample is None, str(seen)
    assert seen.states > 5000


@pytest.mark.slow
@pytest.mark.parametrize("start", [BEHIND, SAME], ids=["behind", "same"])
def test_it_stays_over_a_crash_at_any_moment_and_in_the_middle_of_a_batch(start: tuple[Start, ...]) -> None:
    group = Group(start, rounds=3, length=3, requests=1, crashes=1)
    seen = explore(group.initial, group.successors, group.laws)
    assert seen.counterexample is None, str(seen)
    assert seen.states > 10_000


def test_who_pulled_leads_and_commits_what_it_pulled() -> None:
    """A system in which nothing happens keeps every law."""
    group = Group(CONFLICT, rounds=3, length=3)

    def not_yet(state: State) -> str | None:
        first = group.seat(state.seats[0])
        pulled = first.log()[1:2] == (Epoch(2, 0),) and first.replica.leader == 1
        return "it does" if pulled and first.replica.commit >= 3 else None

    seen = explore(group.initial, group.successors, not_yet)
    assert seen.counterexample is not None
    steps = [str(step) for step in seen.counterexample.steps]
    assert any("pulls" in step for step in steps), steps


def test_a_chunk_that_comes_after_a_leader_was_heard_would_erase_what_was_acknowledged() -> None:
    group = Group(BEHIND, rules=Rules(Forgetful, Greedy), rounds=3, length=3)
    seen = explore(group.initial, group.successors, group.committed_stays)
    assert seen.counterexample is not None
    assert len(seen.counterexample.steps) == 6, str(seen)
    assert "committed" in seen.counterexample.reason


@pytest.mark.slow
def test_a_newer_log_that_contradicts_the_present_leaders_would_erase_what_was_acknowledged_to_it() -> None:
    """n3's entry of epoch 2 is newer than n1's of epoch 1, which n1 sends as the leader of epoch 3."""
    group = Group(SAME, rules=Rules(Impatient, Hasty), rounds=3, length=3, requests=1, crashes=1)
    seen = explore(group.initial, group.successors, group.laws)
    assert seen.counterexample is not None, str(seen)
    assert "n2 acknowledged 2 entries to n1, and lost some" in seen.counterexample.reason, str(seen)


@pytest.mark.slow
def test_without_a_comparison_at_the_taking_a_crash_is_enough() -> None:
    """Who crashes does not remember that it heard a leader, nor how far it had counted its questions."""
    group = Group(BEHIND, rules=Rules(Impatient, Greedy), rounds=3, length=3, requests=1, crashes=1)
    seen = explore(group.initial, group.successors, group.committed_stays)
    assert seen.counterexample is not None, str(seen)
    assert any("crashes" in str(step) for step in seen.counterexample.steps)


def test_unless_the_epoch_is_raised_a_log_is_newer_than_its_members_epoch() -> None:
    group = Group(CONFLICT, rules=Rules(Old, Hasty), rounds=3, length=3)
    seen = explore(group.initial, group.successors, group.laws)
    assert seen.counterexample is not None
    assert "n1 is in epoch 1, and its entries are of" in seen.counterexample.reason, str(seen)
