"""What seeds choose."""

from __future__ import annotations

from coterie.sim.campaign import Plan, run_seed
from coterie.sim.options import FAULTS, choose


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


def test_who_writes_in_the_middle_of_a_step_is_judged_by_what_it_knows_then() -> None:
    """As `--protocol multipaxos --seed 114`: told in one step what is chosen, and to take over, a member asks for
    promises from the slot after that; it writes at once, so the question leaves before the step is over."""
    result = run_seed(114, Plan(protocol="multipaxos"))
    assert result.check == "", result.detail
