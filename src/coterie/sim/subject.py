"""What a world is about: the machine that its members run, what its clients ask of it, and who judges the answers.

Everything else in the world is the same for every machine. The key-value machine is the product's own subject
(`workload.KeyValueSubject`); `users/` has the subject for a machine of one's own.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from coterie.core.types import Index, MemberId, Nanos
from coterie.engine.protocol import Answer, ReadMode
from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.sim.verdict import Figures


class Op(Protocol):
    """One operation of a client, as its judge keeps it."""

    @property
    def write(self) -> bool:
        """Whether it is a command, not a question."""
        ...


class Errand(NamedTuple):
    """One operation, and what to send for it."""

    op: Op
    payload: bytes
    """A command if `op.write`, else a question."""
    mode: ReadMode
    at_least: int


class Work(Protocol):
    """What one client does, and what it makes of the answers."""

    goal: bool
    """The world is healed: what is left is to reach the goal, one read and one write that succeed."""
    read: bool
    """That read has succeeded."""
    wrote: bool
    """That write has."""

    @property
    def reached(self) -> bool:
        """The goal is set and reached."""
        ...

    def next(self, now: Nanos) -> Errand | None:
        """Begin an operation; None if there is nothing to do at present."""
        ...

    def answered(self, errand: Errand, answer: Answer, now: Nanos) -> None:
        """The operation succeeded."""
        ...

    def failed(self, errand: Errand, happened: str, now: Nanos) -> None:
        """The operation failed: `no`, `yes` (its reply is lost) or `unknown`."""
        ...


class Judge(ABC):
    """Who knows what the replicated machine did, and holds clients' answers against it. Raises `Violation`."""

    @property
    @abstractmethod
    def applied_index(self) -> Index:
        """Highest index whose commands some replica applied."""

    def given(self, payload: bytes) -> bytes:
        """What the machine is given of a client's command or question."""
        return payload

    @abstractmethod
    def applied(self, machine: StateMachine, batch: Batch, replies: Sequence[bytes | Rejected]) -> None:
        """Some replica's machine applied this batch, as clients sent it, and replied."""

    def passed(self, machine: StateMachine, index: Index, time: Nanos) -> None:
        """Some replica's machine acted because its timer was reached, with this entry and before its commands."""
        return

    def raised(self, batch: Batch, error: Exception) -> None:
        """Some replica's machine raised when it was to apply this batch (an empty one: to let time pass): the cause of
        the host's `MachineFailed`, or the `Violation` that is raised here."""
        return

    def queried(self, index: Index, question: bytes, answer: bytes | Rejected) -> None:
        """Some replica, whose machine had applied entry `index`, answered a question."""
        return

    def clock_stopped(self, duration: Nanos) -> None:
        """Some member's clock stands still for so long: what answers say of their age is wrong by as much."""
        return

    @abstractmethod
    def check_replica(self, member: MemberId, host: Host) -> None:
        """The run is over: look at the state of a member that has all that was applied."""

    @abstractmethod
    def check(self) -> None:
        """The run is over: look at the whole history."""


class Subject(ABC):
    """One world's subject: it serves one run."""

    def __init__(self) -> None:
        self.figures = Figures()
        """The run's: what becomes of operations is counted by the subject."""

    @property
    @abstractmethod
    def judge(self) -> Judge:
        """The one judge of the run."""

    @abstractmethod
    def machine(self, member: MemberId) -> StateMachine:
        """A new machine, for one life of a member."""

    @abstractmethod
    def work(self, number: int, rng: random.Random) -> Work:
        """The work of client `number`, which shares its dice with it."""
