"""The ensemble keeps the contract of a driver: what is not durable is lost, nothing is chosen twice."""

from __future__ import annotations

import pytest

from coterie.core.config import MILLISECOND
from coterie.core.protocols import PROTOCOLS
from coterie.lab.claims.ensemble import SECOND, Ensemble, Timing
from coterie.lab.claims.seat import shipped

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def group_of(protocol: str, size: int = 3) -> Ensemble:
    group = Ensemble(shipped(protocol), size, seed=7, timing=Timing(jitter=MILLISECOND))
    assert group.lead(1)
    return group


@protocols
def test_what_is_committed_survives_every_process(protocol: str) -> None:
    group = group_of(protocol)
    group.propose(1, b"kept")
    group.run(SECOND)
    group.crash(*group.ids)
    assert not group.leaders()
    for seat in group.seats.values():
        seat.start()
    assert group.run_until(lambda: bool(group.leaders()), 10 * SECOND)
    (leader,) = group.leaders()
    assert group.run_until(lambda: group.serves(leader), SECOND)
    assert b"kept" in [entry.payload for entry in group.seats[leader].medium.log]


@protocols
def test_what_was_not_durable_is_lost_with_the_process(protocol: str) -> None:
    group = group_of(protocol)
    group.link_only([])
    group.propose(1, b"lost")
    group.crash(1)
    assert b"lost" not in [entry.payload for entry in group.seats[1].medium.log]


@protocols
def test_a_hastened_timer_is_the_first_to_run_out_and_runs_on_time_afterwards(protocol: str) -> None:
    group = group_of(protocol, 5)
    group.run(20 * SECOND)
    assert group.leaders() == [1]


@protocols
def test_the_same_seed_is_the_same_run(protocol: str) -> None:
    def run() -> list[int]:
        group = group_of(protocol)
        group.propose(1, b"x")
        group.run(SECOND)
        return [group.now, *group.committed_at.values()]

    assert run() == run()
