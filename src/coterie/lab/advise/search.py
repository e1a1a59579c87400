"""The best placement: replicas, leader and quorum sizes, found exactly.

Which plans are allowed: with n replicas, p1 that elect and p2 that commit, the cluster goes on without any N machines
if n - N >= max(p1, p2), and without any site s that has n_s of them if n - n_s >= max(p1, p2). Quorums meet if
p1 + p2 > n; p1 is at least a majority ("Flexible Paxos", section 3; Raft 5.2). Less would do with Multi-Paxos where p2
is above a majority, which no latency asks for.

For each leader and each p2 a search in depth places the others, nearest to the leader first. What is placed later is
farther away, so the commit latency is known once p2 - 1 others stand, and reads from the next replica can become no
quicker than with all sites that are left: where that bound is no better than the best plan so far, the search turns
back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from coterie.core import quorum
from coterie.lab.advise.demands import MAX_REPLICAS, Demands
from coterie.lab.latency.deployment import LINEARIZABLE, Deployment
from coterie.lab.network.network import Network

SAME: Final = 1e-9
"""Two latencies that differ by less (ms) are the same."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything stands."""

    replicas: tuple[int, ...]
    """Each one's site; the leader first, then the others from near to far."""
    phase_1: int
    phase_2: int
    mean_ms: float
    """Mean latency of all calls by `Deployment.mean`."""

    @property
    def nodes(self) -> int:
        """How many replicas."""
        return len(self.replicas)

    def deployment(self, network: Network, *, lease: bool = False) -> Deployment:
        """The plan on its network."""
        return Deployment(network.geography, self.replicas, 0, phase_2=self.phase_2, lease=lease)

    def survives(self) -> int:
        """How many machines may fail, whichever they are."""
        return self.nodes - max(self.phase_1, self.phase_2)


def quorums(nodes: int, survive: int) -> Iterator[tuple[int, int]]:
    """Pairs of sizes (elect, commit) with which `survive` of so many may fail; a majority of both first."""
    middle = quorum.majority(nodes)
    for second in (middle, *range(middle - 1, 0, -1), *range(middle + 1, nodes + 1)):
        first = quorum.least_phase_1(nodes, second, electors_meet=True) or middle
        if nodes - survive >= max(first, second):
            yield first, second


def least_nodes(demands: Demands) -> int:
    """The fewest replicas with which so many failures can be survived: 2N + 1; and three where a site may be lost."""
    return max(2 * demands.survive + 1, 3 if demands.survive_site else 1)


def advised(network: Network, demands: Demands) -> Plan | None:
    """The best plan of the fewest replicas that can do it, or of as many as are asked for."""
    counts = range(least_nodes(demands), MAX_REPLICAS + 1) if demands.nodes is None else (demands.nodes,)
    for nodes in counts:
        plan = best(network, demands, nodes)
        if plan is not None:
            return plan
    return None


def best(network: Network, demands: Demands, nodes: int) -> Plan | None:
    """The plan of so many replicas with the least mean latency; of several the one whose spare replicas stand nearest.
    None: no plan does what is demanded."""
    found: Plan | None = None
    for leader in range(len(network.sites)):
        for first, second in quorums(nodes, demands.survive):
            search = _Search(network, demands, nodes, leader, first, second)
            plan = search.run(found.mean_ms if found is not None else float("inf"))
            if plan is not None:
                found = plan
    return found


class _Search:
    """One leader, one pair of quorum sizes."""

    def __init__(self, network: Network, demands: Demands, nodes: int, leader: int, first: int, second: int) -> None:
        self._network, self._demands = network, demands
        self._nodes, self._leader, self._first, self._second = nodes, leader, first, second
        most = nodes - max(first, second) if demands.survive_site else nodes
        self._room = [min(network.capacity(site), most) for site in range(len(network.sites))]
        base = Deployment(network.geography, (leader,), 0)
        self._calls = {client: base._call(client, leader) for client in demands.clients}
        self._disk = base.commit_mean
        self._path = [base._there_and_back(leader, site) for site in range(len(network.sites))]
        self._order = sorted(range(len(network.sites)), key=lambda site: (self._path[site], site != leader, site))
        self._local = demands.model != LINEARIZABLE
        self._near = [[base._call(client, site) for client in demands.clients] for site in self._order]
        self._left = self._best_of_those_left()
        self._best = float("inf")
        self._plan: tuple[int, ...] | None = None

    def _best_of_those_left(self) -> list[list[float]]:
        """For each place in the order: how near a replica could stand to each client, there or later."""
        bounds = [[float("inf")] * len(self._demands.clients)]
        for row in reversed(self._near):
            bounds.append([min(a, b) for a, b in zip(row, bounds[-1], strict=True)])
        return bounds[::-1]

    def run(self, best: float) -> Plan | None:
        """The best placement whose mean is below `best`."""
        self._best = best
        if self._room[self._leader] < 1:
            return None
        self._room[self._leader] -= 1
        self._place([], 0, list(self._near[self._order.index(self._leader)]))
        if self._plan is None:
            return None
        return Plan(replicas=(self._leader, *self._plan), phase_1=self._first, phase_2=self._second, mean_ms=self._best)

    def _place(self, chosen: list[int], at: int, near: list[float]) -> None:
        """Place the next replica, from this place in the order on. `near`: how near the clients have one."""
        missing = self._nodes - 1 - len(chosen)
        bound = near
        if self._local and missing:
            bound = [min(a, b) for a, b in zip(near, self._left[at], strict=True)]
        place = self._order[at] if at < len(self._order) else None
        if missing and place is None:
            return
        cost = self._cost(chosen + [place] * missing if place is not None else chosen, bound)
        if cost is None or cost >= self._best - SAME:
            return
        if not missing:
            self._best, self._plan = cost, tuple(chosen)
            return
        assert place is not None
        if self._room[place] > 0:
            self._room[place] -= 1
            nearer = [min(a, b) for a, b in zip(near, self._near[at], strict=True)] if self._local else near
            self._place([*chosen, place], at, nearer)
            self._room[place] += 1
        self._place(chosen, at + 1, near)

    def _cost(self, others: list[int], near: list[float]) -> float | None:
        """The mean with these others, in the order of their distance; None where a limit is broken."""
        demands, k = self._demands, self._second - 1
        paths = [self._path[site] for site in others]
        # The leader's own disk is done before any other's, and answers a round at once.
        commit = self._disk + (paths[k - 1] if k else 0.0)
        round_ = paths[k - 1] if k and not demands.lease else 0.0
        total = 0.0
        for i, (client, share) in enumerate(demands.clients.items()):
            call = self._calls[client]
            write = call + commit
            read = near[i] if self._local else call + round_
            if demands.write_within_ms is not None and write > demands.write_within_ms + SAME:
                return None
            if demands.read_within_ms is not None and read > demands.read_within_ms + SAME:
                return None
            total += share * ((1 - demands.reads) * write + demands.reads * read)
        return total
