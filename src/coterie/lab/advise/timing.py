"""Election timeout and heartbeat interval from round trips and the disk's tail; how long a cluster is without a leader.

    b  = the slowest answer of a member to another that still counts as usual: round trip at p99.9, and the disk's p99
    T  = 10 b, and at least `LEAST_TIMEOUT_MS`        (Raft 5.6: broadcast time << election timeout; etcd's tuning: ten
                                                       round trips)
    h  = T / 7                                        (so that five lost heartbeats in a row are no election)

A follower notices a dead leader T to T + T/4 after it last heard it (decisions/0006), half a heartbeat ago on average;
the first of n - 1 draws comes T/(4 n) after T. Then follow a pre-vote, a vote that is on the voters' disks, and the
first commit.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from coterie.core.following.election import SPREAD
from coterie.lab.advise.search import Plan
from coterie.lab.latency.delay import total
from coterie.lab.latency.deployment import STEP_MS
from coterie.lab.network.network import Network

BROADCASTS: Final = 10
LEAST_TIMEOUT_MS: Final = 500
"""Processes pause, too: a collector, a busy machine, a virtual machine that is moved."""
MOST_TIMEOUT_MS: Final = 50_000
HEARTBEATS: Final = 7
GRID_MS: Final = 0.05


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms, as `coterie node` takes them."""

    election_timeout_ms: int
    heartbeat_interval_ms: int
    request_timeout_ms: int
    broadcast_ms: float
    """The b of the derivation."""
    farthest: tuple[int, int]
    """The two sites that decide it."""

    def sentence(self, network: Network) -> str:
        """The derivation, for people."""
        one, other = (network.sites[site] for site in self.farthest)
        between = f"between {one} and {other}" if one != other else f"within {one}"
        floor = f", raised to the least, {LEAST_TIMEOUT_MS} ms," if self.floored else ""
        return (
            f"the slowest usual answer of a member takes {self.broadcast_ms:.1f} ms (round trip {between} at p99.9, "
            f"and {network.tail_ms:.2f} ms for the p99 of the disk); {BROADCASTS} of them{floor} are an election "
            f"timeout of {self.election_timeout_ms} ms, and a {HEARTBEATS}th of it is the heartbeat interval"
        )

    @property
    def floored(self) -> bool:
        """Whether the network would allow less."""
        return self.broadcast_ms * BROADCASTS <= LEAST_TIMEOUT_MS


def timing(network: Network, plan: Plan) -> Timing:
    """The timeouts of a plan: whoever leads, all others must answer in time."""
    g = network.geography
    places = sorted(set(plan.replicas))
    twice = {site for site in places if plan.replicas.count(site) > 1}
    pairs = [(a, b) for a in places for b in places if a < b or (a == b and a in twice)] or [(places[0], places[0])]
    farthest = max(pairs, key=lambda pair: g.between_ms(*pair))
    halves = (g.round_trip_ms[farthest[0]][farthest[1]] / 2, g.round_trip_ms[farthest[1]][farthest[0]] / 2)
    step = max(GRID_MS, sum(halves) * g.jitter / 100)
    trip = total(sum(halves), [half * g.jitter for half in halves] + [STEP_MS] * 4, step)
    broadcast = trip.quantile(0.999) + network.tail_ms
    timeout = min(max(BROADCASTS * broadcast, LEAST_TIMEOUT_MS), MOST_TIMEOUT_MS)
    timeout_ms = math.ceil(timeout / 50) * 50
    return Timing(
        election_timeout_ms=timeout_ms,
        heartbeat_interval_ms=max(1, timeout_ms // HEARTBEATS // 10 * 10),
        request_timeout_ms=max(5000, 4 * timeout_ms),
        broadcast_ms=broadcast,
        farthest=farthest,
    )


def failover_ms(network: Network, plan: Plan, timing: Timing) -> float:
    """Mean time from the loss of the leader's machine until its successor has committed; 0 if nobody can succeed."""
    others = plan.replicas[1:]
    if len(others) < max(plan.phase_1, plan.phase_2):
        return 0.0
    timeout = timing.election_timeout_ms
    noticed = timeout + timeout / SPREAD / plan.nodes - timing.heartbeat_interval_ms / 2
    return noticed + sum(_campaign(network, plan, i) for i in range(len(others))) / len(others)


def _campaign(network: Network, plan: Plan, winner: int) -> float:
    """Pre-vote, vote, first commit, if this one of the followers is first."""
    g, others = network.geography, plan.replicas[1:]
    jitter = 1 + g.jitter
    home = others[winner]
    trips = sorted(g.between_ms(home, site) * jitter for i, site in enumerate(others) if i != winner)
    disk = g.disk_ms + 2 * STEP_MS

    def asked(size: int) -> float:
        return trips[size - 2] + 2 * STEP_MS if size > 1 else 0.0

    # A candidate's own vote is on its disk before it asks for others'; a voter's is before it answers.
    return asked(plan.phase_1) + disk + asked(plan.phase_1) + disk + asked(plan.phase_2) + disk
