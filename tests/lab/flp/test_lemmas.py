"""Valency in two ways, and the two lemmas as searches that can fail."""

from __future__ import annotations

import msgspec
import pytest

from coterie.lab.flp.lemmas import Valencies, beginnings, detour, survey, within
from coterie.lab.flp.system import System
from coterie.lab.flp.undecided import Bivalence, compare, judge, look
from coterie.lab.flp.valency import Graph, explored, futures

INPUTS = ("a", "b", None)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return explored(System(INPUTS, rounds=1))


@pytest.fixture(scope="module")
def found() -> Bivalence:
    return look(lambda done, what: None, quick=True)


def differing(found: Bivalence) -> set[str]:
    return {claim.id for claim in judge(found) if not claim.agrees}


def test_valency_is_that_of_all_configurations_that_follow(graph: Graph) -> None:
    for configuration, steps in graph.edges.items():
        after = frozenset().union(*(graph.valency[each] for _, each in steps))
        assert graph.valency[configuration] == graph.system.decided(configuration) | after


def test_each_future_is_a_schedule_that_decides_its_value(graph: Graph) -> None:
    for configuration in graph.bivalent():
        for value, schedule in futures(graph.system, configuration).items():
            assert value in graph.system.decided(graph.system.run(configuration, schedule))


def test_the_search_for_two_runs_misses_no_bivalent_configuration() -> None:
    compared, missed = compare(explored(System(INPUTS, rounds=2)))
    assert compared > 100
    assert missed == 0


def test_what_a_quorum_accepted_is_all_that_can_be_decided(graph: Graph) -> None:
    chosen = [(c, value) for c in graph.edges if (value := graph.system.chosen(c)) is not None]
    assert len(chosen) > 1000
    assert all(graph.valency[c] == {value} for c, value in chosen)


def test_lemma_2_mixed_inputs_are_bivalent_and_equal_ones_are_not() -> None:
    valencies = {each.inputs[:2]: each.valency for each in beginnings(1)}
    assert valencies == {("a", "a"): {"a"}, ("a", "b"): {"a", "b"}, ("b", "a"): {"a", "b"}, ("b", "b"): {"b"}}


def test_lemma_3_a_detour_ends_with_its_event_and_stays_bivalent() -> None:
    system = System(INPUTS)
    valencies = Valencies(system)
    configurations, flaw = within(system, 1)
    assert flaw is None
    longest = 0
    for configuration in filter(valencies.bivalent, configurations):
        for event in system.events(configuration):
            schedule = detour(valencies, configuration, event)
            assert schedule is not None
            assert schedule[-1] == event
            assert event not in schedule[:-1]
            assert len(futures(system, system.run(configuration, schedule))) == 2
            longest = max(longest, len(schedule))
    assert longest > 1, "some event alone ends bivalence, or the lemma says nothing"


def test_without_detours_lemma_3_is_not_found() -> None:
    system = System(INPUTS)
    configurations, _ = within(system, 1)
    seen = survey(system, configurations, longest=0)
    assert 0 < seen.found < seen.pairs


def test_all_claims_agree(found: Bivalence) -> None:
    assert differing(found) == set()


def test_a_protocol_that_decides_on_a_minority_makes_claims_differ(found: Bivalence) -> None:
    wrong = msgspec.structs.replace(found, beginnings=beginnings(1, quorum=1))
    assert differing(wrong) == {"bivalent-beginning", "safe-in-every-order"}


def test_a_survey_that_misses_one_pair_makes_its_claim_differ(found: Bivalence) -> None:
    fewer = msgspec.structs.replace(found.survey, found=found.survey.found - 1)
    assert differing(msgspec.structs.replace(found, survey=fewer)) == {"bivalence-can-be-kept"}


@pytest.mark.thorough
def test_an_adversary_that_may_not_delay_makes_claims_differ() -> None:
    weak = look(lambda done, what: None, quick=True, longest=0)
    assert differing(weak) == {"undecided-for-ever", "nobody-is-wronged"}


def test_an_adversary_that_needs_no_delay_would_make_its_claim_differ(found: Bivalence) -> None:
    strong = msgspec.structs.replace(found, weaker={0: found.walk})
    assert differing(strong) == {"delay-is-the-weapon"}
