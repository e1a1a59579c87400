"""The shipped protocols with timers that are right and wrong about delay; claims about them can fail."""

from __future__ import annotations

import msgspec
import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.flp.synchrony import bounds_ms, double, elect, gst_bound_ms, stabilise
from coterie.lab.flp.timers import Timing, judge, look

protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def found() -> Timing:
    return look(1, lambda done, what: None, quick=True)


def differing(found: Timing) -> set[str]:
    return {claim.id for claim in judge(found) if not claim.agrees}


@protocols
@pytest.mark.parametrize("delay_ms", [1.0, 100.0, 400.0])
def test_a_leader_comes_after_a_timeout_and_three_round_trips(protocol: str, delay_ms: float) -> None:
    took = elect(protocol, delay_ms, 7).took_ms
    least, most = bounds_ms(delay_ms)
    assert took is not None
    assert least <= took <= most


@protocols
def test_nobody_commits_anything_when_a_round_trip_is_longer_than_the_timeout(protocol: str) -> None:
    assert elect(protocol, 600.0, 7).took_ms is None
    assert elect(protocol, 600.0, 7, timeout_ms=2000).took_ms is not None, "it was the timeout"


@protocols
def test_doubling_finds_a_timeout_for_a_delay_that_nobody_knew(protocol: str) -> None:
    found = double(protocol, 300.0, 3, first_ms=100)
    assert [attempt.timeout_ms for attempt in found.attempts] == [100, 200, 400, 800]
    assert [attempt.took_ms is None for attempt in found.attempts] == [True, True, True, False]
    assert found.total_ms is not None
    assert found.total_ms > 6 * (100 + 200 + 400)


@protocols
def test_after_gst_a_write_is_acknowledged_soon_and_all_histories_are_linearizable(protocol: str) -> None:
    run = stabilise(protocol, 6000, 5)
    assert run.took_ms is not None
    assert run.took_ms <= gst_bound_ms()
    assert run.linearizable is True
    assert run.calls > 10


def test_the_same_seed_is_the_same_measurement() -> None:
    assert elect("raft", 50.0, 9) == elect("raft", 50.0, 9) != elect("raft", 50.0, 10)
    assert stabilise("raft", 3000, 9) == stabilise("raft", 3000, 9)


@pytest.mark.slow
def test_all_claims_agree_and_each_rests_on_both_protocols(found: Timing) -> None:
    assert differing(found) == set()
    for runs in (found.elections, found.doublings, found.stabilised):
        assert {run.protocol for run in runs} == set(PROTOCOLS)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_group_that_guesses_too_short_a_timeout_makes_claims_differ() -> None:
    wrong = look(1, lambda done, what: None, quick=True, timeout_ms=200)
    assert differing(wrong) == {"timely-elects"}


@pytest.mark.slow
def test_a_group_that_is_led_in_spite_of_delay_makes_its_claim_differ(found: Timing) -> None:
    patient = [elect("raft", e.delay_ms, e.seed, timeout_ms=5000) for e in found.elections if e.delay_ms == 600]
    others = [e for e in found.elections if e.delay_ms != 600]
    assert differing(msgspec.structs.replace(found, elections=[*others, *patient])) == {"late-never-elects"}


@pytest.mark.slow
def test_a_storm_that_does_not_end_makes_its_claim_differ(found: Timing) -> None:
    late = stabilise("raft", 60_000, 1)
    # Judged as if the storm had been over long before.
    assert late.took_ms is not None
    unsettled = msgspec.structs.replace(late, gst_ms=20_000, took_ms=late.took_ms + 40_000)
    assert differing(msgspec.structs.replace(found, stabilised=[unsettled])) == {"gst-bounds-the-wait"}
