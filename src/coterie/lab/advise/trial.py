"""A plan on the stage: the shipped code at these distances, with these quorums and timeouts."""

from __future__ import annotations

import random
from collections.abc import Sequence
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
from coterie.lab.advise.capacity import Capacity, seats
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
"""Calls of each client under load, at least."""
WARM_UP: Final = 2.0
"""Latencies of the slowest write that pass before anything is counted, and while it is, at least."""
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
    writes = [stage.undisturbed_ms(client.write(1, key, str(i)), BETWEEN) for i in range(calls)]
    member = 1 if mode == LINEARIZABLE else stage.nearest(site)
    reads = []
    for _ in range(calls):
        client.seen = 0  # A session that wrote elsewhere waits for its own writes: that is another latency.
        reads.append(stage.undisturbed_ms(client.read(member, key, mode=mode), BETWEEN))
    return Seen(tuple(sorted(writes)), tuple(sorted(reads)))


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
    deployment = bench.plan.deployment(bench.network, lease=demands.lease)
    slowest = 0.0
    for number, site in enumerate(seats(demands.clients, demands.in_flight)):
        write, read = deployment.write_mean(site), deployment.read_mean(site, demands.model)
        slowest = max(slowest, write)
        in_writes = (1 - demands.reads) * write
        first = rng.random() * (in_writes + demands.reads * read) < in_writes
        # As if they had been at it for long: so many are writing, and all are out of step.
        begin = _Busy(stage, stage.client(site), demands, rng, f"k{number}")
        delay = int(rng.random() * (write if first else read) * MILLISECOND)
        stage.schedule.after(delay, "client", begin.write if first else begin.read)
    stage.run_for(int(WARM_UP * slowest * MILLISECOND))
    began, before = stage.now, _over(stage.calls)
    least = began + int(WARM_UP * slowest * MILLISECOND)
    stage.wait(lambda: stage.now >= least and _over(stage.calls) - before >= calls, "clients have made their calls")
    return (_over(stage.calls) - before) / ((stage.now - began) / 1e9)


def _over(calls: Sequence[Call]) -> int:
    return sum(call.outcome is Outcome.OK for call in calls)


class _Busy:
    """A client that begins a call when the last is answered."""

    def __init__(self, stage: Stage, client: Visitor, demands: Demands, rng: random.Random, key: str) -> None:
        self._stage, self._client, self._demands, self._rng, self._key = stage, client, demands, rng, key
        self._near = stage.nearest(stage.ground.clients[client.number])

    def _again(self, _: Call) -> None:
        if self._rng.random() < self._demands.reads:
            self.read()
        else:
            self.write()

    def read(self) -> None:
        """The next call."""
        mode = self._demands.model
        self._client.seen = 0
        self._client.read(1 if mode == LINEARIZABLE else self._near, self._key, mode=mode, done=self._again)

    def write(self) -> None:
        """The next call. The laws know a command by its bytes, so no two may be the same."""
        value = f"{len(self._stage.calls)} ".ljust(self._demands.value_bytes, "v")
        self._client.write(1, self._key, value, done=self._again)


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
    return stage.finish(call, 2 * patience).outcome is Outcome.OK


def losses(plan: Plan, survive: int, *, sites: bool) -> list[tuple[MemberId, ...]]:
    """Every set of so many members; or of whole sites those that a site has."""
    members = range(1, plan.nodes + 1)
    if sites:
        return [tuple(m for m in members if plan.replicas[m - 1] == site) for site in sorted(set(plan.replicas))]
    return list(combinations(members, survive))
