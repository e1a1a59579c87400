"""A partition in the simulated world: every way to read and write, on each side, while the network is parted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.settings import Settings
from coterie.core.types import MemberId, Nanos
from coterie.lab.cap.sides import (
    LEASE,
    LINEARIZABLE,
    MAJORITY,
    MINORITY,
    MOVED,
    PLAIN,
    READS,
    SESSION,
    SIDES,
    STALE,
    Mode,
    Row,
    Side,
    row,
)
from coterie.lab.stage.calls import Call, Outcome, history
from coterie.lab.stage.geography import flat
from coterie.lab.stage.stage import Stage
from coterie.lab.stage.visitors import Visitor

ROUND_TRIP_MS: Final = 4.0
PARTED_FOR: Final = 8000 * MILLISECOND
PATIENCE: Final = 6000 * MILLISECOND
"""Longer than a member takes to refuse (5 s), so that it gets to say so."""
PAUSE: Final = 150 * MILLISECOND
READ_AS: Final = {
    LINEARIZABLE.name: "linearizable", LEASE.name: "linearizable", STALE.name: "stale", SESSION.name: "session",
    MOVED.name: "session",
}  # fmt: skip
WHERE: Final = "simulated"


class _Client:
    """Asks the same member the same thing again and again."""

    def __init__(self, stage: Stage, site: int, at: MemberId, mode: Mode, read_as: str) -> None:
        self.visitor = stage.client(site)
        self.calls: list[Call] = []
        self.mode = mode
        self.follows: Visitor | None = None
        """Whose newest revision it has seen, too."""
        self.stopped = False
        self._stage = stage
        self._at = at
        self._read_as = read_as
        self._count = 0

    def begin(self, _: Call | None = None) -> None:
        """Ask, unless stopped; and again after a pause."""
        if self.stopped:
            return
        self._count += 1
        if self.follows is not None:
            self.visitor.seen = max(self.visitor.seen, self.follows.seen)
        if self.mode is PLAIN:
            value = f"{self.visitor.number}.{self._count}"
            call = self.visitor.write(self._at, "x", value, patience=PATIENCE, done=self._again)
        else:
            call = self.visitor.read(self._at, "x", mode=self._read_as, patience=PATIENCE, done=self._again)
        self.calls.append(call)

    def _again(self, _: Call) -> None:
        self._stage.schedule.after(PAUSE, "a client asks again", self.begin)


def partition(protocol: str, seed: int, mode: Mode, leader: str, *, read_as: str | None = None) -> tuple[Row, Row]:
    """Part three members into two and one, and have a writer and a reader on each side; heal, and read once more.
    Gives the rows of the reads and of the writes. `leader`: on which side the leader is. `read_as`: for tests, how the
    reads are made in truth."""
    settings = Settings(lease_reads=mode is LEASE)
    stage = Stage(flat(3, ROUND_TRIP_MS, disk_ms=0.3), [0, 1, 2], seed=seed, protocol=protocol, settings=settings)
    stage.lead(1)
    alone: MemberId = 1 if leader == MINORITY else 3
    together = [member for member in (1, 2, 3) if member != alone]
    where = {MAJORITY: together[-1], MINORITY: alone}
    how = read_as or READ_AS[mode.name]
    writers = {side: _Client(stage, where[side] - 1, where[side], PLAIN, how) for side in SIDES}
    readers = {side: _Client(stage, where[side] - 1, where[side], mode, how) for side in SIDES}
    _before(stage, writers[MAJORITY], readers)
    if mode is MOVED:
        for reader in readers.values():
            reader.follows = writers[MAJORITY].visitor
    stage.split([alone - 1], [member - 1 for member in together])
    cut = stage.now
    clients = [*writers.values(), *readers.values()]
    for client in clients:
        if client.mode is MOVED:  # It comes over when there is something to have seen.
            stage.schedule.after(2500 * MILLISECOND, "a client comes over", client.begin)
        else:
            client.begin()
    stage.run_for(PARTED_FOR)
    for client in clients:
        client.stopped = True
    stage.run_for(PATIENCE)
    stage.mend()
    stage.run_for(2 * stage.options.election_timeout)
    stage.wait_for_leader()
    for reader in readers.values():
        reader.stopped = False
        reader.visitor.read(where[MAJORITY], "x", patience=PATIENCE)
    stage.run_for(1000 * MILLISECOND)
    operations = history(stage.calls)
    read, written = (_sides([group[side].calls for side in SIDES], cut) for group in (readers, writers))
    return (
        row(WHERE, protocol, leader, mode, read, operations),
        row(WHERE, protocol, leader, PLAIN, written, operations if mode is LINEARIZABLE else ()),
    )


def _before(stage: Stage, writer: _Client, readers: dict[str, _Client]) -> None:
    """A value that all have seen."""
    stage.finish(writer.visitor.write(1, "x", "before"))
    for reader in readers.values():
        stage.finish(reader.visitor.read(1, "x"))
    stage.run_for(500 * MILLISECOND)


def _sides(calls: Sequence[Sequence[Call]], cut: Nanos) -> tuple[Side, Side]:
    sides = []
    for mine in calls:
        side = Side()
        for call in mine:
            answered = call.outcome is Outcome.OK
            side.count(answered=answered, at_ms=(call.end - cut) / MILLISECOND, refusal=call.reason)
        sides.append(side)
    return sides[0], sides[1]


def rows(protocol: str, seed: int) -> Iterator[Row]:
    """The theorem's table for one protocol."""
    for leader in SIDES:
        for number, mode in enumerate(READS):
            read, written = partition(protocol, seed * 100 + number, mode, leader)
            if mode is LINEARIZABLE:
                yield written
            yield read
