"""What happened in a scenario, event by event: what drawings are made of, and what tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

CLIENT = "client"
"""Stands where a member's name would, for whoever asks from outside."""


class Kind(StrEnum):
    """What sort of event it is."""

    SENT = "sent"
    RECEIVED = "received"
    LOST = "lost"
    """A message did not arrive: the link is cut, or nobody is there."""
    DURABLE = "durable"
    """A member's disk has finished a write."""
    ROLE = "role"
    MEMBERSHIP = "membership"
    """A member counts by another membership from here on, committed or not."""
    COMMIT = "commit"
    """A member has learned that more is decided, and applied it."""
    CRASH = "crash"
    RESTART = "restart"
    CLOSED = "closed"
    """A member saw its connection to a dead process closed."""
    CUT = "cut"
    HEAL = "heal"
    NOTE = "note"
    VIOLATION = "violation"
    """A law was broken: the last event, of no member in particular."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"source": "from"}):
    """One thing that happened. As JSON, `source` is called `from`."""

    at_ms: float
    """Milliseconds since the scenario began."""
    kind: Kind
    source: str
    """Who did it, or whom it happened to; of a message, its sender."""
    to: str
    """Of a message, its receiver; of a link, its other side; else empty."""
    text: str
    """In the protocol's own words."""
    type: str = ""
    """Of a message: the name of its struct in `core.messages`; empty for a client's."""
    message: int = 0
    """Number of the message: the same where it is sent and where it arrives or is lost."""
    mark: int = 0
    """DURABLE: every store batch up to this one is. SENT: the batch that the message had to wait for; 0: none."""
    began_ms: float | None = None
    """DURABLE: when the disk began to write."""
    answer: bool = False
    """SENT: it answers another message."""


class Arrow(NamedTuple):
    """A message from its sending to where it came."""

    sent: Event
    came: Event
    """RECEIVED or LOST."""

    @property
    def lost(self) -> bool:
        """Whether it never arrived."""
        return self.came.kind is Kind.LOST


class Recording(msgspec.Struct, frozen=True):
    """One run of a scenario. The same scenario, protocol and seed give the same recording, byte for byte."""

    scenario: str
    protocol: str
    seed: int
    lifelines: tuple[str, ...]
    """Who takes part, from left to right."""
    events: tuple[Event, ...]
    """In order of time."""

    def arrows(self) -> Iterator[Arrow]:
        """Every message, in order of sending."""
        came = {event.message: event for event in self.events if event.kind in (Kind.RECEIVED, Kind.LOST)}
        return (Arrow(event, came[event.message]) for event in self.events if event.kind is Kind.SENT)

    def marks(self) -> Iterator[Event]:
        """Every event that is not a message."""
        messages = (Kind.SENT, Kind.RECEIVED, Kind.LOST)
        return (event for event in self.events if event.kind not in messages)
