"""One member of an ensemble: a replica, what it has on its disk, and what it does for the replica's sake."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol, TypedDict, Unpack

from coterie.core.config import ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import Message
from coterie.core.protocols import make_replica
from coterie.core.records import Recovered, StoreBatch
from coterie.core.replica import LogReader, Replica
from coterie.core.types import Entry, Index, Mark, MemberId, Nanos, Token
from coterie.lab.disk import Medium
from coterie.lab.errors import LabError


class Given(TypedDict):
    """What a replica is made from, whichever it is."""

    own: MemberId
    config: ReplicaConfig
    recovered: Recovered
    reader: LogReader
    applied: Index
    rng: random.Random
    now: Nanos


class Maker(Protocol):
    """How a member's replica is made: the protocol as it ships, or a dialect of it."""

    def __call__(self, **given: Unpack[Given]) -> Replica: ...


def shipped(protocol: str) -> Maker:
    """The protocol of this name, as it ships. An unknown name raises `ConfigurationError` when a replica is made."""

    def make(**given: Unpack[Given]) -> Replica:
        return make_replica(protocol, **given)

    return make


class Around(Protocol):
    """What a seat needs of the ensemble."""

    now: Nanos
    config: ReplicaConfig

    def later(self, delay: Nanos, act: Callable[[], None]) -> None:
        """Do this after a while."""
        ...

    def post(self, source: MemberId, to: MemberId, message: Message) -> None:
        """Put a message on its way."""
        ...

    def sync_time(self) -> Nanos:
        """How long the next durable write takes."""
        ...

    def committed(self, member: MemberId, entry: Entry) -> None:
        """A member knows that this entry is committed."""
        ...

    def answered(self, member: MemberId, token: Token, index: Index) -> None:
        """A read may be answered; the member has applied `index`."""
        ...


class Seat:
    """A member: its medium stays, what else it holds goes with its process."""

    def __init__(self, member: MemberId, make: Maker, medium: Medium, around: Around, dice: random.Random) -> None:
        self.member = member
        self.medium = medium
        self.ahead: Nanos = 0
        """How much its clock is ahead of true time."""
        self.applied: Index = 0
        self._make = make
        self._around = around
        self._dice = dice
        self._life = 0
        self._replica: Replica | None = None
        self._begin_life()

    def _begin_life(self) -> None:
        self._life += 1
        self._replica = None
        self.applied = 0
        self.deadline: Nanos = 0
        self._wake_at: Nanos | None = None
        self._waiting: list[StoreBatch] = []
        self._writing = False
        self._held: list[tuple[Mark, MemberId, Message]] = []
        self._reads: list[tuple[Index, Token]] = []

    # -- its process -----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._replica is not None

    @property
    def replica(self) -> Replica:
        """The replica. Raises `LabError` if the process does not run."""
        if self._replica is None:
            raise LabError(f"member {self.member} does not run")
        return self._replica

    @property
    def clock(self) -> Nanos:
        """What its own clock shows."""
        return self._around.now + self.ahead

    def start(self) -> None:
        """The process starts, from what the medium holds."""
        self._replica = self._make(
            own=self.member,
            config=self._around.config,
            recovered=self.medium.recovered(),
            reader=self.medium,
            applied=0,
            rng=random.Random(self._dice.getrandbits(64)),
            now=self.clock,
        )
        self.drain()

    def crash(self) -> None:
        """The process dies, and what was not durable is lost. What it has sent travels on."""
        self._begin_life()

    def hasten(self) -> None:
        """Its timer runs out now: its clock jumps there."""
        self.ahead += max(0, self.deadline - self.clock)
        self._wake_at = None  # A timer that is set would now be late.
        self.replica.wake(self.clock)
        self.drain()

    def process_gone(self, peer: MemberId) -> None:
        """The connection to a peer closed, and a new one is refused."""
        self.replica.connection_closed(self.clock, peer, True)
        self.drain()

    def receive(self, source: MemberId, message: Message) -> None:
        """A message arrives; if nobody is there, it is lost."""
        if self._replica is not None:
            self._replica.receive(self.clock, source, message)
            self.drain()

    # -- what the replica wants ------------------------------------------------------------------

    def drain(self) -> None:
        """Do what the replica wants. Raises `SafetyViolation` if it saw a rule broken."""
        more = True
        while more:
            effects = self.replica.drain(self.clock)
            if effects.alarm is not None:
                raise SafetyViolation(f"member {self.member}: {effects.alarm.rule}: {effects.alarm.evidence}")
            for to, message in effects.send:
                self._around.post(self.member, to, message)
            self._held += effects.send_after
            if effects.store is not None:
                self._waiting.append(effects.store)
                self._write()
            for entry in effects.committed:
                self.applied = entry.index
                self._around.committed(self.member, entry)
            self._reads += ((read.index, read.token) for read in effects.reads)
            if self._reads:
                self._answer()
            self.deadline, more = effects.deadline, effects.more
        self._set_timer()

    def _answer(self) -> None:
        ready = [read for read in self._reads if read[0] <= self.applied]
        self._reads = [read for read in self._reads if read[0] > self.applied]
        for _, token in ready:
            self._around.answered(self.member, token, self.applied)

    def _write(self) -> None:
        """One write at a time, of all batches that came during the one before, as the node that ships does it."""
        if self._writing or not self._waiting:
            return
        batches, self._waiting = self._waiting, []
        self._writing = True
        life = self._life

        def done() -> None:
            if life == self._life:
                self._writing = False
                self._written(batches)

        self._around.later(self._around.sync_time(), done)

    def _written(self, batches: list[StoreBatch]) -> None:
        for batch in batches:
            self.medium.perform(batch.records)
        mark = batches[-1].mark
        self._write()
        self.replica.stored(self.clock, mark)
        ready = [held for held in self._held if held[0] <= mark]
        self._held = [held for held in self._held if held[0] > mark]
        for _, to, message in ready:
            self._around.post(self.member, to, message)
        self.drain()

    def _set_timer(self) -> None:
        """Timers that are set already stay, and look again when they run out: most deadlines only move away."""
        if self._wake_at is not None and self._wake_at <= self.deadline:
            return
        at = self._wake_at = max(self.deadline, self.clock)
        life = self._life

        def due() -> None:
            if life != self._life or self._wake_at != at:
                return
            self._wake_at = None
            if self.deadline <= self.clock:
                self.replica.wake(self.clock)
                self.drain()
            else:
                self._set_timer()

        self._around.later(at - self.clock, due)
