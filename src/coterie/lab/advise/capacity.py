"""How many calls a second: by Little's law for clients that wait for their answers, and what bounds it from above.

While entries are under way, commands gather for the next one (`engine.proposals`): with u under way beyond the first
two, for d 2^u ms. With a commit latency of C there are C / g of them if one is begun every g, so g is the least that
agrees with itself, and a write waits g/2 for its entry on average. A site whose clients have k calls in flight, each
beginning the next when one is answered, makes k / L of them a second, L being its mean latency.

A disk does one write at a time, and a leader asks for one round of reads at a time: what comes meanwhile waits for half
of it on average, and goes with the next. How often that is so is the rate of entries, or of reads, times its length, at
most 1. How the clients of one entry keep step, and come back together, is not in it: so the rate is an estimate between
two bounds, no waiting at all and twice the mean.

From above: the leader sends each write to n - 1 others, over the bandwidth that it has; the bytes in flight to one
follower are limited, so that no heartbeat waits behind more of them than a quarter of an election timeout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from coterie.core.config import KIB, MIB, MILLISECOND
from coterie.engine.config import EngineConfig
from coterie.engine.proposals import MAX_PATIENCE_DOUBLINGS, OVERLAP
from coterie.lab.advise.demands import Demands
from coterie.lab.advise.search import Plan
from coterie.lab.advise.timing import Timing
from coterie.lab.latency.deployment import LINEARIZABLE, Deployment
from coterie.lab.network.network import Network

OVERHEAD_BYTES: Final = 64
"""Of a command beside its value: key, numbers, frames."""
ROUNDS: Final = 12
LEAST_BATCH_BYTES: Final = 64 * KIB
MOST_BATCH_BYTES: Final = 1 * MIB
LEAST_WINDOW_BYTES: Final = 256 * KIB
MOST_WINDOW_BYTES: Final = 64 * MIB


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Limits to set, and rates to expect."""

    max_batch_bytes: int
    max_inflight_bytes: int
    gather_ms: float
    """How long commands gather for an entry while others are under way."""
    write_ms: float
    """Mean latency of a write in that load, over all clients."""
    calls_per_s: float
    """With the demanded number of calls in flight."""
    bounds: tuple[float, float]
    """Between these it must be: if every call waits for all that it might, and if none waits for another."""
    network_ceiling: float
    """Writes a second that the leader's bandwidth carries."""
    window_ceiling: float
    """Writes a second that the window to the slowest follower of the quorum carries."""

    def sentence(self, network: Network) -> str:
        """Why these limits."""
        return (
            f"{network.bandwidth_mbit:g} Mbit/s carry a batch of {self.max_batch_bytes // KIB} KiB in half a heartbeat "
            f"and {self.max_inflight_bytes // KIB} KiB in flight delay no heartbeat by more than a quarter of an "
            f"election timeout; while entries are under way, commands gather for {self.gather_ms:.1f} ms"
        )


def capacity(network: Network, demands: Demands, plan: Plan, timing: Timing) -> Capacity:
    """What a plan carries."""
    deployment = plan.deployment(network, lease=demands.lease)
    per_ms = network.bandwidth_mbit * 1e6 / 8 / 1000
    links = max(1, plan.nodes - 1)
    batch = _clamp(per_ms * timing.heartbeat_interval_ms / 2 / links, LEAST_BATCH_BYTES, MOST_BATCH_BYTES)
    window = _clamp(per_ms * timing.election_timeout_ms / 4 / links, LEAST_WINDOW_BYTES, MOST_WINDOW_BYTES)
    size = demands.value_bytes + OVERHEAD_BYTES
    commit = deployment.commit_mean
    writers = demands.in_flight * (1 - demands.reads)
    gather = gathering_ms(commit) if writers > OVERLAP else 0.0
    write, rate = _loaded(demands, deployment, gather, 1.0)
    return Capacity(
        max_batch_bytes=batch,
        max_inflight_bytes=window,
        gather_ms=gather,
        write_ms=write,
        calls_per_s=rate,
        bounds=(_loaded(demands, deployment, gather, 2.0)[1], _loaded(demands, deployment, gather, 0.0)[1]),
        network_ceiling=per_ms * 1000 / (size * links),
        window_ceiling=window / size / max(commit, 0.001) * 1000,
    )


def _loaded(demands: Demands, deployment: Deployment, gather: float, waits: float) -> tuple[float, float]:
    """(mean latency of a write, calls a second) with so many calls in flight: rates and waits that agree with each
    other, found by going to and fro. `waits`: 1 for half of what is under way, the mean; 2 for all of it."""
    disk = deployment.geography.disk_ms
    linearizable = demands.model == LINEARIZABLE
    round_ = deployment.round_mean if linearizable else 0.0
    counted = Counter(seats(demands.clients, demands.in_flight))
    placed = {client: count / demands.in_flight for client, count in counted.items()}
    rate = write = 0.0
    for _ in range(ROUNDS):
        entries = 1 / gather if gather else rate * (1 - demands.reads)
        on_disk = disk / 2 * min(1.0, entries * disk)
        on_round = round_ / 2 * min(1.0, rate * demands.reads * round_)
        now = write = 0.0
        for client, share in placed.items():
            one = deployment.write_mean(client) + waits * (gather / 2 + on_disk)
            read = deployment.read_mean(client, demands.model) + waits * on_round
            write += share * one
            now += share * demands.in_flight / ((1 - demands.reads) * one + demands.reads * read)
        rate = (rate + now) / 2 if rate else now
    return write, rate * 1000


def seats(clients: Mapping[int, float], count: int) -> list[int]:
    """So many clients, shared out over the sites by largest remainders."""
    exact = {site: share * count for site, share in clients.items()}
    whole = {site: int(value) for site, value in exact.items()}
    left = count - sum(whole.values())
    for site in sorted(exact, key=lambda s: (whole[s] - exact[s], s))[:left]:
        whole[site] += 1
    return [site for site, number in whole.items() for _ in range(number)]


def gathering_ms(commit_ms: float) -> float:
    """The time between two entries that agrees with itself, as far as the doubling goes."""
    delay = EngineConfig().batch_delay / MILLISECOND
    for doublings in range(MAX_PATIENCE_DOUBLINGS + 1):
        gather = delay * 2**doublings
        if commit_ms / gather <= OVERLAP + doublings:
            return gather if commit_ms > delay else 0.0
    return delay * 2.0**MAX_PATIENCE_DOUBLINGS


def _clamp(value: float, least: int, most: int) -> int:
    """To whole KiB."""
    return max(least, min(most, int(value) // KIB * KIB))
