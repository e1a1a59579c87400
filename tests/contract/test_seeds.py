"""300 seeds of the simulated world: no law is broken, and the world is not idle."""

from __future__ import annotations

import pytest

from coterie.sim.campaign import Plan, idleness, run_seed
from coterie.sim.options import SECOND

SEEDS = 300
CHUNK = 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_law_is_broken(first: int, protocol: str) -> None:
    plan = Plan(duration=6 * SECOND, protocol=protocol)
    results = [run_seed(seed, plan) for seed in range(first, first + CHUNK)]
    broken = [result.detail for result in results if result.check]
    assert not broken, "\n\n".join(broken)
    assert idleness(results, plan) == []
    assert sum(result.figures.snapshots_sent for result in results) > 0
    assert sum(result.figures.snapshots_installed for result in results) > 0
    assert sum(result.figures.membership_changes for result in results) > 0
    assert sum(result.figures.transfers for result in results) > 0
    assert sum(result.figures.quorum_changes for result in results) > 0
