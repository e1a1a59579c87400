"""Partial synchrony (Dwork, Lynch, Stockmeyer 1988): the shipped protocols, with timers right or wrong about delay.

Two forms of it. *The bound is unknown*: messages take at most some time, and nobody knows which. An election timeout T
is a guess: a leader is kept by answers that take a round trip, so the guess is right if 2 delays fit into T. *The bound
holds from some time on* (GST), and before it anything may happen. In both, agreement must never rest on the guess: the
simulated world checks the laws of both protocols at every step of every run, and raises `Violation` where one breaks.

How long it takes when the guess is right: each member waits between T and 5/4 T, then comes a round trip for each of
the pre-vote, the vote and the first entry of the new leader:

    T + 6 delay  <=  time to a leader  <=  5/4 T + 6 delay (1 + jitter) + disks
"""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable
from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.types import Nanos
from coterie.engine.config import EngineConfig
from coterie.lab.errors import LabError
from coterie.lab.stage.calls import Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor

MEMBERS: Final = 3
TIMEOUT_MS: Final = 1000
"""The election timeout of the product, unless it is told otherwise."""
DISK_MS: Final = 1.0
PATIENCE_TIMEOUTS: Final = 20
"""Election timeouts without a leader, and a trial is given up."""
DELAYS: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0, 2.0)
"""Shares of T."""
RIGHT, WRONG = 0.4, 0.6
"""Up to this share of T the guess is clearly right (2 delays, and jitter, are less than T); from that one, wrong."""
RETRY_TIMEOUTS: Final = 6
"""Who doubles the timeout waits for so many of them: T > 2 delays elects within 5/4 T + 7 delays < 5 T."""
STORM_TIMEOUTS: Final = 2
"""Mean delay before GST, in election timeouts."""
WORK_EVERY: Final = 50 * MILLISECOND


def config(timeout_ms: int) -> EngineConfig:
    """The product's configuration with another election timeout, and its heartbeat in proportion."""
    timeout = timeout_ms * MILLISECOND
    replica = ReplicaConfig(election_timeout=timeout, heartbeat_interval=timeout // 10)
    return EngineConfig(replica=replica)


class Election(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster started from nothing."""

    protocol: str
    delay_ms: float
    """One way."""
    timeout_ms: int
    seed: int
    took_ms: float | None
    """Until a member led and had committed an entry of its epoch; None: nobody did in time."""
    reigns: int
    """Members that led, if only for a while."""


def elect(
    protocol: str, delay_ms: float, seed: int, *, timeout_ms: int = TIMEOUT_MS, patience: int = PATIENCE_TIMEOUTS
) -> Election:
    """Start three members that are so far apart, and wait for a leader. Raises `Violation` if a law is broken."""
    geography = flat(MEMBERS, 2 * delay_ms, disk_ms=DISK_MS)
    stage = Stage(geography, range(MEMBERS), seed=seed, protocol=protocol, config=config(timeout_ms))
    took: float | None
    try:
        stage.wait(stage.is_led, "a member leads", patience * timeout_ms * MILLISECOND)
        took = stage.now / MILLISECOND
    except LabError:
        took = None
    return Election(
        protocol=protocol,
        delay_ms=delay_ms,
        timeout_ms=timeout_ms,
        seed=seed,
        took_ms=took,
        reigns=len(stage.meter.reigns),
    )


def bounds_ms(delay_ms: float, timeout_ms: int = TIMEOUT_MS) -> tuple[float, float]:
    """Least and most time to a leader, if the guess is right. Jitter is exponential with 5 % of each delay: the sum of
    six is beyond one whole delay in one of 10^5 trials. Up to six writes follow one another."""
    return timeout_ms + 6 * delay_ms, timeout_ms * 5 / 4 + 7 * delay_ms + 6 * 2 * DISK_MS


class Doubling(msgspec.Struct, frozen=True, kw_only=True):
    """A group that doubles its timeout until it is led: no bound need be known."""

    protocol: str
    delay_ms: float
    attempts: tuple[Election, ...]

    @property
    def timeout_ms(self) -> int:
        """The timeout that was long enough, or the last that was tried."""
        return self.attempts[-1].timeout_ms

    @property
    def total_ms(self) -> float | None:
        """All attempts together; None: even the last failed."""
        last = self.attempts[-1].took_ms
        return None if last is None else last + sum(a.timeout_ms * RETRY_TIMEOUTS for a in self.attempts[:-1])


def double(protocol: str, delay_ms: float, seed: int, *, first_ms: int, most: int = 10) -> Doubling:
    """Start with a timeout of `first_ms`; each time that nobody leads in time, begin again with twice as much. Nothing
    was chosen before a leader was there, so each attempt is a cluster from nothing."""
    attempts: list[Election] = []
    while len(attempts) < most and (not attempts or attempts[-1].took_ms is None):
        timeout = first_ms << len(attempts)
        attempts.append(elect(protocol, delay_ms, seed, timeout_ms=timeout, patience=RETRY_TIMEOUTS))
    return Doubling(protocol=protocol, delay_ms=delay_ms, attempts=tuple(attempts))


class Stabilised(msgspec.Struct, frozen=True, kw_only=True):
    """A run in which delays were without bound before GST."""

    protocol: str
    gst_ms: int
    seed: int
    took_ms: float | None
    """From GST until a write that was asked for after it was acknowledged."""
    reigns_before: int
    """Members that led before GST."""
    done_before: int
    """Calls of clients that were answered before GST."""
    calls: int
    linearizable: bool | None
    """Whether the clients' history is, before GST and after; None: the checker could not tell."""


def stabilise(protocol: str, gst_ms: int, seed: int, *, delay_ms: float = 10.0) -> Stabilised:
    """Three members and three clients in a storm that ends at GST. Raises `Violation` if a law is broken."""
    stage = Stage(
        flat(MEMBERS, 2 * delay_ms, disk_ms=DISK_MS),
        range(MEMBERS),
        seed=seed,
        protocol=protocol,
        config=config(TIMEOUT_MS),
    )
    gst = gst_ms * MILLISECOND
    stage.storm(gst, STORM_TIMEOUTS * TIMEOUT_MS * MILLISECOND)
    clients = [stage.client(site) for site in range(MEMBERS)]
    limit = gst + PATIENCE_TIMEOUTS * TIMEOUT_MS * MILLISECOND
    took: Nanos | None = None
    while took is None and stage.now < limit:
        for client in clients:
            _work(stage, client)
        stage.run_for(WORK_EVERY)
        took = min((c.end - gst for c in stage.calls if _is_after(c.f, c.start, c.outcome, gst)), default=None)
    stage.run_for(2 * TIMEOUT_MS * MILLISECOND)
    verdict = linearizable(history(stage.calls), REGISTER)
    return Stabilised(
        protocol=protocol,
        gst_ms=gst_ms,
        seed=seed,
        took_ms=None if took is None else took / MILLISECOND,
        reigns_before=sum(r.start < gst for r in stage.meter.reigns),
        done_before=sum(c.outcome is Outcome.OK and c.end < gst for c in stage.calls),
        calls=len(stage.calls),
        linearizable=verdict.holds,
    )


def _is_after(f: str, start: Nanos, outcome: Outcome, gst: Nanos) -> bool:
    return f == "write" and outcome is Outcome.OK and start >= gst


def _work(stage: Stage, client: Visitor) -> None:
    """A client that has nothing to do writes, or reads what was written, by turns."""
    if client.busy:
        return
    number = len(stage.calls)
    patience = TIMEOUT_MS * MILLISECOND
    if number % 3 == 2:
        client.read(client.number, "x", patience=patience)
    else:
        client.write(client.number, "x", str(number), patience=patience)


def gst_bound_ms(delay_ms: float = 10.0) -> float:
    """From GST until a write is acknowledged: an election at most, of which a first attempt may fail (two members call
    one at once; the next comes within a whole timeout), a client that gives a lost call up first, and its write."""
    return bounds_ms(delay_ms)[1] + 2 * TIMEOUT_MS
