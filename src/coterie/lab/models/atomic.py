"""Coterie's transactions, run on the stage under trouble, and judged as transactions.

Every write is a transaction that reads a key and writes one or two. Reads take both keys at once, in some mode. Strict
serializability is decided by `coterie.check`; serializability is proved by an order, that of the revisions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.check import FOREVER, KEY_VALUE, Operation, linearizable, smallest
from coterie.check.counterexample import Counterexample
from coterie.core.settings import Settings
from coterie.lab.models.performance import KEYS, PATIENCE, Worker, perform
from coterie.lab.models.transactions import SERIALIZABLE, STRICT
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.stage import Stage

PATIENCE_STEPS: Final = 2000
"""How often the checker asks whether to go on."""


class Transacting(msgspec.Struct, frozen=True):
    """A way to read several keys at once, beside transactions that write."""

    name: str
    mode: str
    strict: bool
    """Whether it should be strict serializable; serializable it is in any case."""
    settings: Settings = Settings()


TRANSACTING: Final = (
    Transacting("transactions, linearizable reads", "linearizable", True),
    Transacting("transactions, lease reads", "linearizable", True, Settings(lease_reads=True)),
    Transacting("transactions, session reads", "session", False),
    Transacting("transactions, stale reads", "stale", False),
)


class Transacted(msgspec.Struct):
    """What came of all trials."""

    how: Transacting
    protocol: str
    trials: int = 0
    transactions: int = 0
    leaders: int = 0
    strict: bool | None = True
    """None: the checker gave up in one trial, and said no in none."""
    serializable: bool = True
    """Proved in every trial."""
    example: Counterexample | None = None
    """The smallest part that is not strict serializable."""

    @property
    def strongest(self) -> str:
        """The model that held."""
        return STRICT if self.strict else SERIALIZABLE if self.serializable else "none that was shown"

    @property
    def unseen(self) -> bool:
        """Whether what should fail has not, so far."""
        return not self.how.strict and self.strict is not False

    def add(self, calls: Sequence[Call]) -> None:
        """Count one more history."""
        operations = as_operations(calls)
        questions = iter(range(PATIENCE_STEPS))
        self.trials += 1
        self.transactions += len(operations)
        holds = linearizable(operations, KEY_VALUE, lambda: next(questions, None) is not None).holds
        self.strict = False if False in (holds, self.strict) else None if None in (holds, self.strict) else True
        self.serializable = self.serializable and (holds is True or proves_serializable(calls))
        if holds is False:
            found = smallest(operations, KEY_VALUE)
            if found is not None and (self.example is None or len(found.operations) < len(self.example.operations)):
                self.example = found


def as_operations(calls: Sequence[Call]) -> list[Operation]:
    """Transactions as `coterie.check` takes them. What was refused did not happen; what only read, and has no answer,
    says nothing."""
    found = []
    for call in calls:
        known = call.outcome is Outcome.OK
        if call.outcome is Outcome.REFUSED or not (known or call.changes):
            continue
        end = call.end if known else FOREVER
        found.append(
            Operation(
                process=call.client, f="txn", argument=call.parts, result=call.parts if known else None,
                start=call.start, end=end,
            )
        )  # fmt: skip
    return found


def proves_serializable(calls: Sequence[Call]) -> bool:
    """Whether the transactions in the order of their revisions are one after the other. One of unknown outcome has the
    revision that a read of what it wrote names; if nobody read that, it need not have happened."""
    named = {
        (key, value): changed
        for call in calls
        if call.outcome is Outcome.OK
        for (f, key, value), changed in zip(call.parts, call.parts_changed, strict=True)
        if f == "r"
    }
    placed: list[tuple[int, bool, Call]] = []
    for call in calls:
        if call.outcome is Outcome.OK:
            placed.append((call.revision, not call.changes, call))
        elif call.outcome is not Outcome.REFUSED:
            seen = {named[key, value] for f, key, value in call.parts if f == "w" and (key, value) in named}
            placed += [(revision, False, call) for revision in seen]
    held: dict[str, str | None] = {}
    for _, _, call in sorted(placed, key=lambda one: one[:2]):
        for f, key, value in call.parts:
            if f == "w":
                held[key] = value
            elif call.outcome is Outcome.OK and held.get(key) != value:
                return False
    return True


class _Transactor(Worker):
    """Moves values about, and looks at both keys."""

    mode = "linearizable"

    def work(self) -> None:
        """See `Worker`."""
        if self.rng.randrange(5) < 2:
            value = self.value()
            written = KEYS if self.rng.getrandbits(1) else (KEYS[self.rng.randrange(len(KEYS))],)
            looked = KEYS[self.rng.randrange(len(KEYS))]
            writes = {key: f"{value}{key}" for key in written}
            self.visitor.transact(self.member(), (looked,), writes, patience=PATIENCE, done=self.think)
        else:
            self.visitor.transact(self.member(), KEYS, {}, mode=self.mode, patience=PATIENCE, done=self.think)


def trial(how: Transacting, protocol: str, seed: int, transacted: Transacted, *, mode: str | None = None) -> None:
    """One more history, counted in `transacted`. `mode`: for tests, how reads are made in truth."""

    def hire(stage: Stage, number: int, rng: random.Random) -> Worker:
        worker = _Transactor(stage, number, rng, stays=False)
        worker.mode = mode or how.mode
        return worker

    performed = perform(protocol, seed, hire, settings=how.settings, crashes=True)
    transacted.leaders += performed.leaders
    transacted.add(performed.calls)
