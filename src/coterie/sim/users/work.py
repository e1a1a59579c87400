"""A user's machine as the subject of a world, and what its clients do."""

from __future__ import annotations

import random
from typing import Final

from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Answer, ReadMode
from coterie.machine.interface import StateMachine
from coterie.sim.subject import Errand, Judge, Subject, Work
from coterie.sim.users.bench import MakeMachine
from coterie.sim.users.judge import UserJudge
from coterie.sim.users.operations import Command, Operation, Sent, Supply, body_of, label, number_of
from coterie.sim.verdict import Figures

MAX_DRAWS: Final = 1000
"""Operations that are drawn to find a command among them."""


class UserSubject(Subject):
    """A user's machine and the work of its clients."""

    def __init__(self, make: MakeMachine, judge: UserJudge, supply: Supply, figures: Figures) -> None:
        """`figures`: those that `judge` counts in."""
        super().__init__()
        self.figures = figures
        self._make = make
        self._judge = judge
        self._supply = supply

    @property
    def judge(self) -> Judge:
        """See `Subject`."""
        return self._judge

    def machine(self, member: MemberId) -> StateMachine:
        """See `Subject`."""
        return self._make()

    def work(self, number: int, rng: random.Random) -> Work:
        """See `Subject`."""
        return UserWork(number, rng, self._judge, self._supply)


class UserWork:
    """See `Work`: operations from the supply; at the end one read, one command, and all that the supply must send."""

    def __init__(self, client: int, rng: random.Random, judge: UserJudge, supply: Supply) -> None:
        self._client = client
        self._rng = rng
        self._judge = judge
        self._supply = supply
        self._question: bytes | None = None
        """The last that this client asked."""
        self._sent: dict[int, Sent] = {}
        """What is under way, by number."""
        self.goal = self.read = self.wrote = False

    @property
    def reached(self) -> bool:
        """See `Work`."""
        return self.goal and self.read and self.wrote and not self._supply.left

    def next(self, now: Nanos) -> Errand | None:
        """See `Work`."""
        if self.goal and not self.read:
            return self._probe(now)
        if self.goal:
            self._supply.hurry()
        sent = self._command(now) if self.goal and not self.wrote else self._supply.take(self._rng, now)
        if sent is None:
            self.wrote |= self.goal
            return None
        write = isinstance(sent, Command)
        if not write:
            self._question = body_of(sent)
        number, operation = self._judge.begin(self._client, write, body_of(sent), now)
        self._sent[number] = sent
        return self._errand(number, operation)

    def _command(self, now: Nanos) -> Sent | None:
        """A command, if the supply has one; questions on the way are left out where there are always more."""
        for _ in range(MAX_DRAWS):
            sent = self._supply.take(self._rng, now)
            if sent is None or isinstance(sent, Command) or self._supply.left:
                return sent
        return None

    def _probe(self, now: Nanos) -> Errand:
        """The last question once more; a client that never asked any wants any answer at all."""
        probe = self._question is None
        return self._errand(*self._judge.begin(self._client, False, self._question or b"", now, probe=probe))

    def _errand(self, number: int, operation: Operation) -> Errand:
        return Errand(operation, label(number, operation.body), ReadMode.LINEARIZABLE, 0)

    def answered(self, errand: Errand, answer: Answer, now: Nanos) -> None:
        """See `Work`."""
        self._judge.answered(self._number(errand), answer.body, now)
        self._done(errand)

    def failed(self, errand: Errand, happened: str, now: Nanos) -> None:
        """See `Work`."""
        number = self._number(errand)
        self._judge.failed(number, happened, now)
        operation = self._judge.operations[number]
        if operation.outcome == "rejected":
            self._done(errand)
        elif operation.outcome == "no" and number in self._sent:
            self._supply.give_back(self._sent.pop(number))

    def _done(self, errand: Errand) -> None:
        self._sent.pop(self._number(errand), None)
        if errand.op.write:
            self.wrote |= self.goal
        else:
            self.read |= self.goal

    def _number(self, errand: Errand) -> int:
        return number_of(errand.payload)
