"""The explorer sees every state once, and the shortest way to a wrong one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coterie.core.errors import CoterieError
from coterie.sim.explorer import NotASymmetry, TooManyStates, explore

Jugs = tuple[int, int]
SIZES: Jugs = (5, 3)
Counters = tuple[int, ...]
ZEROS: Counters = (0, 0, 0)


def pour(jugs: Jugs) -> Iterator[tuple[str, Jugs]]:
    """A jug of five litres and one of three: fill, empty, pour over."""
    big, small = jugs
    yield "fill the big one", (SIZES[0], small)
    yield "fill the small one", (big, SIZES[1])
    yield "empty the big one", (0, small)
    yield "empty the small one", (big, 0)
    over = min(big, SIZES[1] - small)
    yield "pour the big one into the small", (big - over, small + over)
    over = min(small, SIZES[0] - big)
    yield "pour the small one into the big", (big + over, small - over)


def no_four(jugs: Jugs) -> str | None:
    return "four litres are in the big one" if jugs[0] == 4 else None


def anything(_: object) -> None:
    return None


def count(state: Counters) -> Iterator[tuple[str, Counters]]:
    """Counters, each of which goes from 0 to 3 by itself."""
    for place, number in enumerate(state):
        if number < 3:
            yield f"c{place} counts {number + 1}", (*state[:place], number + 1, *state[place + 1 :])


def in_order(state: Counters) -> Counters:
    return tuple(sorted(state))


def test_the_counterexample_is_a_shortest_way_and_reads_as_one_line_a_step() -> None:
    found = explore((0, 0), pour, no_four)
    assert str(found.counterexample).splitlines() == [
        "1. fill the big one",
        "2. pour the big one into the small",
        "3. empty the small one",
        "4. pour the big one into the small",
        "5. fill the big one",
        "6. pour the big one into the small",
        "=> four litres are in the big one",
    ]
    assert found.counterexample is not None
    assert found.counterexample.state == (4, 3)
    assert found.depth == len(found.counterexample.steps)
    assert str(found) == f"{found.states} states, {found.transitions} transitions, depth 6\n{found.counterexample}"


def test_without_a_counterexample_every_state_was_seen_once_with_all_its_steps() -> None:
    seen: list[Jugs] = []
    found = explore((0, 0), pour, seen.append)
    assert found.counterexample is None
    assert len(seen) == len(set(seen)) == found.states == 16
    assert found.transitions == 6 * found.states
    assert str(found) == f"16 states, 96 transitions, depth {found.depth}"


def test_an_initial_state_that_is_wrong_is_a_counterexample_without_steps() -> None:
    found = explore((4, 0), pour, no_four)
    assert str(found.counterexample) == "=> four litres are in the big one"
    assert (found.states, found.transitions, found.depth) == (1, 0, 0)


def test_states_that_are_alike_are_visited_once() -> None:
    assert explore(ZEROS, count, anything).states == 4**3
    merged = explore(ZEROS, count, anything, canonical=in_order)
    assert merged.states == 20  # multisets of three numbers out of four
    assert merged.depth == 9


def test_the_steps_of_a_counterexample_among_merged_states_follow_one_another() -> None:
    def no_two_ends(state: Counters) -> str | None:
        return "two are at their end" if state.count(3) == 2 else None

    state: Counters = (2, 0, 0)
    found = explore(state, count, no_two_ends, canonical=in_order).counterexample
    assert found is not None
    for step in found.steps:
        state = dict(count(state))[str(step)]
    assert state == found.state
    assert len(found.steps) == 4
    assert no_two_ends(state) == found.reason


@pytest.mark.parametrize("limit", [1, 15])
def test_more_states_than_the_limit_are_an_error_that_says_what_to_do(limit: int) -> None:
    with pytest.raises(TooManyStates, match=f"more than {limit} distinct states, at depth") as caught:
        explore((0, 0), pour, anything, limit=limit)
    assert isinstance(caught.value, CoterieError)
    assert "canonical" in caught.value.advice


def test_as_many_states_as_the_limit_are_not_too_many() -> None:
    assert explore((0, 0), pour, anything, limit=16).states == 16


def test_a_canonical_that_merges_states_with_different_futures_is_found_on_the_way_back() -> None:
    def without_the_small_one(jugs: Jugs) -> Jugs:
        return (jugs[0], 0)

    with pytest.raises(NotASymmetry, match=r"no step leads from \(\d, \d\) to a state like"):
        explore((0, 3), pour, lambda jugs: "wrong" if jugs == (2, 0) else None, canonical=without_the_small_one)


def test_an_invariant_that_tells_alike_states_apart_is_found_on_the_way_back() -> None:
    state: Counters = (1, 0)
    with pytest.raises(NotASymmetry, match="which is like it"):
        explore(state, count, lambda state: "wrong" if state == (0, 2) else None, canonical=in_order)
