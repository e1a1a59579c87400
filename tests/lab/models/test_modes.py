"""Coterie's ways to read give the models that the page says, and one that lies is found out."""

import msgspec
import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.models.atomic import TRANSACTING, Transacted, Transacting, proves_serializable
from coterie.lab.models.atomic import trial as transact
from coterie.lab.models.claims import claim_of, claim_of_transactions
from coterie.lab.models.drift import BEYOND_PERMILLE, WITHIN_PERMILLE, reads_of_a_leader_cut_off
from coterie.lab.models.experiment import MOST_TRIALS, QUICK_TRIALS
from coterie.lab.models.modes import WAYS, Measured, Way, trial
from coterie.lab.models.order import proves_sequential
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.visitors import Visitor

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)
BY_NAME = {way.name: way for way in WAYS}


@protocols
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_way_to_read_gives_what_is_said_of_it(way: Way, protocol: str) -> None:
    measured = Measured(way, protocol)
    while measured.trials < QUICK_TRIALS or (measured.unseen and measured.trials < MOST_TRIALS):
        trial(way, protocol, 1000 + measured.trials, measured)
    claim = claim_of(measured)
    assert claim.agrees, claim


@protocols
def test_a_session_that_forgets_what_it_saw_is_found_out(protocol: str) -> None:
    def forget(visitor: Visitor) -> None:
        visitor.seen = 0

    measured = Measured(BY_NAME["session reads"], protocol)
    trial(BY_NAME["session reads"], protocol, 1000, measured, loosen=forget)
    claim = claim_of(measured)
    assert not claim.agrees
    assert "read-your-writes" in claim.why
    assert measured.examples["read-your-writes"].operations


@protocols
def test_stale_reads_that_call_themselves_linearizable_are_found_out(protocol: str) -> None:
    liar = msgspec.structs.replace(BY_NAME["linearizable reads"], mode="stale")
    measured = Measured(liar, protocol)
    trial(liar, protocol, 1000, measured)
    assert not claim_of(measured).agrees


@protocols
def test_lease_reads_are_stale_beyond_the_bound_of_the_clocks_and_only_there(protocol: str) -> None:
    within = reads_of_a_leader_cut_off(protocol, 1, WITHIN_PERMILLE)
    beyond = reads_of_a_leader_cut_off(protocol, 1, BEYOND_PERMILLE)
    assert (within.linearizable, within.stale) == (True, 0)
    assert not beyond.linearizable
    assert beyond.stale > 0
    assert within.alone > 0
    assert "not linearizable" in beyond.example


@protocols
@pytest.mark.parametrize("how", TRANSACTING, ids=lambda how: how.name)
def test_transactions_are_strict_or_serializable_as_the_mode_of_reading_has_it(how: Transacting, protocol: str) -> None:
    transacted = Transacted(how, protocol)
    for seed in (1000, 1001):
        transact(how, protocol, seed, transacted)
    claim = claim_of_transactions(transacted)
    assert claim.agrees, claim


def test_transactions_that_read_stale_state_and_call_it_linearizable_are_found_out() -> None:
    transacted = Transacted(TRANSACTING[0], PROTOCOLS[0])
    transact(TRANSACTING[0], PROTOCOLS[0], 1000, transacted, mode="stale")
    assert not claim_of_transactions(transacted).agrees
    assert transacted.example is not None


def transaction(
    revision: int, *parts: tuple[str, str, str | None], changed: tuple[int, ...] = (), known: bool = True
) -> Call:
    outcome = Outcome.OK if known else Outcome.UNKNOWN
    seen = changed or (0,) * len(parts)
    return Call(1, 1, "txn", "", None, "", 0, outcome=outcome, revision=revision, parts=parts, parts_changed=seen)


def test_half_of_a_transaction_is_not_serializable_and_one_of_unknown_outcome_happens_once() -> None:
    both = transaction(2, ("w", "x", "a"), ("w", "y", "a"))
    assert proves_serializable([both, transaction(2, ("r", "x", "a"), ("r", "y", "a"))])
    assert not proves_serializable([both, transaction(2, ("r", "x", "a"), ("r", "y", None))])
    unknown = transaction(0, ("w", "x", "b"), ("w", "y", "b"), known=False)
    over, seen = transaction(4, ("w", "y", "c")), transaction(4, ("r", "x", "b"), ("r", "y", "c"), changed=(3, 4))
    again = transaction(5, ("r", "x", "b"), ("r", "y", "b"), changed=(3, 3))
    assert proves_serializable([both, unknown, over, seen])
    assert not proves_serializable([both, unknown, over, seen, again])
    assert not proves_serializable([both, over, seen])


def call(client: int, f: str, value: str | None, revision: int, *, changed: int = 0, known: bool = True) -> Call:
    outcome = Outcome.OK if known else Outcome.UNKNOWN
    return Call(client, 1, f, "x", value, "", 0, outcome=outcome, revision=revision, changed=changed)


def test_an_order_of_revisions_proves_a_history_only_if_it_keeps_each_processes_order_and_every_answer() -> None:
    write, unknown = call(1, "write", "a", 1), call(3, "write", "b", 0, known=False)
    assert proves_sequential([write, call(2, "read", None, 0), call(2, "read", "a", 1, changed=1)])
    assert not proves_sequential([write, call(2, "read", "a", 1, changed=1), call(2, "read", None, 0)])
    assert not proves_sequential([write, call(2, "read", "b", 1, changed=1)])
    assert proves_sequential([write, unknown, call(2, "read", "b", 2, changed=2)])
    assert not proves_sequential([write, call(3, "read", "b", 2, changed=2), unknown])
