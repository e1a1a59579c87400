"""A cluster on a network, and how long its clients' calls take by formula.

A client sends its writes and linearizable reads to the leader, as the product's client does
(`client.routing.Routes.rank`), and session and stale reads to the member next to it. Then

    write  = c->L->c + step + k-th least of { own: disk ; v: L->v->L + disk }      k: the quorum that commits
    read   = c->L->c + step + k-th least of { own: 0    ; v: L->v->L }             linearizable, by the read index
    read   = c->L->c + step                                                        linearizable, by a lease
    read   = c->m->c + step                                                        session or stale

with one step of the process (`sim.process.STEP_DELAY`, the time until an input is taken in) where a message or a
finished write arrives, and one before a write begins. Only one call is under way: what waits for other calls is
`throughput`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.quorum import majority
from coterie.lab.latency.delay import Delay, certain, kth, mixture, total, with_exponential
from coterie.lab.stage.geography import Geography
from coterie.sim.process import STEP_DELAY

STEP_MS: Final = STEP_DELAY / MILLISECOND
LINEARIZABLE, SESSION, STALE = "linearizable", "session", "stale"
MODES: Final = (LINEARIZABLE, SESSION, STALE)
GRID: Final = 40
"""Steps of the grid in the mean of all that is not certain on a path."""
MIXED_GRID: Final = 2000


class Deployment:
    """Replicas in sites, one of which leads, and quorum sizes. All times in ms."""

    def __init__(
        self, geography: Geography, replicas: Sequence[int], leader: int, *, phase_2: int = 0, lease: bool = False
    ) -> None:
        """`replicas`: each one's site. `leader`: its place among them. `phase_2`: how many commit; 0: a majority."""
        self.geography = geography
        self.replicas = tuple(replicas)
        self.leader = leader
        self.phase_2 = phase_2 or majority(len(self.replicas))
        self.lease = lease

    # -- means ------------------------------------------------------------------------------------

    def _travel(self, source: int, target: int) -> float:
        """Mean time of a message from site to site, with the step in which it is taken in."""
        return self.geography.round_trip_ms[source][target] / 2 * (1 + self.geography.jitter) + STEP_MS

    def _there_and_back(self, one: int, other: int) -> float:
        return self._travel(one, other) + self._travel(other, one)

    @cached_property
    def commit_mean(self) -> float:
        """From the proposal until it is committed, if nothing took longer than its mean."""
        home, disk = self.replicas[self.leader], self.geography.disk_ms + 2 * STEP_MS
        paths = [disk]
        paths += [self._there_and_back(home, site) + disk for i, site in enumerate(self.replicas) if i != self.leader]
        return sorted(paths)[self.phase_2 - 1]

    @cached_property
    def round_mean(self) -> float:
        """A round that proves leadership, if nothing took longer than its mean."""
        if self.lease:
            return 0.0
        home = self.replicas[self.leader]
        paths = [0.0, *(self._there_and_back(home, s) for i, s in enumerate(self.replicas) if i != self.leader)]
        return sorted(paths)[self.phase_2 - 1]

    def _call(self, client: int, member: int) -> float:
        """To a member's site and back; the client takes in at once."""
        return self._there_and_back(client, member) - STEP_MS

    def write_mean(self, client: int) -> float:
        """Of a client in this site."""
        return self._call(client, self.replicas[self.leader]) + self.commit_mean

    def read_mean(self, client: int, mode: str) -> float:
        """Of a client in this site."""
        if mode == LINEARIZABLE:
            return self._call(client, self.replicas[self.leader]) + self.round_mean
        return min(self._call(client, site) for site in self.replicas)

    def through_mean(self, client: int) -> float:
        """Of a linearizable read that is asked of the nearest member, which asks the leader."""
        nearest = min(self.replicas, key=lambda site: (self._call(client, site), site))
        home = self.replicas[self.leader]
        if nearest == home:
            return self._call(client, home) + self.round_mean
        return self._call(client, nearest) + self._there_and_back(nearest, home) + self.round_mean

    def mean(self, clients: Mapping[int, float], reads: float, mode: str) -> float:
        """Of all calls: what the search makes as small as can be. `clients`: share of each site, 1 in all."""
        return sum(
            share * ((1 - reads) * self.write_mean(site) + reads * self.read_mean(site, mode))
            for site, share in clients.items()
        )

    # -- distributions ----------------------------------------------------------------------------

    def _path(self, legs: Sequence[tuple[int, int]], *, syncs: int, steps: int) -> Delay:
        """Messages from site to site, writes, and steps, one after the other."""
        g = self.geography
        halves = [g.round_trip_ms[a][b] / 2 for a, b in legs]
        fixed = sum(halves) + 0.001 * len(legs) + syncs * 0.75 * g.disk_ms
        chance = [half * g.jitter for half in halves] + [g.disk_ms / 4] * syncs + [STEP_MS] * steps
        return total(fixed, chance, sum(chance) / GRID)

    @cached_property
    def commit(self) -> Delay:
        """From the proposal until it is committed: a write each, of which `phase_2` must be over."""
        home = self.replicas[self.leader]
        paths = [self._path((), syncs=1, steps=2)]
        for i, site in enumerate(self.replicas):
            if i != self.leader:
                paths.append(self._path(((home, site), (site, home)), syncs=1, steps=4))
        return kth(paths, self.phase_2, min(path.step for path in paths))

    @cached_property
    def round(self) -> Delay:
        """The round of a linearizable read."""
        if self.lease or self.phase_2 == 1:
            return certain(0.0, 0.0)
        home = self.replicas[self.leader]
        others = [site for i, site in enumerate(self.replicas) if i != self.leader]
        paths = [self._path(((home, site), (site, home)), syncs=0, steps=2) for site in others]
        return kth(paths, self.phase_2 - 1, min(path.step for path in paths))

    def _after(self, delay: Delay, client: int, member: int) -> Delay:
        g = self.geography
        halves = (g.round_trip_ms[client][member] / 2, g.round_trip_ms[member][client] / 2)
        chance = (*(half * g.jitter for half in halves), STEP_MS)
        if len(delay.mass) == 1:
            return total(delay.shift + sum(halves) + 0.002, chance, sum(chance) / GRID)
        delay = delay.plus(sum(halves) + 0.002)
        for mean in chance:
            delay = with_exponential(delay, mean)
        return delay

    def write(self, client: int) -> Delay:
        """A write of a client in this site."""
        return self._after(self.commit, client, self.replicas[self.leader])

    def read(self, client: int, mode: str) -> Delay:
        """A read of a client in this site."""
        if mode == LINEARIZABLE:
            return self._after(self.round, client, self.replicas[self.leader])
        nearest = min(self.replicas, key=lambda site: (self._call(client, site), site))
        return self._after(certain(0.0, 0.0), client, nearest)

    def writes(self, clients: Mapping[int, float]) -> Delay:
        """Of all clients, by their shares."""
        return _mixed([(share, self.write(site)) for site, share in clients.items()])

    def reads(self, clients: Mapping[int, float], mode: str) -> Delay:
        """Of all clients, by their shares."""
        return _mixed([(share, self.read(site, mode)) for site, share in clients.items()])


def _mixed(parts: Sequence[tuple[float, Delay]]) -> Delay:
    """On a grid that is fine against all of it, and no finer than the finest part."""
    spread = max(delay.shift for _, delay in parts) - min(delay.shift for _, delay in parts)
    return mixture(parts, max(min(delay.step for _, delay in parts), spread / MIXED_GRID))
