"""Ben-Or's protocol, its odds, and what becomes of the claims when a rule, a coin or a formula is wrong."""

from __future__ import annotations

import random
from itertools import combinations, product
from math import isclose

import msgspec
import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.flp.ben_or import UNDECIDED, Note, Process, Rules
from coterie.lab.flp.coins import STRONG, Trials, judge, trials, unanimous
from coterie.lab.flp.odds import (
    against_adversary,
    allowed,
    end_of_round,
    farthest,
    in_fair_order,
    mean,
    survivors,
)
from coterie.lab.flp.schedules import MAX_ROUNDS, Run, fair, freely, halves, in_waves, strong

THREE = Rules(processes=3, crashes=1)
FIVE = Rules(processes=5, crashes=2)


@pytest.fixture(scope="module")
def found() -> list[Trials]:
    dice = random.Random(11)
    return [*trials(THREE, 300, dice), *trials(FIVE, 200, dice)]


def differing(found: list[Trials], equal: list[Run]) -> set[str]:
    return {claim.id for claim in judge(found, equal) if not claim.agrees}


def test_half_of_the_processes_may_not_crash() -> None:
    with pytest.raises(ConfigurationError, match="crashes is 2 of 4 processes: it must be fewer than half"):
        Rules(processes=4, crashes=2)


def test_a_process_waits_for_n_minus_t_messages_and_needs_a_majority_of_all_to_name_a_value() -> None:
    one = Process(FIVE, 0, random.Random(1))
    assert one.begin() == Note(1, 1, 0)
    assert one.hear(Note(1, 1, 1)) == one.hear(Note(1, 1, 1)) == []
    assert one.hear(Note(1, 1, 0)) == [Note(1, 2, UNDECIDED)], "two of five are no majority"
    assert one.hear(Note(1, 1, 1)) == [], "it has gone on: too late"
    other = Process(FIVE, 0, random.Random(1))
    assert [other.hear(Note(1, 1, 1)) for _ in range(3)][-1] == [Note(1, 2, 1)]


def test_one_value_is_taken_and_more_than_t_decide() -> None:
    takes = Process(FIVE, 0, random.Random(1))
    decides = Process(FIVE, 0, random.Random(1))
    for process in (takes, decides):
        for value in (0, 0, 1):
            process.hear(Note(1, 1, value))
    assert [takes.hear(Note(1, 2, value)) for value in (UNDECIDED, 1, 1)][-1] == [Note(2, 1, 1)]
    assert takes.decided is None
    for value in (1, 1, 1):
        decides.hear(Note(1, 2, value))
    assert (decides.decided, decides.decided_in) == (1, 1)


def test_messages_of_later_steps_are_kept_until_it_is_there() -> None:
    late = Process(THREE, 1, random.Random(1))
    assert late.hear(Note(1, 2, 1)) == late.hear(Note(1, 2, 1)) == late.hear(Note(1, 1, 1)) == []
    assert late.hear(Note(1, 1, 1)) == [Note(1, 2, 1), Note(2, 1, 1)]
    assert late.decided == 1


def test_equal_inputs_are_decided_in_the_first_round_in_any_order() -> None:
    runs = unanimous(FIVE, random.Random(2), 50)
    assert all(run.complete and run.wrong is None and run.last == 1 for run in runs)


def test_the_adversary_shows_as_many_of_either_value_as_it_can() -> None:
    notes = [Note(1, 1, value) for value in (0, 0, 0, 0, 1)]
    shown = strong(FIVE, notes, random.Random(1))
    assert sorted(shown) == sorted(notes)
    assert [note.value for note in shown[: FIVE.heard]].count(0) == 2


def test_processes_that_crash_in_the_midst_of_sending_stop_nobody() -> None:
    dice = random.Random(4)
    runs = [freely(FIVE, halves(5), 2, dice) for _ in range(200)]
    assert all(run.complete and run.wrong is None for run in runs)
    assert sum(run.crashed for run in runs) > 200


# -- odds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "t"), [(3, 1), (5, 1), (5, 2), (7, 2), (7, 3)])
def test_a_round_is_the_last_when_the_majority_of_tosses_cannot_be_hidden(n: int, t: int) -> None:
    """All tosses, and all that the adversary can show of each."""

    def hidden(tosses: tuple[int, ...]) -> bool:
        return any(max(s.count(0), s.count(1)) * 2 <= n for s in combinations(tosses, n - t))

    ended = sum(not hidden(tosses) for tosses in product((0, 1), repeat=n))
    assert isclose(end_of_round(n, t), ended / 2**n)


def test_with_the_fewest_processes_the_mean_is_1_plus_2_to_the_n_minus_1() -> None:
    for t in (1, 2, 3):
        n = 2 * t + 1
        assert isclose(mean(against_adversary(n, t)), 1 + 2 ** (n - 1), rel_tol=1e-6)


@pytest.mark.parametrize("inputs", [(0, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_the_first_round_in_a_fair_order_is_what_all_orders_give(inputs: tuple[int, ...]) -> None:
    """Every two senders that each of three processes may hear, in both steps."""
    pairs = list(combinations(range(3), 2))
    ended = 0
    for heard in product(pairs, repeat=3):
        told = [inputs[a] if inputs[a] == inputs[b] else UNDECIDED for a, b in heard]
        for again in product(pairs, repeat=3):
            ended += any(told[a] == told[b] != UNDECIDED for a, b in again)
    assert isclose(in_fair_order(3, 1, sum(inputs))[0], ended / 27**2)


@pytest.mark.parametrize(("n", "t"), [(3, 1), (7, 3), (9, 2)])
def test_distributions_sum_to_one_and_survivors_to_the_mean(n: int, t: int) -> None:
    for distribution in (in_fair_order(n, t, n // 2), against_adversary(n, t)):
        assert isclose(sum(distribution), 1.0, rel_tol=1e-9)
        assert isclose(sum(survivors(distribution, len(distribution))), mean(distribution), rel_tol=1e-6)


def test_a_sample_of_another_distribution_is_too_far_from_it() -> None:
    right, wrong = against_adversary(5, 2), against_adversary(5, 1)
    dice = random.Random(5)
    sample = dice.choices(range(1, len(right) + 1), right, k=400)
    assert farthest(sample, right) < allowed(400) < farthest(sample, wrong)


# -- claims -----------------------------------------------------------------------------------------


def test_all_claims_agree(found: list[Trials]) -> None:
    assert differing(found, unanimous(FIVE, random.Random(6), 20)) == set()


def test_who_decides_with_too_few_messages_breaks_agreement_and_the_claim_says_so() -> None:
    hasty = Rules(processes=3, crashes=1, decides_with=1)
    dice = random.Random(8)
    runs = [in_waves(hasty, halves(3), fair, dice) for _ in range(500)]
    assert any(run.wrong is not None and "agreement" in run.wrong for run in runs)
    wrong = Trials(processes=3, crashes=1, order="free", runs=runs, formula=None)
    assert "coins-are-safe" in differing([wrong], [])


def test_without_a_coin_the_adversary_wins_and_the_claim_says_so() -> None:
    stubborn = Rules(processes=3, crashes=1, coin=lambda dice, own: own)
    run = in_waves(stubborn, halves(3), strong, random.Random(1))
    assert run.decided == (None, None, None)
    lost = Trials(processes=3, crashes=1, order=STRONG, runs=[run], formula=against_adversary(3, 1))
    assert {"coins-decide", "rounds-follow-the-formula"} <= differing([lost], [])


def test_a_coin_that_is_not_fair_does_not_follow_the_formula() -> None:
    biased = Rules(processes=5, crashes=2, coin=lambda dice, own: int(dice.random() < 0.9))
    dice = random.Random(9)
    runs = [in_waves(biased, halves(5), strong, dice) for _ in range(200)]
    wrong = Trials(processes=5, crashes=2, order=STRONG, runs=runs, formula=against_adversary(5, 2))
    assert not wrong.fits()


def test_a_wrong_formula_makes_its_claim_differ(found: list[Trials]) -> None:
    wrong = [msgspec.structs.replace(each, formula=in_fair_order(9, 1, 4)) for each in found]
    assert differing(wrong, []) == {"rounds-follow-the-formula"}


def test_the_limit_of_rounds_gives_up_no_run_by_chance() -> None:
    assert (1 - end_of_round(7, 3)) ** MAX_ROUNDS < 1e-30
