"""Coterie's ways to read, run on the stage under trouble; what clients saw, judged by `coterie.check`."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from coterie.check import REGISTER, judge, linearizable, smallest
from coterie.check.counterexample import Counterexample
from coterie.check.lattice import LINEARIZABLE, SEQUENTIAL, STRONGEST_FIRST, weaker_than
from coterie.core.settings import Settings
from coterie.lab.models.order import proves_sequential
from coterie.lab.models.performance import KEYS, PATIENCE, Performance, Worker, perform
from coterie.lab.stage.calls import history
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor

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

    @property
    def unseen(self) -> bool:
        """Whether a model that should fail has not, so far."""
        return any(self.verdicts.get(model) is not False for model in self.way.fails)

    def add(self, performed: Performance) -> None:
        """Count one more history."""
        calls = performed.calls
        operations = history(calls)
        self.leaders += performed.leaders
        self.refused += performed.refused
        self.eventual = self.eventual and performed.eventual
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


class _Reader(Worker):
    """Writes, and reads in one way."""

    way: Way
    loosen: Loosen | None = None

    def work(self) -> None:
        """See `Worker`."""
        key = KEYS[self.rng.randrange(len(KEYS))]
        if self.rng.randrange(5) < 2:
            self.visitor.write(self.member(), key, self.value(), patience=PATIENCE, done=self.think)
            return
        if self.loosen is not None:
            self.loosen(self.visitor)
        self.visitor.read(self.member(), key, mode=self.way.mode, patience=PATIENCE, done=self.think)


def trial(way: Way, protocol: str, seed: int, measured: Measured, *, loosen: Loosen | None = None) -> None:
    """One more history, counted in `measured`."""

    def hire(stage: Stage, number: int, rng: random.Random) -> Worker:
        reader = _Reader(stage, number, rng, stays=way.stays)
        reader.way, reader.loosen = way, loosen
        return reader

    measured.add(perform(protocol, seed, hire, settings=way.settings, crashes=way.crashes))
