"""One member of a reference: its disk, its processes one after the other, and what things take."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, Query, ReadMode, Request, Response, Submit
from coterie.lab.references.replica import Reference, Replica, Ticket
from coterie.lab.stage.cost import Cost
from coterie.lab.stage.geography import Ground
from coterie.machine.kv import protocol as kv
from coterie.sim.chance import exponential
from coterie.sim.process import STEP_DELAY
from coterie.sim.schedule import Schedule

Record = Mapping[str, Any]


class Surroundings(Protocol):
    """What a member needs of its stage."""

    schedule: Schedule
    ground: Ground

    def send(self, source: MemberId, target: MemberId, message: msgspec.Struct) -> None:
        """A member sends to another."""
        ...

    def reply(self, connection: int, response: Response) -> None:
        """A member answers a client."""
        ...

    def stepped(self, member: MemberId) -> None:
        """A member has taken in what came."""
        ...


class Platter:
    """A disk: one write at a time, and all that gathered meanwhile goes with the next, as the shipped sync thread does
    it. A crash loses what was not durable."""

    def __init__(self) -> None:
        self.durable: dict[str, Any] = {}
        self.queue: list[tuple[Record, Callable[[], None] | None]] = []
        self.writing = False

    def crash(self) -> None:
        """What was not synced is gone."""
        self.queue.clear()
        self.writing = False


class Member:
    """See `replica.Ports`, which it is to each of its lives."""

    def __init__(
        self,
        own: MemberId,
        members: Sequence[MemberId],
        reference: Reference,
        world: Surroundings,
        rng: random.Random,
        *,
        skew: Nanos,
        cost: Cost,
    ) -> None:
        """`skew`: how far its wall clock is off."""
        self.own = own
        self.members = members
        self.boot = 0
        self.replica: Replica | None = None
        """None while its process is down."""
        self._reference = reference
        self._world = world
        self._rng = rng
        self._skew = skew
        self._cost = cost
        self._platter = Platter()
        self._inbox: list[Callable[[Replica], None]] = []
        self._stepping = False
        self._paused_until: Nanos = 0
        self._sent = 0
        self._received = 0

    @property
    def up(self) -> bool:
        """Whether its process lives."""
        return self.replica is not None

    # -- life and death --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a process on what the disk holds, unless one lives."""
        if self.replica is None:
            self.boot += 1
            self.replica = self._reference.make(self)
            self._world.stepped(self.own)

    def crash(self) -> None:
        """End the process; the machine loses power."""
        self.replica = None
        self._inbox.clear()
        self._stepping = False
        self._paused_until = 0
        self._sent = self._received = 0
        self._platter.crash()

    def pause(self, duration: Nanos) -> None:
        """No step before then."""
        self._paused_until = max(self._paused_until, self._world.schedule.now + duration)

    # -- inputs: they gather, and a step takes all of them ---------------------------------------

    def receive(self, sender: MemberId, message: Any) -> None:
        """A member's message arrives."""
        self._received += 1
        self._take(lambda replica: replica.receive(sender, message))

    def request(self, connection: int, request: Request) -> None:
        """A client's request arrives."""
        self._received += 1
        self._take(lambda replica: self._ask(replica, connection, request))

    def _ask(self, replica: Replica, connection: int, request: Request) -> None:
        if isinstance(request, Submit):
            put = kv_command(request.command)
            replica.write(Ticket(connection, request.id), put.key.decode(), put.value.decode())
        elif isinstance(request, Query):
            question = _question.decode(request.question)
            stale = request.mode is not ReadMode.LINEARIZABLE
            replica.read(Ticket(connection, request.id), question.key.decode(), stale=stale)

    def _take(self, give: Callable[[Replica], None]) -> None:
        if self.replica is not None:
            self._inbox.append(give)
            if not self._stepping:
                self._stepping = True
                wait = max(0, self._paused_until - self._world.schedule.now)
                self._later(wait + exponential(self._rng, STEP_DELAY), "step", self._step)

    def _step(self) -> None:
        assert self.replica is not None
        self._stepping = False
        inputs, self._inbox = self._inbox, []
        if self._paused_until > self._world.schedule.now:
            for give in inputs:
                self._take(give)
            return
        for give in inputs:
            give(self.replica)
        self.pause(self._cost.of(self._received, self._sent))
        self._received = self._sent = 0
        self._world.stepped(self.own)

    def _later(self, delay: Nanos, label: str, action: Callable[[], None]) -> None:
        life = self.boot

        def run() -> None:
            if self.replica is not None and self.boot == life:
                action()

        self._world.schedule.after(delay, f"{label} {self.own}", run)

    # -- see `Ports` -----------------------------------------------------------------------------

    @property
    def durable(self) -> Record:
        """See `Ports`."""
        return self._platter.durable

    def now(self) -> Nanos:
        """See `Ports`."""
        return self._world.schedule.now

    def wall(self) -> int:
        """See `Ports`. The epoch of the simulated wall clocks is an hour before the stage was set."""
        return (self._world.schedule.now + self._skew) // 1000 + 3_600_000_000

    def send(self, to: MemberId, message: msgspec.Struct) -> None:
        """See `Ports`."""
        self._sent += 1
        self._world.send(self.own, to, message)

    def after(self, delay: Nanos, action: Callable[[], None]) -> None:
        """See `Ports`. A timer is an input like any other."""
        self._later(delay, "timer", lambda: self._take(lambda replica: action()))

    def store(self, records: Record, then: Callable[[], None] | None = None) -> None:
        """See `Ports`."""
        platter = self._platter
        platter.queue.append((records, then))
        if not platter.writing:
            platter.writing = True
            self._later(exponential(self._rng, STEP_DELAY), "write", self._begin_write)

    def _begin_write(self) -> None:
        platter = self._platter
        batch, platter.queue = platter.queue, []

        def synced() -> None:
            for records, then in batch:
                for name, record in records.items():
                    if record is None:
                        platter.durable.pop(name, None)
                    else:
                        platter.durable[name] = record
                if then is not None:
                    self._take(_ignoring_replica(then))
            platter.writing = bool(platter.queue)
            if platter.writing:
                self._begin_write()

        self._later(self._world.ground.sync(self.own), "synced", synced)

    def answer(self, ticket: Ticket, key: str, value: str | None, *, read: bool, age: Nanos = 0) -> None:
        """See `Ports`. In the key-value machine's own replies, so that bytes are the same; there are no revisions."""
        reply: kv.RangeReply | kv.PutReply = kv.PutReply(0)
        if read:
            found = () if value is None else (kv.Item(key.encode(), value.encode(), 0, 0, 0),)
            reply = kv.RangeReply(0, found, False, len(found))
        self._sent += 1
        self._world.reply(ticket.connection, Answer(ticket.request, 0, age, kv.encoder.encode(reply)))

    def fail(self, ticket: Ticket, message: str, *, happened: bool | None) -> None:
        """See `Ports`."""
        told = Happened.UNKNOWN if happened is None else Happened.YES if happened else Happened.NO
        code = FailureCode.TIMEOUT if happened is None else FailureCode.NO_LEADER
        self._sent += 1
        self._world.reply(ticket.connection, Failure(ticket.request, code, told, message))


_question: Final = msgspec.msgpack.Decoder(kv.Range)
_put: Final = msgspec.msgpack.Decoder(kv.Put)


def kv_command(command: bytes) -> kv.Put:
    """The put in a client's command. Raises `msgspec.DecodeError` if it is another."""
    return _put.decode(command)


def _ignoring_replica(then: Callable[[], None]) -> Callable[[Replica], None]:
    return lambda replica: then()
