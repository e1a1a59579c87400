"""Requests under way, and what a client's core hands out."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

import msgspec

from coterie.client.connection import Connection
from coterie.client.endpoints import Endpoint
from coterie.client.errors import RequestError
from coterie.core.errors import Effect
from coterie.core.types import Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, ReadMode

Outcome: TypeAlias = Answer | RequestError
OnDone: TypeAlias = Callable[[Outcome], None]
"""Given with each request; the core never calls it, but hands it out with the outcome."""

NEVER: Nanos = 0
"""A deadline that there is none of."""


class Kind(IntEnum):
    """What is asked."""

    COMMAND = 0
    QUERY = 1
    STATUS = 2
    OPEN_SESSION = 3
    CHANGE = 4
    """An administrator's change of members, leadership or settings: the leader does it, and it may be repeated."""
    LOOK = 5
    """An administrator's question to the leader."""


COMMAND, QUERY, OPEN_SESSION = Kind.COMMAND, Kind.QUERY, Kind.OPEN_SESSION
"""For where time counts: looking a member of an enumeration up costs Python 3.11 as much as a call."""


class Request(msgspec.Struct, eq=False):
    """One request, from when it is asked until its one outcome."""

    id: int
    kind: Kind
    payload: bytes
    on_done: OnDone
    deadline: Nanos
    mode: ReadMode = ReadMode.LINEARIZABLE
    at_least: int = 0
    exactly_once: bool = False
    """A command that runs in a session: may be sent again under the same (session, seq)."""
    session: int = 0
    seq: int = 0
    """0: none assigned yet."""
    attempts: tuple[tuple[Connection, int], ...] = ()
    """Where it was sent and has no answer from yet, and under which id; one at most for a connection."""
    unknown: bool = False
    """An attempt ended without a word on whether it took effect."""
    sent: bool = False
    tried: tuple[Endpoint, ...] = ()
    """Members that refused it since the last backoff."""
    rounds: int = 0
    """Backoffs so far."""
    sent_at: Nanos = 0
    last_failure: Failure | None = None
    """What the last refused attempt was told, for the final message."""
    admin: AdminRequest | None = None
    """Changes and looks: what to send, but for the id."""

    @property
    def repeatable(self) -> bool:
        """May be sent again although an earlier attempt may have taken effect: reads and the like have
        none, a session runs a command at most once, and a change that finds itself done is done."""
        return self.exactly_once or self.kind is not Kind.COMMAND

    @property
    def has_effect(self) -> bool:
        """Whether it can change anything."""
        return self.kind is Kind.COMMAND or self.kind is Kind.CHANGE

    def ended(self, connection: Connection) -> None:
        """The attempt on this connection has its answer, or will never have one."""
        attempts = self.attempts
        if len(attempts) == 1 and attempts[0][0] is connection:
            self.attempts = ()
        else:
            self.attempts = tuple(attempt for attempt in attempts if attempt[0] is not connection)

    def effect(self) -> Effect:
        """Whether it took effect, when it is given up now and no attempt was answered with success."""
        if not self.has_effect:
            return Effect.NO
        return Effect.UNKNOWN if self.unknown or self.attempts else Effect.NO


class Drained(msgspec.Struct):
    """What is to be done after the inputs since the last drain, in this order."""

    deadline: Nanos
    """Call `wake` then; `NEVER` if there is nothing to wait for."""
    connect: list[tuple[int, Endpoint]] = []
    """Dial, under this connection number; then call `opened` or `closed`."""
    send: list[tuple[int, bytes]] = []
    close: list[int] = []
    """Close after what was sent; no call of `closed` is needed."""
    completions: list[tuple[OnDone, Outcome]] = []
