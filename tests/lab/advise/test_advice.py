"""The formulae agree with the stage; where one of them is wrong, the claim says so; and the files are taken."""

from collections import Counter
from itertools import product

import msgspec
import pytest

from coterie.lab.advise import claims
from coterie.lab.advise.availability import quorum_up
from coterie.lab.advise.capacity import capacity
from coterie.lab.advise.configuration import configuration
from coterie.lab.advise.demands import Demands, parse_clients
from coterie.lab.advise.experiment import advise, expected
from coterie.lab.advise.search import Plan, advised
from coterie.lab.advise.timing import timing
from coterie.lab.advise.trial import Bench, latencies, losses, serves_without
from coterie.lab.experiment import Conditions
from coterie.lab.network.files import read_network

ZONES = read_network("zones")
DEMANDS = Demands(survive_site=True, clients=parse_clients(None, ZONES))


def plan_and_bench(demands: Demands = DEMANDS) -> tuple[Plan, Bench]:
    plan = advised(ZONES, demands)
    assert plan is not None
    found = expected(ZONES, demands, plan)
    return plan, Bench(ZONES, demands, plan, found.timing, found.limits, seed=1)


@pytest.mark.thorough
@pytest.mark.parametrize("model", ["linearizable", "stale"])
def test_every_claim_agrees_and_the_same_seed_is_the_same_report(model: str) -> None:
    demands = msgspec.structs.replace(DEMANDS, model=model)
    one, other = (advise(ZONES, demands, Conditions(quick=True)) for _ in range(2))
    assert one.unexplained == []
    assert {"latency-p50", "latency-p90", "latency-p99", "throughput", "fail-over", "availability"} <= {
        c.id for c in one.claims
    }
    assert one.to_json() == other.to_json()


def test_a_wrong_formula_is_seen() -> None:
    """A model that forgets the disk, or the jitter, or has four times as much of it, does not agree with the stage."""
    plan, bench = plan_and_bench()
    seen, changes = latencies(bench, "raft", 60)
    assert all(claim.agrees for claim in claims.latency(ZONES, DEMANDS, plan, seen, changes))
    no_disk = msgspec.structs.replace(ZONES, geography=msgspec.structs.replace(ZONES.geography, disk_ms=0.0))
    wild = msgspec.structs.replace(ZONES, geography=msgspec.structs.replace(ZONES.geography, jitter=0.2))
    calm = msgspec.structs.replace(ZONES, geography=msgspec.structs.replace(ZONES.geography, jitter=0.0))
    for wrong, claim in ((no_disk, "latency-p50"), (wild, "latency-p90"), (calm, "latency-p99")):
        found = {c.id: c.agrees for c in claims.latency(wrong, DEMANDS, plan, seen, changes)}
        assert not found[claim]


def test_a_wrong_rate_is_seen() -> None:
    plan, _ = plan_and_bench()
    limits = capacity(ZONES, DEMANDS, plan, timing(ZONES, plan))
    assert claims.rate(limits, limits.calls_per_s * 1.1, DEMANDS).agrees
    assert not claims.rate(limits, limits.calls_per_s / 2, DEMANDS).agrees
    assert not claims.rate(limits, limits.calls_per_s * 2, DEMANDS).agrees


@pytest.mark.parametrize("protocol", ["raft", "multipaxos"])
def test_flexible_quorums_survive_what_they_must_and_not_more(protocol: str) -> None:
    demands = Demands(nodes=4, survive=1, reads=0.9, model="stale", clients=parse_clients(None, ZONES))
    plan, bench = plan_and_bench(demands)
    assert (plan.phase_1, plan.phase_2) == (3, 2)
    assert all(serves_without(bench, protocol, gone, 7) for gone in losses(plan, 1, sites=False))
    assert not serves_without(bench, protocol, (1, 2), 8)  # The leader among them: two are too few to elect.


def test_availability_is_that_of_every_case_counted() -> None:
    replicas, down, dark = (0, 0, 1, 2, 2), 0.1, 0.03
    by_hand = 0.0
    for sites in product((True, False), repeat=3):
        for machines in product((True, False), repeat=5):
            chance = 1.0
            for up in sites:
                chance *= 1 - dark if up else dark
            for up in machines:
                chance *= 1 - down if up else down
            by_hand += chance * (sum(u and sites[r] for u, r in zip(machines, replicas, strict=True)) >= 3)
    assert quorum_up(Counter(replicas), 3, down, dark) == pytest.approx(by_hand, abs=1e-12)


def test_timeouts_follow_the_round_trip_and_the_disk() -> None:
    far, near = read_network("aws"), ZONES
    plans = [advised(n, Demands(survive_site=True, clients=parse_clients(None, n))) for n in (far, near)]
    assert plans[0] is not None
    assert plans[1] is not None
    slow = msgspec.structs.replace(near, disk_p99_ms=200.0)
    wide, floor, disk = timing(far, plans[0]), timing(near, plans[1]), timing(slow, plans[1])
    assert wide.election_timeout_ms >= 10 * 72
    assert floor.floored
    assert floor.election_timeout_ms == 500
    assert 2000 <= disk.election_timeout_ms <= 2100
    for found in (wide, floor, disk):
        assert found.election_timeout_ms >= 7 * found.heartbeat_interval_ms


def test_the_files_are_taken_by_the_products_own_reader_with_unique_names_and_addresses() -> None:
    demands = Demands(survive=2, survive_site=True, clock_drift_permille=20, clients=parse_clients(None, ZONES))
    plan, _ = plan_and_bench(demands)
    found = expected(ZONES, demands, plan)
    files = configuration(ZONES, demands, plan, found.timing, found.limits, "multipaxos")
    taken = files.check()
    assert len({node.name for node in taken}) == len({node.client for node in taken}) == 5
    assert {node.protocol for node in taken} == {"multipaxos"}
    assert all(len(node.initial_members) == 5 for node in taken)
    assert "settings set lease-reads true" in files.afterwards
    assert f"coterie transfer {taken[0].name}" in files.afterwards
