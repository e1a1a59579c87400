"""One seed, one run: in another process and under another PYTHONHASHSEED, too."""

from __future__ import annotations

import pytest
from tests.sim.processes import in_another_process

from coterie.sim.campaign import Plan, run_seed
from coterie.sim.options import SECOND
from coterie.sim.worker import Order


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_seed_gives_the_same_run_in_any_process(hash_seed: str, protocol: str) -> None:
    order = Order(21, 25, Plan(duration=3 * SECOND, protocol=protocol))
    there = in_another_process(order, hash_seed)
    here = [run_seed(seed, order.plan) for seed in range(21, 25)]
    assert there == here
    assert len({result.trace for result in here}) == 4
    assert all(result.figures.completed > 0 for result in here)


@pytest.mark.thorough
def test_two_hundred_seeds_give_the_same_runs_in_two_processes(protocol: str) -> None:
    order = Order(0, 200, Plan(duration=10 * SECOND, protocol=protocol))
    one, other = in_another_process(order, "1"), in_another_process(order, "99")
    assert [result.trace for result in one] == [result.trace for result in other]
    assert one == other
    assert len({result.trace for result in one}) == 200
