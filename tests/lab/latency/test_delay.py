"""Distributions on a grid have the moments and quantiles that mathematics gives them."""

import math
import random

import pytest

from coterie.lab.latency.delay import certain, kth, mixture, total

STEP = 0.02


def test_an_exponential_has_its_mean_and_quantiles() -> None:
    delay = total(5.0, [2.0], STEP)
    assert delay.mean == pytest.approx(7.0, rel=1e-3)
    for share in (0.5, 0.9, 0.99):
        assert delay.quantile(share) == pytest.approx(5 - 2 * math.log(1 - share), rel=5e-3)


def test_an_exponential_far_shorter_than_a_step_is_its_mean() -> None:
    assert total(1.0, [STEP / 100], STEP).mean == pytest.approx(1.0 + STEP / 100)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_order_statistics_of_equal_exponentials_have_their_closed_form(k: int) -> None:
    """The k-th of n takes 1/n + 1/(n-1) + ... (k terms) means on average."""
    n = 4
    found = kth([total(1.0, [1.0], STEP)] * n, k, STEP)
    assert found.mean == pytest.approx(1 + sum(1 / (n - i) for i in range(k)), rel=5e-3)


def test_order_statistics_of_unequal_times_are_those_that_samples_have() -> None:
    rng = random.Random(1)
    means = ((3.0, 0.5), (3.2, 1.0), (2.0, 2.0))
    samples = sorted(sorted(base + rng.expovariate(1 / mean) for base, mean in means)[1] for _ in range(40_000))
    found = kth([total(base, [mean], STEP) for base, mean in means], 2, STEP)
    assert found.mean == pytest.approx(sum(samples) / len(samples), rel=5e-3)
    assert found.quantile(0.99) == pytest.approx(samples[39_600], rel=2e-2)


def test_a_mixture_has_the_mean_of_its_parts() -> None:
    mixed = mixture([(0.25, certain(1.0, STEP)), (0.75, total(4.0, [1.0], STEP))], STEP)
    assert mixed.mean == pytest.approx(0.25 + 0.75 * 5, rel=5e-3)
    assert mixed.within(1.5) == pytest.approx(0.25, abs=0.01)
