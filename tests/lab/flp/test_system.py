"""The synod as the paper models a protocol: what an event does, and which configurations are one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.multipaxos.synod import RULES
from coterie.lab.flp.system import Configuration, System
from coterie.lab.flp.valency import explored

INPUTS = ("a", "b", None)


def wander(system: System, dice: random.Random, steps: int) -> Configuration:
    here = system.initial
    for _ in range(steps):
        if not here.letters:
            break
        here = system.apply(here, dice.choice(here.letters))
    return here


def test_alone_a_proposer_decides_its_own_value_in_the_first_ballot() -> None:
    system = System(("a", None, None))
    here = system.initial
    while here.letters:
        here = system.apply(here, here.letters[0])
    assert system.decided(here) == {"a"}
    assert system.chosen(here) == "a"
    assert system.highest(here) == 1


def test_an_event_takes_its_letter_from_the_buffer_and_changes_its_receiver_alone() -> None:
    system = System(INPUTS)
    dice = random.Random(5)
    here = system.initial
    for _ in range(200):
        event = dice.choice(here.letters)
        after = system.apply(here, event)
        place = system.letter(event).to - 1
        changed = [n for n, (x, y) in enumerate(zip(here.processes, after.processes, strict=True)) if x != y]
        assert changed in ([], [place])
        kept = list(here.letters)
        kept.remove(event)
        assert list(after.letters[: len(kept)]) == kept
        here = after if after.letters else system.initial


@given(st.integers(0, 10_000), st.integers(0, 60))
def test_events_at_different_processes_commute(seed: int, steps: int) -> None:
    """Lemma 1 of the paper."""
    system = System(INPUTS)
    here = wander(system, random.Random(seed), steps)
    events = list(system.events(here))
    for one in events:
        for other in events:
            if system.letter(one).to != system.letter(other).to:
                there = system.canonical(system.run(here, (one, other)))
                assert there == system.canonical(system.run(here, (other, one)))


@given(st.integers(0, 10_000), st.integers(0, 60))
def test_what_is_left_out_of_a_canonical_configuration_changes_nothing_when_it_arrives(seed: int, steps: int) -> None:
    system = System(INPUTS)
    here = wander(system, random.Random(seed), steps)
    alive = system.canonical(here)
    for event in system.events(here):
        after = system.canonical(system.apply(here, event))
        assert after == (system.canonical(system.apply(alive, event)) if event in alive.letters else alive)


def test_every_configuration_keeps_agreement_and_validity_and_can_still_decide() -> None:
    graph = explored(System(INPUTS, rounds=1))
    assert graph.exploration.counterexample is None
    assert graph.exploration.states == len(graph.edges) > 5000
    assert "" not in graph.count()


def test_a_quorum_of_one_breaks_agreement_and_the_way_there_is_shown() -> None:
    graph = explored(System(INPUTS, rounds=1, quorum=1))
    assert graph.exploration.counterexample is not None
    assert "agreement" in graph.exploration.counterexample.reason


@pytest.mark.parametrize(
    "rules",
    [
        RULES._replace(may_accept=lambda promised, ballot: True),
        RULES._replace(to_report=lambda accepted: None),
        RULES._replace(value_to_propose=lambda reports, own: own),
    ],
    ids=["accepts below its promise", "reports nothing", "proposes its own value always"],
)
def test_without_a_rule_of_the_synod_two_values_are_decided(rules: object) -> None:
    graph = explored(System(INPUTS, rounds=2, rules=rules))  # type: ignore[arg-type]  # lambdas stand for typed rules
    assert graph.exploration.counterexample is not None


def test_who_may_not_try_begins_no_ballot() -> None:
    system = System(INPUTS, may_try=lambda process: process == 2)
    here = system.initial
    while here.letters:
        here = system.apply(here, here.letters[0])
    assert system.decided(here) == {"b"}
