"""Faults that wait for their moment: in the middle of what takes several steps, and that chance alone seldom hits."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from coterie.core.types import Nanos
from coterie.sim.chance import happens, stream
from coterie.sim.options import Options
from coterie.sim.schedule import Schedule


class Moment(StrEnum):
    """What a member has just done."""

    ELECTED = "elected"
    """It has begun to lead."""
    JOINT = "joint"
    """It leads, and its newest membership is a joint one (Raft 4.3)."""
    CHUNK = "chunk"
    """It is sending a snapshot, and has not come to its end."""
    RECEIVING = "receiving"
    """It is being sent a snapshot."""
    CANDIDATE = "candidate"
    """It has begun an election in an epoch of its own, which nobody else knows yet (Raft 5.2)."""
    HANDOVER = "handover"
    """It has asked another member to take over (3.10)."""


PERMILLE: Final[dict[Moment, int]] = {
    Moment.ELECTED: 250,
    Moment.JOINT: 300,
    Moment.CHUNK: 200,
    Moment.RECEIVING: 200,
    Moment.CANDIDATE: 150,
    Moment.HANDOVER: 300,
}
"""How often in a thousand one is taken."""


class Ambush:
    """Decides whether to strike. Not again within the mean time between two faults, or nothing would ever be done."""

    def __init__(self, options: Options, schedule: Schedule) -> None:
        self._on = options.has("ambush")
        self._interval = options.fault_interval
        self._schedule = schedule
        self._next: Nanos = 0
        self.rng = stream(options.seed, "ambush")
        """For what the blow is, too."""

    def strikes(self, moment: Moment) -> bool:
        """Whether a fault strikes now."""
        if not self._on or self._schedule.now < self._next or not happens(self.rng, PERMILLE[moment]):
            return False
        self._next = self._schedule.now + self._interval
        return True
