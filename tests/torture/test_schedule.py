"""The plan of a torture is a function of its seed, keeps within the run, and leaves no kind of fault out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.errors import ConfigurationError
from coterie.torture.schedule import CALM_S, FAULTS, LONGEST_S, SHORTEST_S, chosen, plan

KINDS = st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, unique=True)


@given(st.integers(0, 1 << 31), st.floats(1, 600), KINDS)
def test_faults_come_in_order_within_the_run_and_not_before_the_calm(
    seed: int, seconds: float, kinds: list[str]
) -> None:
    strikes = plan(seed, seconds, kinds)
    assert [strike.at for strike in strikes] == sorted(strike.at for strike in strikes)
    for strike in strikes:
        assert strike.kind in kinds
        assert SHORTEST_S <= strike.seconds <= LONGEST_S
        assert CALM_S <= strike.at <= strike.at + strike.seconds <= seconds - CALM_S + 0.002


@given(st.integers(0, 1 << 31), KINDS)
def test_the_same_seed_plans_the_same_and_a_long_run_has_every_kind(seed: int, kinds: list[str]) -> None:
    strikes = plan(seed, 200, kinds)
    assert strikes == plan(seed, 200, kinds)
    assert {strike.kind for strike in strikes} == set(kinds)


def test_another_seed_plans_something_else() -> None:
    assert plan(1, 100, tuple(FAULTS)) != plan(2, 100, tuple(FAULTS))


def test_without_a_kind_there_is_no_fault() -> None:
    assert plan(1, 100, ()) == ()


def test_kinds_are_named_with_commas_and_a_wrong_one_is_refused() -> None:
    assert chosen(None) == tuple(FAULTS)
    assert chosen("kill, pause") == ("kill", "pause")
    with pytest.raises(ConfigurationError, match="faults 'frogs': there are kill, kill-all"):
        chosen("kill,frogs")
