"""The rules of one decree, and the roles that apply them, one law at a time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.errors import SafetyViolation
from coterie.core.multipaxos.synod import (
    Accept,
    Accepted,
    Acceptor,
    Learner,
    Nack,
    Prepare,
    Promise,
    Proposal,
    Proposer,
    may_accept,
    may_count,
    may_promise,
    next_ballot,
    refuse_contradiction,
    to_report,
    value_to_propose,
)
from coterie.core.quorum import Threshold
from coterie.core.types import NO_EPOCH, Epoch

MAJORITY = Threshold((1, 2, 3), 2)
LOW, MIDDLE, HIGH = Epoch(1, 1), Epoch(1, 2), Epoch(2, 1)

epochs = st.builds(Epoch, st.integers(0, 4), st.integers(1, 3))
reports = st.lists(st.none() | epochs.map(lambda ballot: Proposal(ballot, f"value of {ballot}")))


def proposing(value: str = "own", *told: Proposal[str] | None) -> Proposer[str]:
    """A proposer whose first ballot has the promises of members 1, 2 ..."""
    proposer, _ = Proposer(1, value).begin()
    for member, accepted in enumerate(told, 1):
        proposer, _ = proposer.on_promise(member, Promise(proposer.ballot, accepted), MAJORITY)
    return proposer


# ------------------------------------------------------------------------------------------ rules


@given(epochs, epochs, st.integers(1, 3), st.integers(1, 3))
def test_a_new_ballot_is_above_the_highest_and_nobody_elses(one: Epoch, other: Epoch, node: int, peer: int) -> None:
    ballot = next_ballot(one, node)
    assert ballot > one
    assert node == peer or ballot != next_ballot(other, peer)


@given(epochs, epochs)
def test_an_acceptor_neither_promises_nor_accepts_below_its_promise(promised: Epoch, ballot: Epoch) -> None:
    assert may_promise(promised, ballot) == may_accept(promised, ballot) == (not ballot < promised)


@given(epochs)
def test_who_promised_nothing_accepts_the_first_proposal_that_comes(ballot: Epoch) -> None:
    """P1."""
    assert may_accept(NO_EPOCH, ballot)


@given(reports)
def test_the_value_of_the_highest_ballot_reported_is_proposed_whatever_the_order(
    told: list[Proposal[str] | None],
) -> None:
    """P2c."""
    accepted = [report for report in told if report is not None]
    expected = max(accepted, key=lambda report: report.ballot).value if accepted else "own"
    assert value_to_propose(told, "own") == value_to_propose(reversed(told), "own") == expected


def test_a_value_that_most_report_gives_way_to_one_of_a_higher_ballot() -> None:
    assert value_to_propose([Proposal(LOW, "a"), Proposal(LOW, "a"), Proposal(MIDDLE, "b")], "own") == "b"


def test_an_empty_value_that_was_accepted_is_not_taken_for_none() -> None:
    assert value_to_propose([Proposal(LOW, b""), None], b"own") == b""


@pytest.mark.parametrize("above", [[], [Proposal(HIGH, "c")]], ids=["the highest ballot", "a lower ballot"])
def test_two_values_reported_of_one_ballot_are_evidence_that_names_both(above: list[Proposal[str]]) -> None:
    told = [*above, Proposal(MIDDLE, "a"), None, Proposal(MIDDLE, "b")]
    with pytest.raises(SafetyViolation, match=r"one ballot has two values: 'a' in ballot 1\.2, and 'b' in ballot 1\.2"):
        value_to_propose(told, "own")


def test_evidence_of_large_values_is_short() -> None:
    with pytest.raises(SafetyViolation) as caught:
        refuse_contradiction(Proposal(LOW, b"a" * 100_000), Proposal(LOW, b"b" * 100_000))
    assert len(str(caught.value)) < 600
    assert "keep the data directory" in caught.value.advice


def test_other_ballots_or_equal_values_do_not_contradict_each_other() -> None:
    refuse_contradiction(Proposal(LOW, "a"), Proposal(HIGH, "b"))
    refuse_contradiction(Proposal(LOW, "a"), Proposal(LOW, "a"))


def test_what_was_accepted_is_reported_as_it_is() -> None:
    assert to_report(Proposal(LOW, "a")) == Proposal(LOW, "a")
    assert to_report(None) is None


def test_an_acceptor_counts_once() -> None:
    assert may_count((1, 2), 3)
    assert not may_count((1, 2), 2)


# --------------------------------------------------------------------------------------- acceptor


def test_a_promise_reports_the_proposal_accepted_last() -> None:
    acceptor, _ = Acceptor[str]().on_accept(Accept(Proposal(LOW, "a")))
    acceptor, _ = acceptor.on_accept(Accept(Proposal(MIDDLE, "b")))
    _, answer = acceptor.on_prepare(Prepare(HIGH))
    assert answer == Promise(HIGH, Proposal(MIDDLE, "b"))


def test_a_prepare_that_comes_again_is_promised_again() -> None:
    acceptor, first = Acceptor[str]().on_prepare(Prepare(LOW))
    again, second = acceptor.on_prepare(Prepare(LOW))
    assert (again, second) == (acceptor, first)


def test_to_accept_is_to_promise() -> None:
    acceptor, _ = Acceptor[str]().on_accept(Accept(Proposal(HIGH, "a")))
    assert acceptor.on_accept(Accept(Proposal(MIDDLE, "b"))) == (acceptor, Nack(MIDDLE, HIGH))
    assert acceptor.on_prepare(Prepare(MIDDLE)) == (acceptor, Nack(MIDDLE, HIGH))


def test_a_refusal_changes_nothing_and_tells_the_higher_promise() -> None:
    acceptor: Acceptor[str] = Acceptor(HIGH, Proposal(LOW, "a"))
    assert acceptor.on_prepare(Prepare(MIDDLE)) == (acceptor, Nack(MIDDLE, HIGH))
    assert acceptor.on_accept(Accept(Proposal(MIDDLE, "b"))) == (acceptor, Nack(MIDDLE, HIGH))


# --------------------------------------------------------------------------------------- proposer


def test_a_quorum_of_promises_is_answered_with_a_proposal_and_fewer_are_not() -> None:
    proposer, prepare = Proposer(1, "own").begin()
    assert prepare == Prepare(LOW)
    proposer, nothing = proposer.on_promise(2, Promise(LOW, None), MAJORITY)
    assert nothing is None
    proposer, accept = proposer.on_promise(3, Promise(LOW, None), MAJORITY)
    assert accept == Accept(Proposal(LOW, "own"))
    assert proposer.proposal == Proposal(LOW, "own")


def test_an_acceptor_that_promises_twice_is_no_quorum() -> None:
    once = proposing("own", None)
    assert once.on_promise(1, Promise(LOW, None), MAJORITY) == (once, None)


def test_a_promise_that_comes_late_does_not_change_what_is_proposed() -> None:
    proposer = proposing("own", None, None)
    assert proposer.on_promise(3, Promise(LOW, Proposal(NO_EPOCH, "other")), MAJORITY) == (proposer, None)


@pytest.mark.parametrize("ballot", [NO_EPOCH, MIDDLE, HIGH])
def test_a_promise_of_another_ballot_does_not_count(ballot: Epoch) -> None:
    once = proposing("own", None)
    assert once.on_promise(2, Promise(ballot, None), MAJORITY) == (once, None)


def test_a_nack_is_followed_by_a_ballot_above_what_it_tells() -> None:
    proposer = proposing("own", None, None)
    again, prepare = proposer.on_nack(Nack(LOW, Epoch(7, 2)))
    assert prepare == Prepare(Epoch(8, 1))
    assert again == Proposer(1, "own", Epoch(8, 1))


def test_a_nack_of_an_older_attempt_is_void() -> None:
    proposer, _ = proposing().begin()
    assert proposer.ballot == HIGH
    assert proposer.on_nack(Nack(LOW, MIDDLE)) == (proposer, None)


def test_a_proposer_that_tries_again_never_uses_a_ballot_twice() -> None:
    proposer, ballots = Proposer(1, "own"), []
    for _ in range(4):
        proposer, prepare = proposer.begin(MIDDLE)
        ballots.append(prepare.ballot)
    assert ballots == [Epoch(2, 1), Epoch(3, 1), Epoch(4, 1), Epoch(5, 1)]


# ---------------------------------------------------------------------------------------- learner


def learner(*heard: tuple[int, Proposal[Any]]) -> Learner[Any]:
    learner: Learner[Any] = Learner()
    for member, proposal in heard:
        learner = learner.on_accepted(member, Accepted(proposal), MAJORITY)
    return learner


def test_what_a_quorum_accepted_in_one_ballot_is_learned() -> None:
    assert learner((1, Proposal(LOW, "a")), (3, Proposal(LOW, "a"))).chosen == Proposal(LOW, "a")


def test_one_acceptor_or_two_ballots_choose_nothing() -> None:
    assert learner((1, Proposal(LOW, "a")), (1, Proposal(LOW, "a"))).chosen is None
    assert learner((1, Proposal(LOW, "a")), (2, Proposal(HIGH, "a"))).chosen is None
    assert learner((1, Proposal(HIGH, "a")), (2, Proposal(LOW, "a"))).chosen is None


def test_a_learner_goes_on_with_a_higher_ballot_and_keeps_what_it_learned() -> None:
    chosen = learner((1, Proposal(LOW, "a")), (2, Proposal(LOW, "a")), (3, Proposal(HIGH, "a")))
    assert chosen.chosen == Proposal(LOW, "a")
    assert chosen.on_accepted(2, Accepted(Proposal(HIGH, "a")), MAJORITY).chosen == Proposal(LOW, "a")


def test_two_values_accepted_in_one_ballot_are_evidence() -> None:
    with pytest.raises(SafetyViolation, match=r"'a' in ballot 1\.1, and 'b' in ballot 1\.1"):
        learner((1, Proposal(LOW, "a")), (2, Proposal(LOW, "b")))


def test_a_second_value_chosen_is_evidence() -> None:
    a, b = Proposal(LOW, "a"), Proposal(HIGH, "b")
    with pytest.raises(SafetyViolation, match=r"chosen: 'a' in ballot 1\.1, and 'b' in ballot 2\.1"):
        learner((1, a), (2, a), (1, b), (2, b))
