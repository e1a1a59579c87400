"""A campaign: what its seeds run, and when it has proved nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.sim.campaign import COMPACTIONS, Plan, faults_of, idleness, medians
from coterie.sim.options import FAULTS, SECOND, choose, with_faults
from coterie.sim.verdict import Figures, Result

seeds = st.integers(0, 1 << 40)
subsets = st.frozensets(st.sampled_from(FAULTS))


@given(seeds)
def test_the_classes_that_a_seed_chooses_itself_are_what_it_runs_anyway(seed: int) -> None:
    options = choose(seed)
    assert with_faults(options, options.faults) == options


@given(seeds, subsets)
def test_a_class_is_on_with_a_strength_or_off_without_one(seed: int, faults: frozenset[str]) -> None:
    options = with_faults(choose(seed), faults)
    assert set(options.faults) == faults
    for name in ("loss", "duplicate", "reorder", "hold"):
        assert (getattr(options, f"{name}_permille") > 0) == (name in faults)
    assert options.settings.lease_reads == ("lease" in faults)
    assert (options.settings.snapshot_log_bytes < 10_000) == ("snapshot" in faults)


@given(seeds, subsets, st.sampled_from(FAULTS))
def test_to_take_one_class_away_leaves_the_others_as_they_are(seed: int, faults: frozenset[str], one: str) -> None:
    whole, less = with_faults(choose(seed), faults), with_faults(choose(seed), faults - {one})
    changed = {name for name in whole.__struct_fields__ if getattr(whole, name) != getattr(less, name)}
    assert changed <= {"faults", "settings", "delay_mean", f"{one}_permille"}
    assert ("delay_mean" in changed) <= (one == "delay")
    assert ("settings" in changed) <= (one in ("clock", "lease", "snapshot"))


@given(seeds, subsets, st.integers(1, 5), st.integers(1, 6), st.integers(1, 60_000))
def test_a_plan_of_all_that_the_command_says_is_the_same_run(
    seed: int, faults: frozenset[str], nodes: int, clients: int, milliseconds: int
) -> None:
    chosen = with_faults(choose(seed), faults)
    duration = milliseconds * SECOND // 1000
    options = msgspec.structs.replace(chosen, nodes=nodes, clients=clients, duration=duration)
    plan = Plan(nodes=nodes, clients=clients, duration=duration, faults=options.faults, protocol=options.protocol)
    assert plan.options(seed) == options


def result(seed: int, **figures: int) -> Result:
    return Result(seed=seed, figures=Figures(**figures), trace="ab")


BUSY = {"completed": 300, "elections": 3, "crashes": 2, "compactions": COMPACTIONS}


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("completed", "operations"),
        ("elections", "elections"),
        ("crashes", "crashes"),
        ("compactions", "compactions"),
    ],
)
def test_a_median_just_below_its_bound_is_idle(figure: str, said: str) -> None:
    plan = Plan(duration=30 * SECOND)
    assert idleness([result(seed, **BUSY) for seed in range(40)], plan) == []
    lazy = [result(seed, **BUSY | {figure: BUSY[figure] - 1}) for seed in range(40)]
    assert [idle.what for idle in idleness(lazy, plan)] == [said]
    assert idleness(lazy, Plan(duration=15 * SECOND)) == []


def test_where_the_caller_chose_classes_only_what_they_promise_is_asked_for() -> None:
    quiet = [result(seed, completed=300) for seed in range(40)]
    assert idleness(quiet, Plan(faults=("loss",))) == []
    assert [idle.what for idle in idleness(quiet, Plan(faults=("crash", "loss")))] == ["crashes"]


def test_runs_that_did_not_come_to_an_end_are_in_no_median() -> None:
    broken = Result(seed=1, figures=Figures(), trace="", check="exception")
    assert medians([result(2, completed=7), broken], ["completed"]) == {"completed": 7.0}
    assert medians([broken], ["completed"]) == {"completed": 0.0}


def test_faults_are_counted_by_seeds() -> None:
    plan = Plan(faults=("crash",))
    assert faults_of(range(5), plan) == {"crash": 5}
    assert faults_of(range(5), Plan(faults=())) == {}
