"""Lease reads on clocks that keep the stated bound, and on clocks that do not."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.check import REGISTER, linearizable, smallest
from coterie.check.drawing.text import draw_text
from coterie.core.config import MILLISECOND
from coterie.core.settings import Settings
from coterie.core.types import Nanos
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor

SETTINGS: Final = Settings(lease_reads=True)
WITHIN_PERMILLE: Final = 9
"""Of `SETTINGS.clock_drift_permille`, 10."""
BEYOND_PERMILLE: Final = 500
READ_EVERY: Final = 5 * MILLISECOND
PARTED_FOR: Final = 2500 * MILLISECOND


class Leased(msgspec.Struct, frozen=True):
    """What reads of a leader that is cut off gave."""

    drift_permille: int
    linearizable: bool
    alone: int
    """Reads that it answered after it was cut off."""
    stale: int
    """Of these, such as came back old after a newer write was acknowledged."""
    example: str
    """The smallest part of the history that is wrong, drawn; empty if nothing is."""


class _Again:
    """A client that asks the same thing again and again."""

    def __init__(self, stage: Stage, visitor: Visitor, pause: Nanos) -> None:
        self._stage = stage
        self._visitor = visitor
        self._pause = pause
        self.writes = 0
        self.stopped = False

    def read(self, _: Call | None = None) -> None:
        """Read at member 1 until stopped."""
        if not self.stopped:
            after = self._stage.schedule.after
            self._visitor.read(
                1, "x", patience=50 * MILLISECOND, done=lambda call: after(self._pause, "reads again", self.read)
            )

    def write(self, call: Call | None = None) -> None:
        """Write at member 2 until it is done."""
        if call is None or call.outcome is not Outcome.OK:
            self.writes += 1
            self._visitor.write(2, "x", f"new {self.writes}", patience=300 * MILLISECOND, done=self.write)


def reads_of_a_leader_cut_off(protocol: str, seed: int, drift_permille: int) -> Leased:
    """Member 1 leads, is cut off from 2 and 3, and is read from all the time; the clocks of 2 and 3 run so much faster.
    They elect another as soon as they may, and a write is acknowledged there."""
    stage = Stage(flat(3, 2.0, disk_ms=0.2), [0, 1, 2], seed=seed, protocol=protocol, settings=SETTINGS)
    # Beyond the bound nothing is promised: what comes of it is the clients' to see.
    stage.laws.judges_leases = drift_permille <= SETTINGS.clock_drift_permille
    stage.lead(1)
    near, far = stage.client(0), stage.client(1)
    near.write(1, "x", "old")
    stage.run_for(2 * stage.options.election_timeout)
    for member in (2, 3):
        stage.nodes[member].hardware.clock.change_rate(stage.schedule.now, drift_permille * 1000)
    stage.run_for(stage.options.election_timeout)
    stage.split([0], [1, 2])
    parted = stage.now
    reader, writer = _Again(stage, near, READ_EVERY), _Again(stage, far, READ_EVERY)
    reader.read()
    writer.write()
    stage.run_for(PARTED_FOR)
    reader.stopped = True
    stage.run_for(stage.options.election_timeout)
    calls = history(stage.calls)
    alone = [c for c in stage.calls if c.f == "read" and c.outcome is Outcome.OK and c.start > parted]
    written = min((c.end for c in stage.calls if c.at == 2 and c.outcome is Outcome.OK), default=None)
    stale = [c for c in alone if written is not None and c.start > written and c.value == "old"]
    wrong = smallest(calls, REGISTER)
    holds = linearizable(calls, REGISTER).holds is True
    return Leased(drift_permille, holds, len(alone), len(stale), draw_text(wrong) if wrong is not None else "")
