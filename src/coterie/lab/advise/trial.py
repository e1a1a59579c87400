"""A plan on the stage: the shipped code at these distances, with these quorums and timeouts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.quorum import majority
from coterie.core.settings import Settings
from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import ChangeQuorums
from coterie.engine.config import EngineConfig
from coterie.engine.protocol import Answer
from coterie.lab.advise.capacity import Capacity
from coterie.lab.advise.demands import Demands
from coterie.lab.advise.search import Plan
from coterie.lab.advise.timing import Timing
from coterie.lab.errors import LabError
from coterie.lab.latency.deployment import LINEARIZABLE
from coterie.lab.network.network import Network
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor
from coterie.sim.chance import stream

BETWEEN: Final[Nanos] = 10 * MILLISECOND
"""Between two calls of a client that is alone."""
PATIENCE_TIMEOUTS: Final = 6
"""Election timeouts after which a write counts as impossible."""

CYCLES: Final = 20
"""Calls of each client under load, at least: they begin all at once, and must fall out of step."""
SHORT_LOGS: Final = {"snapshot_log_bytes": 20_000, "snapshot_log_ratio": 1, "snapshot_keep_entries": 50}


class Bench:
    """Sets the stage for one plan, as often as is asked."""

    def __init__(
        self, network: Network, demands: Demands, plan: Plan, timing: Timing, limits: Capacity, seed: int
    ) -> None:
        self.network, self.demands, self.plan, self.timing = network, demands, plan, timing
        self.seed = seed
        self.config = EngineConfig(
            replica=ReplicaConfig(
                election_timeout=timing.election_timeout_ms * MILLISECOND,
                heartbeat_interval=timing.heartbeat_interval_ms * MILLISECOND,
                max_inflight_bytes=limits.max_inflight_bytes,
                max_append_bytes=limits.max_batch_bytes,
            ),
            request_timeout=timing.request_timeout_ms * MILLISECOND,
            max_batch_bytes=limits.max_batch_bytes,
        )

    def stage(self, protocol: str, salt: int = 0, *, compacted: bool = False) -> Stage:
        """The cluster, led as planned, with its quorum sizes and settings. `compacted`: with short logs, for runs in
        which members start again and again."""
        settings = settings_of(self.demands, self.timing)
        if compacted:
            settings = msgspec.structs.replace(settings, **SHORT_LOGS)
        stage = Stage(
            self.network.geography,
            self.plan.replicas,
            seed=self.seed * 1000 + salt,
            protocol=protocol,
            config=self.config,
            settings=settings,
        )
        stage.lead(1)
        plan = self.plan
        if plan.phase_2 != majority(plan.nodes) or plan.phase_1 != majority(plan.nodes):
            answer = stage.ask(lambda: ChangeQuorums(1, plan.phase_1, plan.phase_2))
            if not isinstance(answer, Answer):
                raise LabError(f"the quorum sizes {plan.phase_1} and {plan.phase_2} were refused: {answer}")
        return stage


def settings_of(demands: Demands, timing: Timing) -> Settings:
    """What all members share."""
    if not demands.lease or demands.clock_drift_permille is None:
        return Settings()
    return Settings(
        lease_reads=True, lease_ms=timing.election_timeout_ms, clock_drift_permille=demands.clock_drift_permille
    )


# -- latencies ------------------------------------------------------------------------------------


class Seen(msgspec.Struct, frozen=True):
    """Latencies of one site's calls, ms, in order."""

    writes: tuple[float, ...]
    reads: tuple[float, ...]


def latencies(bench: Bench, protocol: str, calls: int) -> tuple[dict[int, Seen], int]:
    """Calls of clients that are alone, by site; and how many times leadership changed meanwhile."""
    stage = bench.stage(protocol)
    reigns = len(stage.meter.reigns)
    seen = {site: _seen(stage, site, bench.demands.model, calls) for site in bench.demands.clients}
    return seen, len(stage.meter.reigns) - reigns


def _seen(stage: Stage, site: int, mode: str, calls: int) -> Seen:
    client, key = stage.client(site), f"k{site}"
    writes = [_alone(stage, client.write(1, key, str(i))) for i in range(calls)]
    member = 1 if mode == LINEARIZABLE else stage.nearest(site)
    reads = []
    for _ in range(calls):
        client.seen = 0  # A session that wrote elsewhere waits for its own writes: that is another latency.
        reads.append(_alone(stage, client.read(member, key, mode=mode)))
    return Seen(tuple(sorted(writes)), tuple(sorted(reads)))


def _alone(stage: Stage, call: Call) -> float:
    stage.wait(lambda: call.outcome is not Outcome.PENDING, "a call is answered")
    if call.outcome is not Outcome.OK:
        raise LabError(f"a call without any fault failed: {call.reason}")
    stage.run_for(BETWEEN)
    return call.latency / MILLISECOND


def quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# -- throughput -----------------------------------------------------------------------------------


def throughput(bench: Bench, protocol: str, calls: int) -> float:
    """Calls a second of clients that each begin the next when one is answered, over about so many calls."""
    stage = bench.stage(protocol, salt=1)
    demands = bench.demands
    calls = max(calls, CYCLES * demands.in_flight)
    rng = stream(bench.seed, "mix")
    sites = _seats(demands.clients, demands.in_flight)
    for number, site in enumerate(sites):
        _busy(stage, stage.client(site), demands, rng, f"k{number}")
    before = len(stage.calls)
    stage.wait(lambda: len(stage.calls) - before >= calls // 3, "clients are under way")
    began, first = stage.now, _over(stage.calls)
    stage.wait(lambda: len(stage.calls) - before >= calls, "clients have made their calls")
    return (_over(stage.calls) - first) / ((stage.now - began) / 1e9)


def _over(calls: Sequence[Call]) -> int:
    return sum(call.outcome is Outcome.OK for call in calls)


def _busy(stage: Stage, client: Visitor, demands: Demands, rng: random.Random, key: str) -> None:
    member = stage.nearest(stage.ground.clients[client.number])

    def again(_: Call | None = None) -> None:
        if rng.random() < demands.reads:
            asked = 1 if demands.model == LINEARIZABLE else member
            client.seen = 0
            client.read(asked, key, mode=demands.model, done=again)
        else:
            # The laws know a command by its bytes, so no two may be the same.
            client.write(1, key, f"{len(stage.calls)} ".ljust(demands.value_bytes, "v"), done=again)

    again()


def _seats(clients: Mapping[int, float], count: int) -> list[int]:
    """So many clients, shared out by largest remainders. The number of calls a second of a site then depends on its
    latency; the formula has the same clients."""
    exact = {site: share * count for site, share in clients.items()}
    seats = {site: int(value) for site, value in exact.items()}
    left = count - sum(seats.values())
    for site in sorted(exact, key=lambda s: (seats[s] - exact[s], s))[:left]:
        seats[site] += 1
    return [site for site, number in seats.items() for _ in range(number)]


# -- failures -------------------------------------------------------------------------------------


def failovers(bench: Bench, protocol: str, trials: int) -> list[float]:
    """Times from the loss of the leader's machine until another has committed, ms."""
    rng = stream(bench.seed, "when")
    most = 2 * bench.config.replica.heartbeat_interval
    return [_failover(bench.stage(protocol, salt=10 + trial), rng.randrange(most)) for trial in range(trials)]


def _failover(stage: Stage, after: Nanos) -> float:
    stage.run_for(after)
    stage.crash(1)
    return stage.wait(lambda: _served(stage), "another leads and has committed") / MILLISECOND


def _served(stage: Stage) -> bool:
    leader = stage.leader()
    reign = stage.meter.reign(leader) if leader else None
    return reign is not None and leader != 1 and stage.nodes[leader].living.replica.commit >= reign.last


def serves_without(bench: Bench, protocol: str, gone: Sequence[MemberId], salt: int) -> bool:
    """Whether a write succeeds after these members have failed at once."""
    stage = bench.stage(protocol, salt=salt)
    for member in gone:
        stage.crash(member)
    left = [member for member in stage.nodes if member not in gone]
    if not left:
        return False
    patience = PATIENCE_TIMEOUTS * bench.timing.election_timeout_ms * MILLISECOND
    client = stage.client(stage.ground.members[left[0]])
    call = client.write(left[0], "after", "x", patience=patience)
    stage.wait(lambda: call.outcome is not Outcome.PENDING, "a write has an outcome", 2 * patience)
    return call.outcome is Outcome.OK


def losses(plan: Plan, survive: int, *, sites: bool) -> list[tuple[MemberId, ...]]:
    """Every set of so many members; or of whole sites those that a site has."""
    members = range(1, plan.nodes + 1)
    if sites:
        return [tuple(m for m in members if plan.replicas[m - 1] == site) for site in sorted(set(plan.replicas))]
    return list(combinations(members, survive))
