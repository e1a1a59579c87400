"""Consensus by tossing coins (Ben-Or 1983, "Another Advantage of Free Choice", protocol A): a reference for the lab.

n processes of which fewer than half may crash, t < n/2, agree on a bit. A process with the value x does in each round:

    1. Send (1, r, x) to all. Wait for n - t of these. If more than n/2 of them have one value v, send (2, r, v) to all;
       else send (2, r, ?).
    2. Wait for n - t of these. If one of them has a value v, x becomes v; if more than t have it, decide v.
       If none has a value, x becomes the toss of a coin.

*Agreement.* A value v that is sent in step 2 was seen from more than n/2, so no other is sent in this round. Who
decides heard v from more than t; of these every other process hears one at least, for it misses t: all begin the next
round with v, and decide it there. *Validity.* If all begin with v, all decide v in round 1. *Termination.* With
probability 1: in each round the coins may fall alike, and then nobody can keep a decision away, not even somebody who
knows all but the coins to come.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec

from coterie.core.errors import ConfigurationError

Bit: TypeAlias = int
UNDECIDED: Final = -1
"""Stands in a message of step 2 for '?'."""


class Note(NamedTuple):
    """A message: of a round and a step, with a bit or `UNDECIDED`."""

    round: int
    step: int
    value: Bit


def toss(rng: random.Random, own: Bit) -> Bit:
    """A fair coin. `own`: the value that the process has had."""
    return rng.getrandbits(1)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How many processes, and what they go by."""

    processes: int
    crashes: int
    """How many may crash: t."""
    decides_with: int | None = None
    """Messages with a value that make one decide: t + 1, unless the protocol is to be wrong."""
    coin: Callable[[random.Random, Bit], Bit] = toss

    def __post_init__(self) -> None:
        if not 0 <= self.crashes * 2 < self.processes:
            raise ConfigurationError(
                f"crashes is {self.crashes} of {self.processes} processes: it must be fewer than half of them"
            )

    @property
    def heard(self) -> int:
        """Messages that are waited for."""
        return self.processes - self.crashes

    @property
    def enough(self) -> int:
        """Messages with a value that make one decide."""
        return self.crashes + 1 if self.decides_with is None else self.decides_with


class Process:
    """One process. It goes on when it has decided, for others need to hear it."""

    def __init__(self, rules: Rules, value: Bit, rng: random.Random) -> None:
        self.value = value
        self.round = 1
        self.step = 1
        self.decided: Bit | None = None
        self.decided_in = 0
        """The round in which it decided."""
        self._rules = rules
        self._rng = rng
        self._heard: defaultdict[tuple[int, int], list[Bit]] = defaultdict(list)

    def begin(self) -> Note:
        """What it sends first."""
        return Note(1, 1, self.value)

    def hear(self, note: Note) -> list[Note]:
        """A message arrives, each sender's once; what is to be sent to all then. One of an earlier step is too late."""
        if (note.round, note.step) < (self.round, self.step):
            return []
        self._heard[note.round, note.step].append(note.value)
        says = []
        while len(self._heard[self.round, self.step]) >= self._rules.heard:
            says.append(self._go_on(self._heard.pop((self.round, self.step))))
        return says

    def _go_on(self, values: list[Bit]) -> Note:
        if self.step == 1:
            self.step = 2
            value = next((v for v in (0, 1) if values.count(v) * 2 > self._rules.processes), UNDECIDED)
            return Note(self.round, 2, value)
        told = [v for v in values if v != UNDECIDED]
        if told:
            self.value = told[0]
            if self.decided is None and len(told) >= self._rules.enough:
                self.decided, self.decided_in = self.value, self.round
        else:
            self.value = self._rules.coin(self._rng, self.value)
        self.round += 1
        self.step = 1
        return Note(self.round, 1, self.value)
