"""What a reference's replica is given, and what it must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from coterie.core.types import MemberId, Nanos

PATIENCE_MS = 5000
"""How long a member works on a client's request before it says that it does not know (as the shipped engine's)."""


class Ticket(NamedTuple):
    """Whom an answer is for."""

    connection: int
    request: int


class Ports(Protocol):
    """The world, as one life of a member sees it."""

    own: MemberId
    members: Sequence[MemberId]
    """All of them, this one too, in order."""
    boot: int
    """Number of this life, from 1."""

    @property
    def durable(self) -> Mapping[str, Any]:
        """What the disk holds: records by name."""
        ...

    def now(self) -> Nanos:
        """Monotonic time."""
        ...

    def wall(self) -> int:
        """What this member's wall clock shows, in microseconds: off by as much as the stage says."""
        ...

    def send(self, to: MemberId, message: msgspec.Struct) -> None:
        """Send to another member; it may be lost."""
        ...

    def store(self, records: Mapping[str, Any], then: Callable[[], None] | None = None) -> None:
        """Write records (None removes one); `then` runs when they, and all that was written before, are durable."""
        ...

    def after(self, delay: Nanos, action: Callable[[], None]) -> None:
        """Run it later, if this life goes on."""
        ...

    def answer(self, ticket: Ticket, key: str, value: str | None, *, read: bool, age: Nanos = 0) -> None:
        """The request succeeded; `value` is what was read, None for nothing. `age`: see `engine.protocol.Answer`."""
        ...

    def fail(self, ticket: Ticket, message: str, *, happened: bool | None) -> None:
        """It failed. `happened` is None if nobody knows whether it took effect."""
        ...


class Replica(ABC):
    """One life of a member. It is called for one thing at a time, and never waits."""

    @property
    def reign(self) -> int:
        """The number of the period in which it leads; 0 if it does not, or if nobody ever does."""
        return 0

    @abstractmethod
    def receive(self, sender: MemberId, message: Any) -> None:
        """A member's message."""

    @abstractmethod
    def write(self, ticket: Ticket, key: str, value: str) -> None:
        """A client's write."""

    @abstractmethod
    def read(self, ticket: Ticket, key: str, *, stale: bool) -> None:
        """A client's read; `stale`: it wants no more than what this member has."""


class Reference(NamedTuple):
    """A store to compare with."""

    name: str
    title: str
    """For people, in a few words."""
    make: Callable[[Ports], Replica]
    """Begins a life on what the disk holds."""
    messages: msgspec.msgpack.Decoder[Any]
    led: bool = False
    """One of its members leads."""
