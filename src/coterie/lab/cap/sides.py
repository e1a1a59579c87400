"""What was asked on each side of a partition, what became of it, and what that says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from coterie.check import REGISTER, Operation, linearizable, smallest
from coterie.check.drawing.text import draw_text

MAJORITY, MINORITY = "majority", "minority"
SIDES: Final = (MAJORITY, MINORITY)
YES, PARTLY, NO = "yes", "at first", "no"


class Mode(msgspec.Struct, frozen=True):
    """A way to read or write, and what is expected of it."""

    name: str
    words: str
    consistent: bool
    """Whether histories of it, and of writes, are linearizable."""
    available: tuple[str, str]
    """On the side of the majority, and of the minority."""


WRITE: Final = Mode("write", "a put in a session, which takes effect once", True, (YES, NO))
PLAIN: Final = Mode("write without session", "a put that is sent once", True, (YES, NO))
LINEARIZABLE: Final = Mode("linearizable read", "as reads are by default", True, (YES, NO))
LEASE: Final = Mode("lease read", "the same, with the setting lease-reads on", True, (YES, NO))
SESSION: Final = Mode("session read", "of a client that stays on its side", False, (YES, YES))
MOVED: Final = Mode("session read, moved", "of a client that has seen what the other side wrote", True, (YES, NO))
STALE: Final = Mode("stale read", "of the member as it is", False, (YES, YES))
READS: Final = (LINEARIZABLE, LEASE, SESSION, MOVED, STALE)


class Side(msgspec.Struct):
    """What was asked in one way on one side while the network was parted."""

    asked: int = 0
    answered: int = 0
    last_answer_ms: float = 0.0
    """When it was last answered, after the cut."""
    refusal: str = ""
    """The product's own message to one that was refused."""

    def count(self, *, answered: bool, at_ms: float, refusal: str) -> None:
        """One more."""
        self.asked += 1
        if answered:
            self.answered += 1
            self.last_answer_ms = max(self.last_answer_ms, at_ms)
        else:
            self.refusal = self.refusal or refusal

    @property
    def available(self) -> str:
        """`yes`: each was answered. `no`: none, or only at first, while a lease or an old answer lasted."""
        if not self.asked or not self.answered:
            return NO
        return YES if self.answered == self.asked else PARTLY


class Row(msgspec.Struct):
    """One mode in one partition: the theorem's row."""

    where: str
    """`simulated`, or by what real processes were parted."""
    protocol: str
    leader: str
    """On which side the leader was when the network parted."""
    mode: Mode
    sides: tuple[Side, Side]
    """Majority, minority."""
    consistent: bool
    operations: int
    violation: str
    """The smallest part of the history that is not linearizable, drawn; empty if it is."""

    @property
    def available(self) -> bool:
        """Whether every request on every side was answered."""
        return all(side.available == YES for side in self.sides)

    @property
    def gives_up(self) -> str:
        """`C`, `A`, `both`, or `nothing`, which the theorem forbids."""
        lost = ("" if self.consistent else "C") + ("" if self.available else "A")
        return {"": "nothing", "CA": "both"}.get(lost, lost)

    @property
    def as_expected(self) -> bool:
        """Whether it is what `mode` says. An answer at first and none later is none: not each request has one."""
        seen = tuple(YES if side.available == YES else NO for side in self.sides)
        return self.consistent == self.mode.consistent and seen == self.mode.available


def row(
    where: str, protocol: str, leader: str, mode: Mode, sides: tuple[Side, Side], history: Sequence[Operation]
) -> Row:
    """Judge what all clients of a mode saw."""
    holds = linearizable(history, REGISTER).holds
    example = None if holds else smallest(history, REGISTER)
    drawn = draw_text(example) if example is not None else ""
    return Row(where, protocol, leader, mode, sides, holds is True, len(history), drawn)


def with_both(rows: Iterable[Row]) -> list[Row]:
    """Those that are consistent and available: there are none, if the theorem is right."""
    return [one for one in rows if one.gives_up == "nothing"]
