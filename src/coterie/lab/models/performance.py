"""A cluster under trouble, with clients that go on: what all experiments with Coterie's reads have in common."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.settings import Settings
from coterie.core.types import MemberId
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.sim.chance import stream

MEMBERS: Final = 3
ROUND_TRIP_MS: Final = 10.0
CLIENTS: Final = 4
KEYS: Final = ("x", "y")
SECONDS: Final = 6
"""Kinds of trouble, about a second each."""
THINKING_MS: Final = 160
"""At most, of a client between two operations."""
PATIENCE: Final = 700 * MILLISECOND
DRIFT_PPM: Final = 4_000
"""Within the 10 thousandths that the setting allows: two clocks differ by twice this at most."""


class Performance(msgspec.Struct, frozen=True):
    """What came of it."""

    calls: list[Call]
    leaders: int
    """How often leadership changed while clients worked."""
    eventual: bool
    """When nobody wrote any more, all members came to answer alike."""

    @property
    def refused(self) -> int:
        """Calls that did not happen."""
        return sum(call.outcome is Outcome.REFUSED for call in self.calls)


class Worker(ABC):
    """A client that goes on by itself, with pauses; `work` is what it does."""

    def __init__(self, stage: Stage, number: int, rng: random.Random, *, stays: bool) -> None:
        self.visitor = stage.client(number % MEMBERS)
        self.rng = rng
        self.stopped = False
        self._stage = stage
        self._home: MemberId | None = 1 + number % MEMBERS if stays else None
        self._written = 0

    def member(self) -> MemberId:
        """Whom to ask next."""
        return self._home if self._home is not None else 1 + self.rng.randrange(MEMBERS)

    def value(self) -> str:
        """One that nobody wrote before."""
        self._written += 1
        return f"{self.visitor.number}.{self._written}"

    @abstractmethod
    def work(self) -> None:
        """Begin one operation, at whose end comes `think`."""

    def think(self, _: Call | None = None) -> None:
        if not self.stopped:
            pause = self.rng.randrange(1, THINKING_MS) * MILLISECOND
            self._stage.schedule.after(pause, "a client thinks", self.work)


Hire = Callable[[Stage, int, random.Random], Worker]
"""Makes the client of this number."""


def perform(protocol: str, seed: int, hire: Hire, *, settings: Settings, crashes: bool) -> Performance:
    """Clients work while a follower lags, leadership moves, the leader is cut off, and, if `crashes`, loses power."""
    geography = flat(MEMBERS, ROUND_TRIP_MS, disk_ms=0.5)
    stage = Stage(geography, [*range(MEMBERS)], seed=seed, protocol=protocol, settings=settings, drift_ppm=DRIFT_PPM)
    stage.lead(1)
    reigns = len(stage.meter.reigns)
    rng = stream(seed, "lab models")
    workers = [hire(stage, number, rng) for number in range(CLIENTS)]
    for worker in workers:
        worker.think()
    for step in range(SECONDS):
        _trouble(stage, step, rng, crashes=crashes)
    for worker in workers:
        worker.stopped = True
    stage.run_for(2 * PATIENCE)
    calls = [*stage.calls]
    return Performance(calls, len(stage.meter.reigns) - reigns, _agree(stage))


def _agree(stage: Stage) -> bool:
    """Whether every member, asked for its own state when all is well again, answers alike."""
    stage.run_for(2 * stage.options.election_timeout)
    stage.wait_for_leader()
    stage.run_for(stage.options.election_timeout)
    found = set()
    for member in range(1, MEMBERS + 1):
        reader = stage.client(member - 1)
        for key in KEYS:
            call = stage.finish(reader.read(member, key, mode="stale"))
            found.add((key, call.value) if call.outcome is Outcome.OK else (key, call.reason))
    return len(found) == len(KEYS)


def _trouble(stage: Stage, step: int, rng: random.Random, *, crashes: bool) -> None:
    """A second, in most of which something is wrong."""
    leader = stage.leader()
    others = [member for member in range(1, MEMBERS + 1) if member != leader]
    kind = ("lag", "transfer", "lag", "cut", "crash", "quiet")[step % 6]
    if kind == "lag" and leader:
        # Only the members do not hear each other: the one that lags still has its clients, wherever they are.
        behind = others[rng.randrange(len(others))]
        links = [pair for o in range(1, MEMBERS + 1) if o != behind for pair in ((o, behind), (behind, o))]
        stage.network.cut(links)
        stage.run_for(800 * MILLISECOND)
        stage.network.mend(links)
    elif kind == "transfer" and leader:
        stage.ask(lambda: stage.transfer_to(others[0]))
    elif kind == "cut" and leader:
        stage.split([leader - 1], [member - 1 for member in others])
        stage.run_for(1800 * MILLISECOND)
        stage.mend()
    elif kind == "crash" and leader and crashes:
        stage.crash(leader)
        stage.run_for(1600 * MILLISECOND)
        stage.restart(leader)
    stage.run_for(250 * MILLISECOND)
