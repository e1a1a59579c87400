"""Lease reads: linearizable while clocks keep to the bound, and seen to be stale when they do not."""

from __future__ import annotations

import msgspec
import pytest

from coterie.sim.clock import Clock
from coterie.sim.options import SECOND, choose
from coterie.sim.verdict import Figures, Violation
from coterie.sim.workload import KeyValueSubject
from coterie.sim.world import World

SEEDS = range(20, 28)


def world(seed: int, slow_ppm: int, fast_ppm: int, bound_permille: int) -> World:
    """Leases as long as the election timeout; leaders that are cut off all the time; and administrators that make
    member 1, whose clock is slow, the leader now and then. The clocks of those that then elect another are fast."""
    options = choose(seed, nodes=3, duration=10 * SECOND)
    settings = msgspec.structs.replace(
        options.settings, lease_reads=True, lease_ms=500, clock_drift_permille=bound_permille
    )
    subject = KeyValueSubject()
    subject.history.age_permille = 3000
    made = World(
        msgspec.structs.replace(
            options,
            faults=("depose", "partition", "transfer"),
            clients=6,
            election_timeout=500_000_000,
            heartbeat_interval=50_000_000,
            delay_mean=200_000,
            core_only=False,
            settings=settings,
        ),
        subject,
    )
    for number, rate in ((1, -slow_ppm), (2, fast_ppm), (3, fast_ppm)):
        made.nodes[number].hardware.clock = Clock(number * SECOND, rate)
    return made


@pytest.mark.parametrize("seed", SEEDS)
def test_no_read_is_stale_while_clocks_keep_to_the_bound(seed: int) -> None:
    figures: Figures = world(seed, 90_000, 90_000, 200).run().figures
    assert figures.elections > 2
    assert figures.completed > 100


def found_with_clocks_worse_than_the_bound(*, judges_leases: bool) -> list[str]:
    found = []
    for seed in SEEDS:
        made = world(seed, 300_000, 300_000, 0)
        made.laws.judges_leases = judges_leases
        try:
            made.run()
        except Violation as violation:
            found.append(violation.check)
    return found


def test_a_lease_that_outlives_an_election_is_found_when_clocks_are_worse_than_the_bound() -> None:
    found = found_with_clocks_worse_than_the_bound(judges_leases=True)
    assert "one-lease" in found
    assert set(found) <= {"one-lease", "read-fresh", "linearizable"}


def test_clients_see_that_a_read_is_stale_whatever_the_lease_says_of_itself() -> None:
    found = found_with_clocks_worse_than_the_bound(judges_leases=False)
    assert "read-fresh" in found
    assert set(found) <= {"read-fresh", "linearizable"}
