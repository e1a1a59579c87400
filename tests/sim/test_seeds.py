"""300 seeds of the simulated world: no law is broken, and the world is not idle."""

from __future__ import annotations

import pytest

from coterie.sim.campaign import Plan, idleness, run_seed
from coterie.sim.options import FAULTS, SECOND, choose

SEEDS = 300
CHUNK = 20
PLAN = Plan(duration=6 * SECOND)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_law_is_broken(first: int) -> None:
    results = [run_seed(seed, PLAN) for seed in range(first, first + CHUNK)]
    broken = [result.detail for result in results if result.check]
    assert not broken, "\n\n".join(broken)
    assert idleness(results, PLAN) == []
    assert sum(result.figures.snapshots_sent for result in results) > 0
    assert sum(result.figures.snapshots_installed for result in results) > 0
    assert sum(result.figures.membership_changes for result in results) > 0
    assert sum(result.figures.transfers for result in results) > 0
    assert sum(result.figures.quorum_changes for result in results) > 0


def test_seeds_choose_subsets_of_faults_and_clusters_of_every_size() -> None:
    chosen = [choose(seed) for seed in range(2000)]
    assert sum(not o.faults for o in chosen) in range(200, 230)
    assert sum(len(o.faults) == 1 for o in chosen) in range(200, 230)
    assert {o.nodes for o in chosen} == {1, 2, 3, 4, 5}
    assert sum(o.nodes in (3, 5) for o in chosen) > 1400
    several = [o for o in chosen if len(o.faults) > 1]
    for fault in FAULTS:
        share = sum(o.has(fault) for o in several) / len(several)
        assert (0.8 if fault == "crash" else 0.45) < share < (0.9 if fault == "crash" else 0.55), fault
