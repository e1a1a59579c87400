"""A detector that names one ends every run; one that names nobody, or everybody, does not."""

from __future__ import annotations

import random

import msgspec
import pytest

from coterie.lab.flp.adversary import Walk, walk
from coterie.lab.flp.decided import Ending, judge, look, only_leader
from coterie.lab.flp.oracle import draw_runs, settle
from coterie.lab.flp.system import System
from coterie.sim.explorer import TooManyStates

INPUTS = ("a", "b", None)


@pytest.fixture(scope="module")
def walked() -> Walk:
    return walk(System(INPUTS))


@pytest.fixture(scope="module")
def found(walked: Walk) -> Ending:
    return look(walked, random.Random(1), lambda done, what: None, quick=True)


def differing(found: Ending) -> set[str]:
    return {claim.id for claim in judge(found) if not claim.agrees}


@pytest.mark.parametrize("leader", [1, 2])
def test_once_one_is_named_every_run_decides_whoever_else_crashes(walked: Walk, leader: int) -> None:
    assert walked.repeats_from is not None
    after = only_leader(walked, walked.repeats_from, leader)
    assert after.longest is not None
    assert (after.undecided, after.wrong) == (0, None)
    assert after.values == {"a", "b"}


def test_the_claims_agree(found: Ending) -> None:
    assert differing(found) == set()


def test_a_detector_that_names_nobody_makes_the_claim_differ(walked: Walk, found: Ending) -> None:
    assert walked.repeats_from is not None
    deaf = settle(walked.system, walked.before(walked.repeats_from), lambda process: False, 3)
    assert deaf.undecided > 0
    assert differing(msgspec.structs.replace(found, settled=[(0, deaf)])) == {"omega-decides"}


def test_a_detector_that_names_everybody_leaves_configurations_without_end(walked: Walk) -> None:
    with pytest.raises(TooManyStates):
        settle(walked.system, walked.before(0), lambda process: True, 1, limit=20_000)


def test_the_leader_itself_must_not_crash(walked: Walk) -> None:
    """Named is 1, and it may be down: then nobody decides."""
    assert walked.repeats_from is not None
    after = settle(walked.system, walked.before(walked.repeats_from), lambda process: process == 1, 2)
    assert after.undecided > 0


def test_in_a_random_order_every_run_decides_and_a_minority_quorum_is_found_out(found: Ending) -> None:
    right = draw_runs(System(INPUTS), 200, random.Random(3))
    assert (len(right.events), right.undecided, right.wrong) == (200, 0, 0)
    wrong = draw_runs(System(INPUTS, quorum=1), 200, random.Random(3))
    assert wrong.wrong > 0
    assert differing(msgspec.structs.replace(found, drawn=wrong)) == {"chance-decides"}
