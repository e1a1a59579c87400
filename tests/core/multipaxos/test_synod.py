"""One decree, in every order of events: with its rules one value is chosen, and without any one of them, two."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pytest
from tests.core.multipaxos.synod_model import QUICK, Disk, Model, Seen, State

from coterie.core.multipaxos.synod import (
    RULES,
    Accepted,
    Acceptor,
    Promise,
    Proposal,
)
from coterie.core.quorum import Quorum, Threshold
from coterie.core.types import NO_EPOCH, Epoch, MemberId
from coterie.sim.explorer import Exploration, explore

Report = Proposal[Any] | None

THREE, FOUR = (1, 2, 3), (1, 2, 3, 4)


def run(model: Model) -> Exploration[State]:
    """Everything, held to every law."""
    exploration = explore(model.initial, model.successors, model.laws, canonical=model.canonical)
    print(exploration)
    return exploration


# ------------------------------------------------------------------------- with all of the rules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "floor"),
    [
        pytest.param({"rounds": (2, 2)}, 37_000, id="two rounds each"),
        pytest.param({"rounds": (3, 1)}, 36_000, id="three rounds against one"),
        pytest.param({"rounds": (2, 1), "disk": Disk(slow=True)}, 100_000, id="slow disks and crashes"),
        pytest.param(
            {"phase_1": Threshold(THREE, 3), "phase_2": Threshold(THREE, 1)},
            29_000,
            id="all promise, one accepts",
        ),
        pytest.param(
            {"acceptors": 4, "rounds": (2, 1), "phase_1": Threshold(FOUR, 3), "phase_2": Threshold(FOUR, 2)},
            19_000,
            id="three of four promise, two accept",
        ),
        pytest.param(
            {"acceptors": 4, "rounds": (2, 1), "phase_1": Threshold(FOUR, 2), "phase_2": Threshold(FOUR, 3)},
            15_000,
            id="two of four promise, three accept",
        ),
    ],
)
def test_whatever_happens_one_proposed_value_is_chosen_and_nothing_else_is_learned(
    model: dict[str, Any], floor: int
) -> None:
    exploration = run(Model(**model))
    assert exploration.counterexample is None
    assert exploration.states >= floor


def test_either_value_can_be_chosen() -> None:
    def how(value: str) -> str:
        model = Model(rounds=(1, 1))

        def held(state: State) -> str | None:
            reason = model.indecision(state)
            return reason if reason and f"'{value}'" in reason else None

        found = explore(model.initial, model.successors, held, canonical=model.canonical)
        return "" if found.counterexample is None else found.counterexample.reason

    assert how("a").startswith("chosen: 'a' in ballot 1.1 by n")
    assert how("b").startswith("chosen: 'b' in ballot 1.2 by n")


@pytest.mark.slow
def test_acceptors_that_change_places_are_the_only_states_that_are_merged() -> None:
    model, seen = Model(rounds=(1, 1)), set()

    def note(state: State) -> str | None:
        seen.add(model.canonical(state))
        return model.laws(state)

    every = explore(model.initial, model.successors, note)
    merged = run(model)
    assert merged.states == len(seen) < every.states <= 6 * merged.states
    assert merged.depth == every.depth


# ---------------------------------------------------------------------- without one of the rules


class CountsMessages(NamedTuple):
    """So many answers, whoever gave them."""

    size: int

    def reached(self, votes: Collection[MemberId]) -> bool:
        return len(votes) >= self.size

    def agreed(self, values: Mapping[MemberId, int]) -> int:
        raise NotImplementedError


class Impatient:
    """Whatever came is enough."""

    def reached(self, votes: Collection[MemberId]) -> bool:
        return True

    def agreed(self, values: Mapping[MemberId, int]) -> int:
        raise NotImplementedError


def always(*_: object) -> bool:
    return True


def nothing(_: Report) -> Report:
    return None


def ballot_without_owner(highest: Epoch, node: MemberId) -> Epoch:
    return Epoch(highest.round + 1, 0)


def same_ballot_again(highest: Epoch, node: MemberId) -> Epoch:
    return Epoch(max(highest.round, 1), node)


def own_value(_: Iterable[Report], own: str) -> str:
    return own


def lowest_value(reports: Iterable[Report], own: str) -> str:
    told = [report for report in reports if report is not None]
    return str(min(told, key=lambda report: report.ballot).value) if told else own


def latest_value(reports: Iterable[Report], own: str) -> str:
    told = [report for report in reports if report is not None]
    return str(told[-1].value) if told else own


def without_promise(durable: Seen) -> Seen:
    return Acceptor(NO_EPOCH if durable.accepted is None else durable.accepted.ballot, durable.accepted)


def without_accepted(durable: Seen) -> Seen:
    return Acceptor(durable.promised, None)


def broken(
    name: str,
    *,
    acceptors: int = 3,
    rounds: tuple[int, int] = (1, 1),
    phase_1: Quorum | None = None,
    phase_2: Quorum | None = None,
    disk: Disk = QUICK,
    **rules: Any,
) -> Any:
    """A model in which one thing is not as it should be."""
    replaced = RULES._replace(**rules)
    model = Model(acceptors=acceptors, rounds=rounds, rules=replaced, phase_1=phase_1, phase_2=phase_2, disk=disk)
    return pytest.param(model, id=name)


BROKEN = [
    broken("two proposers share a ballot", next_ballot=ballot_without_owner),
    broken("a proposer uses its ballot again", next_ballot=same_ballot_again),
    broken("an acceptor promises a lower ballot, and forgets the higher", may_promise=always),
    broken("an acceptor accepts below its promise", may_accept=always),
    broken("a promise omits what was accepted", to_report=nothing),
    broken("a proposer ignores what was reported", value_to_propose=own_value),
    broken("a proposer takes the value of the lowest ballot", rounds=(2, 1), value_to_propose=lowest_value),
    broken("a proposer takes the value that arrived last", rounds=(2, 1), value_to_propose=latest_value),
    broken("a proposer does not wait for a quorum of promises", phase_1=Impatient()),
    broken("a quorum that accepts is less than a majority", phase_2=Threshold(THREE, 1)),
    broken("half of the acceptors are a quorum", acceptors=4, phase_1=Threshold(FOUR, 2), phase_2=Threshold(FOUR, 2)),
    broken("an acceptor that promises twice counts twice", phase_1=CountsMessages(2), may_count=always),
    broken("a restart forgets a promise", disk=Disk(recover=without_promise)),
    broken("a restart forgets what was accepted", disk=Disk(recover=without_accepted)),
    broken("a promise leaves before it is durable", disk=Disk(slow=True, early=(Promise,))),
    broken("an acceptance leaves before it is durable", disk=Disk(slow=True, early=(Accepted,))),
]

STEP = re.compile(
    r" ?\d+\. (p\d prepares ballot|p\d gets the promise of n\d, with|n\d promises ballot|n\d accepts '[ab]' in ballot"
    r"|n\d refuses ballot|n\d syncs its disk|n\d crashes and restarts: promised) ?.*"
)
END = re.compile(r"=> two values are chosen: 'a' in ballot [\d.]+ by n\d.*, and 'b' in ballot [\d.]+ by n\d.*")


@pytest.mark.slow
@pytest.mark.parametrize("model", BROKEN)
def test_without_one_rule_two_values_are_chosen_and_the_way_there_can_be_read(model: Model) -> None:
    found = explore(model.initial, model.successors, model.agreement, canonical=model.canonical).counterexample
    assert found is not None
    *steps, end = str(found).splitlines()
    print(found)
    assert len(steps) == len(found.steps) <= 20
    assert all(STEP.fullmatch(step) for step in steps)
    assert END.fullmatch(end)
    assert model.agreement(found.state) == found.reason


def test_a_proposer_that_ignores_reports_overrules_what_is_chosen_step_by_step() -> None:
    model = Model(rounds=(1, 1), rules=RULES._replace(value_to_propose=own_value))
    found = explore(model.initial, model.successors, model.agreement, canonical=model.canonical).counterexample
    assert str(found).splitlines() == [
        " 1. p1 prepares ballot 1.1",
        " 2. p2 prepares ballot 1.2",
        " 3. n1 promises ballot 1.1 to p1, with nothing accepted",
        " 4. p1 gets the promise of n1, with nothing accepted",
        " 5. n2 promises ballot 1.1 to p1, with nothing accepted",
        " 6. p1 gets the promise of n2, with nothing accepted, and asks to accept 'a' in ballot 1.1",
        " 7. n3 accepts 'a' in ballot 1.1",
        " 8. n1 accepts 'a' in ballot 1.1",
        " 9. n2 promises ballot 1.2 to p2, with nothing accepted",
        "10. p2 gets the promise of n2, with nothing accepted",
        "11. n1 promises ballot 1.2 to p2, with 'a' in ballot 1.1",
        "12. p2 gets the promise of n1, with 'a' in ballot 1.1, and asks to accept 'b' in ballot 1.2",
        "13. n2 accepts 'b' in ballot 1.2",
        "14. n3 accepts 'b' in ballot 1.2",
        "=> two values are chosen: 'a' in ballot 1.1 by n1, n3, and 'b' in ballot 1.2 by n2, n3",
    ]


def test_a_learner_that_counts_an_acceptor_twice_learns_what_is_not_chosen() -> None:
    model = Model(rounds=(1, 1), phase_2=CountsMessages(2), rules=RULES._replace(may_count=always))
    found = explore(model.initial, model.successors, model.validity, canonical=model.canonical).counterexample
    assert found is not None
    assert found.reason == "a learner learns 'a' in ballot 1.1, which is not chosen"


def test_a_proposer_that_hears_two_values_in_one_ballot_halts_with_both_as_evidence() -> None:
    model = Model(rules=RULES._replace(next_ballot=ballot_without_owner))
    found = explore(model.initial, model.successors, model.alarm, canonical=model.canonical).counterexample
    assert found is not None
    assert re.search(r"p\d halts: one ballot has two values: '[ab]' in ballot 1, and '[ab]' in ballot 1$", str(found))
