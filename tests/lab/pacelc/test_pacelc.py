"""Modes are classified by what they did; a mode that lies is found out."""

import msgspec
import pytest

from coterie.lab.experiment import Conditions
from coterie.lab.network.files import parse_network, read_network
from coterie.lab.pacelc import claims
from coterie.lab.pacelc.contention import contend
from coterie.lab.pacelc.experiment import members_of, pacelc
from coterie.lab.pacelc.figures import front
from coterie.lab.pacelc.latencies import measured
from coterie.lab.pacelc.modes import Mode, coterie_modes, every_mode
from coterie.lab.pacelc.partition import cut

FIVE = read_network("europe").geography
MEMBERS = [0, 1, 2, 3, 4]


@pytest.mark.thorough
@pytest.mark.slow
def test_every_claim_agrees_and_the_same_seed_is_the_same_report() -> None:
    network = read_network("zones")
    one, other = (pacelc(network, Conditions(quick=True)) for _ in range(2))
    assert one.unexplained == []
    assert one.to_json() == other.to_json()


@pytest.mark.parametrize("mode", every_mode(5), ids=lambda mode: mode.title)
def test_a_mode_is_of_the_class_that_theory_gives_it(mode: Mode) -> None:
    found = contend(mode, FIVE, MEMBERS, 0, 12, seed=1)
    torn = cut(mode, FIVE, MEMBERS, 0, seed=1)
    assert claims.measured_class(torn, found) == mode.expected


def test_a_mode_that_says_linearizable_and_reads_stale_is_found_out() -> None:
    stale = next(mode for mode in coterie_modes("raft") if mode.read_mode == "stale")
    liar = msgspec.structs.replace(stale, name="linearizable, it says", expected="PC/EC")
    contention, torn = contend(liar, FIVE, MEMBERS, 0, 12, seed=1), cut(liar, FIVE, MEMBERS, 0, seed=1)
    (claim,) = claims.classes([liar], {liar: torn}, {liar: contention})
    assert not claim.agrees
    assert "which had been overwritten" in claim.why


def test_who_is_quicker_than_the_bound_and_claims_a_linearizable_history_is_found_out() -> None:
    quick = next(mode for mode in every_mode(5) if mode.store == "dynamo-1")
    linear = coterie_modes("raft")[0]
    found = [one for mode in (linear, quick) for one in measured([mode], FIVE, MEMBERS, 0, 5, seed=1)]
    honest = {mode: contend(mode, FIVE, MEMBERS, 0, 12, seed=1) for mode in (linear, quick)}
    lying = {mode: msgspec.structs.replace(one, linearizable=True) for mode, one in honest.items()}
    assert [claim.agrees for claim in claims.lower_bound(FIVE, found, honest)] == [True, True]
    assert [claim.agrees for claim in claims.lower_bound(FIVE, found, lying)] == [False, False]


def test_a_wrong_formula_is_seen() -> None:
    found = measured([coterie_modes("raft")[0]], FIVE, MEMBERS, 0, 7, seed=1)
    assert claims.formula(FIVE, MEMBERS, found).agrees
    near = msgspec.structs.replace(FIVE, round_trip_ms=tuple(tuple(v * 0.9 for v in row) for row in FIVE.round_trip_ms))
    assert not claims.formula(near, MEMBERS, found).agrees


def test_the_front_keeps_what_nothing_beats() -> None:
    a, b, c, d = every_mode(5)[:4]
    assert front({a: (1.0, 9.0), b: (5.0, 2.0), c: (6.0, 3.0), d: (9.0, 0.0)}) == [a, b, d]


def test_members_stand_in_every_site_or_in_the_five_that_serve_best() -> None:
    assert members_of(read_network("epaxos")) == [0, 1, 2, 3, 4]
    assert len(set(members_of(read_network("aws")))) == 5
    one = parse_network('sites = ["a"]\nround_trip_ms = [[0.1]]\n', "one")
    assert members_of(one) == [0, 0, 0]
