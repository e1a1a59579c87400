"""What simulated clients send to a user's machine, and what became of it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from coterie.check import FOREVER
from coterie.core.errors import ConfigurationError
from coterie.core.types import Index, Nanos
from coterie.engine.protocol import MAX_REQUEST_BYTES
from coterie.machine.interface import Rejected

LABEL_BYTES = 8
"""Each payload travels behind a number of its own, which the machine never sees: two equal commands are two."""
MAX_BODY_BYTES = MAX_REQUEST_BYTES - LABEL_BYTES


class Command(msgspec.Struct, frozen=True):
    """A command for the machine to apply. Plain bytes in a workload are a command, too."""

    body: bytes


class Query(msgspec.Struct, frozen=True):
    """A question to the machine, answered by a linearizable read."""

    question: bytes


Sent: TypeAlias = Command | Query
Generator: TypeAlias = Callable[[random.Random], "bytes | Command | Query"]
Workload: TypeAlias = Generator | Sequence["bytes | Command | Query"] | Any
"""What clients send: a function of a `random.Random` that makes one operation; the operations themselves; or a
Hypothesis strategy for one operation (`Any`, for Hypothesis may not be installed)."""


class Operation(msgspec.Struct):
    """One operation of a simulated client."""

    client: int
    write: bool
    """A command, not a question."""
    body: bytes
    """The command, or the question."""
    start: Nanos
    """Simulated time, in nanoseconds, at which the client began; `end`: at which it had its answer."""
    end: Nanos = FOREVER
    outcome: str = ""
    """`ok`; `rejected` by the machine; `no`: it did not happen; `yes`: it did, and the reply is lost; `unknown`;
    empty while it is under way."""
    reply: bytes | Rejected | None = None
    """What the machine said; of a command also if the client was never told."""
    index: Index = 0
    """The log entry that holds the command, or after which the question was answered; 0 if there is none."""
    ordinal: int = 0
    """The command's place in its entry."""
    floor: tuple[Index, int] = (0, 0)
    """The newest place in the log that any client knew of when the operation began."""
    probe: bool = False
    """The world's own question, whether the cluster answers at all."""


def label(number: int, body: bytes) -> bytes:
    """A payload for the wire."""
    return number.to_bytes(LABEL_BYTES, "big") + body


def number_of(payload: bytes) -> int:
    """Which operation a payload belongs to."""
    return int.from_bytes(payload[:LABEL_BYTES], "big")


class Supply(Protocol):
    """Where clients take their operations from; one for all clients of a world."""

    def take(self, rng: random.Random, now: Nanos) -> Sent | None:
        """The next operation; None if none is due."""
        ...

    def give_back(self, sent: Sent) -> None:
        """It is certain that this did not happen."""
        ...

    def hurry(self) -> None:
        """The world is healed: what is left is due now."""
        ...

    @property
    def left(self) -> bool:
        """Whether there is more that must be sent."""
        ...


class Made(Supply):
    """Operations that a function makes, without end."""

    def __init__(self, generate: Generator) -> None:
        self._generate = generate

    def take(self, rng: random.Random, now: Nanos) -> Sent | None:
        """See `Supply`."""
        return checked(self._generate(rng), f"{getattr(self._generate, '__name__', 'the workload')} returned")

    def give_back(self, sent: Sent) -> None:
        """See `Supply`. There are more."""

    def hurry(self) -> None:
        """See `Supply`."""

    @property
    def left(self) -> bool:
        """See `Supply`."""
        return False


class Listed(Supply):
    """Operations that were written down: each is sent, in this order, spread over the time with faults."""

    def __init__(self, operations: Sequence[Sent], duration: Nanos) -> None:
        pace = duration // (len(operations) + 1)
        self._waiting = deque((pace * number, sent) for number, sent in enumerate(operations))

    def take(self, rng: random.Random, now: Nanos) -> Sent | None:
        """See `Supply`."""
        if self._waiting and self._waiting[0][0] <= now:
            return self._waiting.popleft()[1]
        return None

    def give_back(self, sent: Sent) -> None:
        """See `Supply`. It is sent again, before all others."""
        self._waiting.appendleft((0, sent))

    def hurry(self) -> None:
        """See `Supply`."""
        self._waiting = deque((0, sent) for _, sent in self._waiting)

    @property
    def left(self) -> bool:
        """See `Supply`."""
        return bool(self._waiting)


def listed(operations: Sequence[object]) -> list[Sent]:
    """The operations, checked. Raises `ConfigurationError`, naming the one that is none."""
    return [checked(each, f"workload[{number}] is") for number, each in enumerate(operations)]


def checked(operation: object, where: str) -> Sent:
    """An operation, or `ConfigurationError` if it is none or too long."""
    sent = Command(operation) if isinstance(operation, bytes) else operation
    if not isinstance(sent, (Command, Query)):
        raise ConfigurationError(
            f"{where} {operation!r}: an operation is bytes (a command), coterie.sim.Command or coterie.sim.Query"
        )
    body: object = body_of(sent)
    if not isinstance(body, bytes) or len(body) > MAX_BODY_BYTES:
        size = f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__
        raise ConfigurationError(f"{where} an operation of {size}: it is bytes, at most {MAX_BODY_BYTES} of them")
    return sent


def body_of(sent: Sent) -> bytes:
    """The bytes that the machine gets."""
    return sent.body if isinstance(sent, Command) else sent.question
