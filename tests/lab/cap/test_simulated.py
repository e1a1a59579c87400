"""The theorem's table in the simulated world, and that a mode which lies, or has both, would be seen."""

import msgspec
import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.cap.experiment import claim_of_proof, claims_of, report
from coterie.lab.cap.proof import Proof, narrated, prove
from coterie.lab.cap.sides import LEASE, LINEARIZABLE, MAJORITY, MINORITY, READS, SIDES, STALE, Mode, Row, Side
from coterie.lab.cap.simulated import partition

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@protocols
@pytest.mark.parametrize("leader", SIDES)
@pytest.mark.parametrize("mode", READS, ids=lambda mode: mode.name)
def test_each_mode_gives_up_what_is_said_of_it_and_nothing_else(protocol: str, leader: str, mode: Mode) -> None:
    read, written = partition(protocol, 1, mode, leader)
    assert read.as_expected, read
    assert written.as_expected, written
    assert read.gives_up == ("A" if mode.consistent else "C")
    assert bool(read.violation) is not mode.consistent
    refused = next((side.refusal for side in read.sides if side.refusal), "")
    assert bool(refused) is mode.consistent


@protocols
def test_a_leader_that_is_cut_off_answers_by_its_lease_for_less_than_that(protocol: str) -> None:
    read, _ = partition(protocol, 1, LEASE, MINORITY)
    alone = read.sides[1]
    assert 0 < alone.answered < alone.asked
    assert alone.last_answer_ms < 1000
    assert read.consistent


@protocols
def test_stale_reads_that_pass_for_linearizable_ones_are_found_out(protocol: str) -> None:
    read, _ = partition(protocol, 1, LINEARIZABLE, MAJORITY, read_as="stale")
    assert not read.as_expected
    assert read.gives_up == "C"
    assert not all(claim.agrees for claim in claims_of([read]))


def test_a_mode_that_gave_up_nothing_would_refute_the_theorem() -> None:
    both = Row("simulated", "raft", MINORITY, LINEARIZABLE, (Side(3, 3), Side(3, 3)), True, 9, "")
    assert both.gives_up == "nothing"
    first = next(iter(claims_of([both])))
    assert (first.id, first.agrees) == ("no-mode-is-consistent-and-available", False)
    assert not next(iter(claims_of([]))).agrees


def test_an_answer_at_first_is_no_availability_and_neither_is_none() -> None:
    side = Side()
    assert side.available == "no"
    side.count(answered=True, at_ms=3.0, refusal="")
    assert side.available == "yes"
    side.count(answered=False, at_ms=9.0, refusal="no leader")
    assert (side.available, side.last_answer_ms, side.refusal) == ("at first", 3.0, "no leader")


@protocols
def test_the_proofs_scenario_ends_in_a_wrong_answer_or_in_none(protocol: str) -> None:
    stale, linearizable = prove(protocol, 1, "stale"), prove(protocol, 1, "linearizable")
    assert claim_of_proof(stale).agrees
    assert claim_of_proof(linearizable).agrees
    assert (stale.violated, stale.read_ended) == (True, True)
    assert (linearizable.violated, linearizable.read_ended) == (False, False)
    assert "gave up C" in narrated(stale)
    assert "no leader was found in time" in narrated(linearizable)


def test_a_scenario_in_which_the_other_side_hears_something_is_not_the_proofs() -> None:
    proof = prove(PROTOCOLS[0], 1, "stale")
    heard = msgspec.structs.replace(proof, both=msgspec.structs.replace(proof.both, received=1))
    assert not claim_of_proof(heard).agrees
    assert "IT CAN TELL" in narrated(heard)
    unwritten = Proof(proof.protocol, "stale", proof.alone_read, proof.alone_read, proof.alone_read)
    assert not claim_of_proof(unwritten).agrees


def test_a_report_says_where_there_were_no_namespaces() -> None:
    read, written = partition(PROTOCOLS[0], 1, STALE, MINORITY)
    found = report(1, [read, written], [], "network namespaces need root")
    assert "network namespaces need root" in found.summary
    assert found.to_json()["namespaces"] is False
