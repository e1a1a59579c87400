"""Coterie's ways to read give the models that the page says, and one that lies is found out."""

import msgspec
import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.models.claims import claim_of
from coterie.lab.models.drift import BEYOND_PERMILLE, WITHIN_PERMILLE, reads_of_a_leader_cut_off
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
    for seed in (1000, 1001):
        trial(way, protocol, seed, measured)
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
