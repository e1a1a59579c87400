"""What clients of an experiment asked and were told, and the histories that this makes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from coterie.check import FOREVER, Operation
from coterie.core.types import MemberId, Nanos


class Outcome(Enum):
    """What became of a call."""

    PENDING = "pending"
    OK = "ok"
    REFUSED = "refused"
    """It did not happen, and the client was told so; or a read that was given up."""
    UNKNOWN = "unknown"
    """Nobody answered in time, or the connection ended: a write may have happened, or happen yet."""


class Call(msgspec.Struct):
    """One operation of one client: on one key, as a register's, `write` or `read`; or a `txn` of several keys."""

    client: int
    at: MemberId
    """The member that was asked."""
    f: str
    key: str
    value: str | None
    """What is written; what was read, None for nothing."""
    mode: str
    """How it was asked for: `put`, or the mode of the read."""
    start: Nanos
    end: Nanos = FOREVER
    outcome: Outcome = Outcome.PENDING
    reason: str = ""
    """Why it was refused, in the product's words."""
    revision: int = 0
    """Of the state that answered; of a write, its own."""
    changed: int = 0
    """The revision that wrote what was read."""
    parts: tuple[tuple[str, str, str | None], ...] = ()
    """Of a `txn`, in order: `r` or `w`, the key, and what was read or is written."""
    parts_changed: tuple[int, ...] = ()
    """For each part the revision that wrote what was read; 0 of a write, and where nothing was."""
    age: Nanos = 0
    """How old a stale read's answer may be, as the member says."""

    @property
    def changes(self) -> bool:
        """Whether it may have changed something, if nobody knows its outcome."""
        return self.f == "write" or any(f == "w" for f, _, _ in self.parts)

    @property
    def over(self) -> bool:
        """Whether the client was told, or has given up."""
        return self.outcome is not Outcome.PENDING

    @property
    def latency(self) -> Nanos:
        """From asking to being told; only for calls that are over."""
        return self.end - self.start


def history(calls: Iterable[Call]) -> list[Operation]:
    """Writes and reads as `coterie.check` takes them: registers by key. What was refused did not happen; a read
    without an answer says nothing."""
    found = []
    for call in calls:
        known = call.outcome is Outcome.OK
        if call.f == "txn":
            continue
        if call.outcome is Outcome.REFUSED or (call.f == "read" and not known):
            continue
        found.append(
            Operation(
                process=call.client,
                f=call.f,
                key=call.key,
                argument=call.value if call.f == "write" else None,
                result=call.value if call.f == "read" else None,
                start=call.start,
                end=call.end if known else FOREVER,
            )
        )
    return found
