"""Availability on the stage: machines that fail and come back at random, and whether writes are answered meanwhile.

Failures are far more frequent than in life, or nothing would be seen; the formula is asked about the same failures: the
share of the time in which enough were up, less a mean fail-over for each time that the leader was lost, or that enough
were up again and had no leader (in life too seldom to count).
"""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.lab.advise.trial import Bench
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor
from coterie.sim.chance import exponential, stream

UP_TIMEOUTS: Final = 24
"""Mean time between failures of a machine, in election timeouts."""
DOWN_TIMEOUTS: Final = 5
PROBES_A_TIMEOUT: Final = 3
"""Writes begun in an election timeout."""
SLACK: Final = 1.5
"""A write that takes longer than this many of the slowest usual ones was not served at once."""


class Outages(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the time."""

    by_formula: float
    simulated: float
    probes: int
    leaders_lost: int
    regained: int


class _Life:
    """Machines that fail and are repaired, each by itself."""

    def __init__(self, stage: Stage, bench: Bench, seed: int, timeout: Nanos) -> None:
        self._stage, self._rng, self._timeout = stage, stream(seed, "outages"), timeout
        self._need = max(bench.plan.phase_1, bench.plan.phase_2)
        self.down: set[MemberId] = set()
        self.enough: Nanos = 0
        """Time in which enough were up."""
        self.leaders_lost = 0
        self.regained = 0
        """How often enough were up again, and nobody led."""
        self._since = stage.now
        for member in stage.nodes:
            self._later(member)

    def _later(self, member: MemberId) -> None:
        mean = DOWN_TIMEOUTS if member in self.down else UP_TIMEOUTS
        self._stage.schedule.after(exponential(self._rng, mean * self._timeout), "life", lambda: self._turn(member))

    def count(self) -> None:
        """Add what has passed since the last change."""
        if len(self._stage.nodes) - len(self.down) >= self._need:
            self.enough += self._stage.now - self._since
        self._since = self._stage.now

    def _turn(self, member: MemberId) -> None:
        self.count()
        if member in self.down:
            self.down.discard(member)
            enough = len(self._stage.nodes) - len(self.down) == self._need
            self.regained += enough and self._stage.leader() == NOBODY
            self._stage.restart(member)
        else:
            if self._stage.leader() == member and len(self._stage.nodes) - len(self.down) > self._need:
                self.leaders_lost += 1
            self.down.add(member)
            self._stage.crash(member)
        self._later(member)


def outages(bench: Bench, protocol: str, timeouts: int, failover_ms: float) -> Outages:
    """Let machines fail for so many election timeouts, and probe with writes at members that are up."""
    stage = bench.stage(protocol, salt=2, compacted=True)
    timeout = bench.config.replica.election_timeout
    usual = _usual(bench)
    began = stage.now
    life = _Life(stage, bench, bench.seed, timeout)
    served: list[bool] = []
    clients: list[Visitor] = []
    for number in range(timeouts * PROBES_A_TIMEOUT):
        up = [member for member in stage.nodes if member not in life.down]
        if up:
            _probe(stage, clients, up[number % len(up)], number, usual, served)
        else:
            served.append(False)
        # By the clock, not from event to event: where little happens, probes would come late, and count for less.
        stage.run_until(began + (number + 1) * timeout // PROBES_A_TIMEOUT)
    life.count()
    whole = stage.now - began
    stage.run_for(usual * 2)
    # When enough are up again, their timers run already: half of a timeout is over on average.
    lost = life.leaders_lost * failover_ms * MILLISECOND
    lost += life.regained * max(0.0, failover_ms * MILLISECOND - timeout / 2)
    return Outages(
        by_formula=(life.enough - lost) / whole,
        simulated=sum(served) / len(served),
        probes=len(served),
        leaders_lost=life.leaders_lost,
        regained=life.regained,
    )


def _usual(bench: Bench) -> Nanos:
    """What the slowest write takes when all is well, whoever leads, and is asked, with room to spare."""
    g, places = bench.network.geography, set(bench.plan.replicas)
    far = max((g.between_ms(a, b) for a in places for b in places), default=0.0)
    return int((2 * far * (1 + 4 * g.jitter) + 2 * bench.network.tail_ms + 5) * SLACK * MILLISECOND)


def _probe(
    stage: Stage, clients: list[Visitor], member: MemberId, number: int, usual: Nanos, served: list[bool]
) -> None:
    site = stage.ground.members[member]
    free = [c for c in clients if not c.busy and stage.ground.clients[c.number] == site]
    client = free[0] if free else stage.client(site)
    if not free:
        clients.append(client)

    def done(call: Call) -> None:
        served.append(call.outcome is Outcome.OK and call.latency <= usual)

    client.write(member, f"p{number % 16}", str(number), patience=usual, done=done)
