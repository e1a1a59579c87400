"""Coterie's ways to read, run on the stage under trouble; what clients saw, judged by `coterie.check`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from coterie.check import REGISTER, judge, linearizable, smallest
from coterie.check.counterexample import Counterexample
from coterie.check.lattice import LINEARIZABLE, SEQUENTIAL, STRONGEST_FIRST, weaker_than
from coterie.core.config import MILLISECOND
from coterie.core.settings import Settings
from coterie.core.types import MemberId
from coterie.lab.models.order import proves_sequential
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor
from coterie.sim.chance import stream

MEMBERS: Final = 3
ROUND_TRIP_MS: Final = 10.0
CLIENTS: Final = 4
KEYS: Final = ("x", "y")
THINKING_MS: Final = 160
"""At most, of a client between two operations."""
PATIENCE: Final = 700 * MILLISECOND
DRIFT_PPM: Final = 4_000
"""Within the 10 thousandths that the setting allows: two clocks differ by twice this at most."""
STEPS: Final = 5_000
"""For each model of a history that no order by revisions explains."""
LEASE: Final = Settings(lease_reads=True)

Loosen = Callable[[Visitor], None]
"""For tests: what a mode that lies does to its clients before each read."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration of Coterie and a way to use it."""

    name: str
    mode: str
    """Of the reads, as `Visitor.read` has it."""
    words: str
    """What is set and called."""
    settings: Settings = Settings()
    stays: bool = False
    """Whether a client asks one member only, the one of its site; else any, each time another."""
    crashes: bool = True
    """Whether a leader loses power and comes back."""
    holds: tuple[str, ...]
    """The models that it should have: these, and what they imply."""
    fails: tuple[str, ...] = ()
    """The models that the run should show it has not."""


WAYS: Final = (
    Way(name="linearizable reads", mode="linearizable", words="reads as they are by default, at any member",
        holds=("linearizable",)),
    Way(name="lease reads", mode="linearizable", words="the setting lease-reads on, at any member", settings=LEASE,
        holds=("linearizable",)),
    Way(name="session reads", mode="session", words="reads in a session, at any member",
        holds=("read-your-writes", "monotonic-reads", "sequential"), fails=("linearizable",)),
    Way(name="stale reads, one member", mode="stale", words="stale reads, each client at the member beside it",
        stays=True, crashes=False, holds=("sequential",), fails=("linearizable",)),
    Way(name="stale reads, one member that restarts", mode="stale",
        words="the same, and a member's process ends and begins anew",
        stays=True, holds=(), fails=("linearizable", "monotonic-reads")),
    Way(name="stale reads, any member", mode="stale", words="stale reads, each time at another member",
        crashes=False, holds=(), fails=("linearizable", "sequential", "read-your-writes", "monotonic-reads")),
)  # fmt: skip


class Measured(msgspec.Struct):
    """What one way to read gave, over all its trials."""

    way: Way
    protocol: str
    trials: int = 0
    operations: int = 0
    refused: int = 0
    leaders: int = 0
    """How often leadership changed while clients worked."""
    eventual: bool = True
    """After each trial, when nobody wrote any more, all members came to answer alike."""
    verdicts: dict[str, bool | None] = msgspec.field(default_factory=dict)
    """For each model: it held in every trial; it failed in one; None: it was open in one, and failed in none."""
    examples: dict[str, Counterexample] = msgspec.field(default_factory=dict)
    """For each that failed the smallest part of a history that shows it."""

    @property
    def strongest(self) -> tuple[str, ...]:
        """The models that held and that no other that held implies."""
        held = [model for model, verdict in self.verdicts.items() if verdict]
        return tuple(m for m in held if not any(m in weaker_than(other) for other in held))

    def add(self, calls: Sequence[Call]) -> None:
        """Count one more history."""
        operations = history(calls)
        self.trials += 1
        self.operations += len(operations)
        linear = linearizable(operations, REGISTER).holds
        if linear or proves_sequential(calls):
            # What these imply, they imply in every history: `witnesses` looks for one in which they do not.
            held = {LINEARIZABLE, *weaker_than(LINEARIZABLE)} if linear else {SEQUENTIAL, *weaker_than(SEQUENTIAL)}
            self._count({model: model in held for model in STRONGEST_FIRST})
            example = None if linear else smallest(operations, REGISTER)
            self._keep([example] if example is not None else [])
            return
        found = judge(operations, REGISTER, steps=STEPS)
        self._count({model: model in found.holds for model in STRONGEST_FIRST if model not in found.undecided})
        self._keep(found.counterexamples)

    def _count(self, verdicts: Mapping[str, bool]) -> None:
        for model in STRONGEST_FIRST:
            said, before = verdicts.get(model), self.verdicts.get(model, True)
            self.verdicts[model] = False if False in (said, before) else None if None in (said, before) else True

    def _keep(self, examples: Iterable[Counterexample]) -> None:
        for example in examples:
            known = self.examples.get(example.model)
            if known is None or len(example.operations) < len(known.operations):
                self.examples[example.model] = example


class _Worker:
    """A client that goes on by itself: writes and reads, with pauses."""

    def __init__(self, stage: Stage, number: int, way: Way, rng: random.Random, loosen: Loosen | None) -> None:
        self._stage = stage
        self._way = way
        self._rng = rng
        self._loosen = loosen
        self._home = 1 + number % MEMBERS
        self._visitor = stage.client(self._home - 1)
        self._written = 0
        self.stopped = False
        self._think()

    def _think(self, _: Call | None = None) -> None:
        if not self.stopped:
            pause = self._rng.randrange(1, THINKING_MS) * MILLISECOND
            self._stage.schedule.after(pause, "a client thinks", self._work)

    def _work(self) -> None:
        at: MemberId = self._home if self._way.stays else 1 + self._rng.randrange(MEMBERS)
        key = KEYS[self._rng.randrange(len(KEYS))]
        if self._rng.randrange(5) < 2:
            self._written += 1
            value = f"{self._visitor.number}.{self._written}"
            self._visitor.write(at, key, value, patience=PATIENCE, done=self._think)
            return
        if self._loosen is not None:
            self._loosen(self._visitor)
        self._visitor.read(at, key, mode=self._way.mode, patience=PATIENCE, done=self._think)


def trial(
    way: Way, protocol: str, seed: int, measured: Measured, *, seconds: int = 6, loosen: Loosen | None = None
) -> None:
    """One history: clients work while a follower is cut off, leadership moves, and a leader loses power."""
    geography = flat(MEMBERS, ROUND_TRIP_MS, disk_ms=0.5)
    stage = Stage(
        geography, [*range(MEMBERS)], seed=seed, protocol=protocol, settings=way.settings, drift_ppm=DRIFT_PPM
    )
    stage.lead(1)
    reigns = len(stage.meter.reigns)
    rng = stream(seed, f"lab models {way.name}")
    workers = [_Worker(stage, number, way, rng, loosen) for number in range(CLIENTS)]
    for step in range(seconds):
        _trouble(stage, step, rng, crashes=way.crashes)
    for worker in workers:
        worker.stopped = True
    stage.run_for(2 * PATIENCE)
    calls = [*stage.calls]
    measured.eventual = measured.eventual and _agree(stage)
    measured.leaders += len(stage.meter.reigns) - reigns
    measured.refused += sum(call.outcome is Outcome.REFUSED for call in calls)
    measured.add(calls)


def _agree(stage: Stage) -> bool:
    """Whether every member, asked for its own state when all is well again, answers alike."""
    stage.run_for(2 * stage.options.election_timeout)
    stage.wait_for_leader()
    stage.run_for(stage.options.election_timeout)
    found = set()
    for member in range(1, MEMBERS + 1):
        reader = stage.client(member - 1)
        for key in KEYS:
            call = reader.read(member, key, mode="stale")
            stage.wait(lambda: not reader.busy, "a stale read is answered")  # noqa: B023 (run before the next)
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
