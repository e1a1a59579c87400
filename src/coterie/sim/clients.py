"""Simulated clients that speak the client protocol by hand: careless, careful and undead ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import (
    Answer,
    Failure,
    FailureCode,
    Happened,
    OpenSession,
    Query,
    Request,
    Response,
    Submit,
)
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.options import SECOND, Options
from coterie.sim.schedule import Schedule
from coterie.sim.subject import Errand, Subject

MAX_IN_FLIGHT: Final = (1, 3, 16)
"""Operations that one client has under way: it draws one of these limits."""
THINK: Final = (15 * MILLISECOND, 40 * MILLISECOND, 80 * MILLISECOND)
"""Mean times between two operations of one client: it draws one of these."""
MAX_GRAVEYARD: Final = 20
"""Old requests that a zombie remembers."""
SESSION_TTL: Final = 60 * SECOND
ELSEWHERE: Final = (FailureCode.NO_LEADER, FailureCode.LEADER_LOST, FailureCode.STOPPING)
"""Another member may do better."""

_id_decoder: msgspec.msgpack.Decoder[int] = msgspec.msgpack.Decoder(int)


class Wire(Protocol):
    """What a client needs of the world."""

    schedule: Schedule

    def find(self, host: str) -> MemberId:
        """Whose machine the name stands for at present."""
        ...

    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """Open a connection; its number. If nobody listens, `closed` is called soon."""
        ...

    def request(self, connection: int, request: Request) -> None:
        """Send on a connection; lost if it is closed."""
        ...

    def close(self, connection: int) -> None:
        """Close it: nothing more comes from it."""
        ...


class Client(Protocol):
    """What the world needs of a client, of whatever kind."""

    @property
    def satisfied(self) -> bool:
        """The goal is reached and nothing is under way."""
        ...

    def stay_within(self, members: list[MemberId]) -> None:
        """The world is healed; from now on only these members answer. Sets the goal."""
        ...

    def read_again(self) -> None:
        """A new goal: one more linearizable read, and no write."""
        ...

    def crash(self) -> None:
        """Its process ends, and another begins that knows nothing of what was under way."""
        ...

    def describe(self) -> str:
        """What it waits for, in words."""
        ...


Receive = Callable[[int, Response], None]
Closed = Callable[[int], None]


class _Pending(msgspec.Struct):
    """A request that has no answer yet."""

    errand: Errand | None
    """None for the opening of a session."""
    request: Submit | Query | OpenSession
    sent: Nanos
    retry: bool
    """It carries a session, so it may be sent again."""


class RawClient:
    """A client with several operations under way, at one member at a time.

    Half of them send writes in a session, again and again until the outcome is certain. A *zombie*
    sends requests of long ago once more, whatever became of them.
    """

    def __init__(self, number: int, options: Options, members: list[MemberId], wire: Wire, subject: Subject) -> None:
        self._number = number
        self._options = options
        self._members = members
        self._wire = wire
        self._rng = stream(options.seed, f"client {number}")
        self._work = subject.work(number, self._rng)
        self._sessions = bool(number % 2)
        self._zombie = number % 3 == 1
        self._timeout = options.election_timeout * self._rng.randrange(3, 8)
        self._think = self._rng.choice(THINK)
        self._in_flight = self._rng.choice(MAX_IN_FLIGHT)
        self._connection = 0
        self._next_id = 1
        self._session = 0
        self._seq = 0
        self._pending: dict[int, _Pending] = {}
        self._graveyard: list[Request] = []
        self._target = self._rng.choice(members)
        self._thinking = False
        self._schedule_think()

    # -- see `Client` ----------------------------------------------------------------------------

    @property
    def satisfied(self) -> bool:
        """See `Client`."""
        return self._work.reached and not self._pending

    def stay_within(self, members: list[MemberId]) -> None:
        """See `Client`."""
        self._members = members
        self._work.goal = True
        if self._target not in members:
            self._move()

    def read_again(self) -> None:
        """See `Client`."""
        self._work.read = False
        self._schedule_think()

    def crash(self) -> None:
        """See `Client`. Its zombie has kept what it sent."""
        for request_id in list(self._pending):
            self._give_up(request_id, "unknown")
        self._session = self._seq = 0
        self._move()

    def describe(self) -> str:
        """See `Client`."""
        return (
            f"client {self._number} at {self._target} (wrote {self._work.wrote}, read {self._work.read}, "
            f"session {self._session}, waits for {[p.request for p in self._pending.values()]})"
        )

    # -- the day of a client -------------------------------------------------------------------

    def _schedule_think(self) -> None:
        if not self._thinking:
            self._thinking = True
            self._wire.schedule.after(exponential(self._rng, self._think), f"client {self._number}", self._act)

    def _act(self) -> None:
        self._thinking = False
        if not self.satisfied:
            self._schedule_think()
        self._expire()
        if not self._connection:
            self._connection = self._wire.connect(self._number, self._target, self._receive, self._closed)
            for pending in self._pending.values():
                self._transmit(pending)
        if happens(self._rng, 10) and not self._work.goal:
            self._move()
        elif self._zombie and self._graveyard and happens(self._rng, 50):
            self._wire.request(self._connection, self._rng.choice(self._graveyard))
        elif self._sessions and not self._session and not (self._work.goal and not self._work.read):
            self._open()
        elif len(self._pending) < (1 if self._work.goal else self._in_flight) and not self._work.reached:
            self._begin()

    def _begin(self) -> None:
        errand = self._work.next(self._wire.schedule.now)
        if errand is None:
            return
        if not errand.op.write:
            self._send(errand, Query(self._take_id(), errand.mode, errand.at_least, errand.payload), False)
        elif not self._sessions:
            self._send(errand, Submit(self._take_id(), 0, 0, 0, errand.payload), False)
        else:
            self._seq += 1
            request = Submit(self._take_id(), self._session, self._seq, self._floor(), errand.payload)
            self._send(errand, request, True)

    def _floor(self) -> int:
        """Every write with a lower number has its answer."""
        waiting = [p.request.seq for p in self._pending.values() if isinstance(p.request, Submit)]
        return min(waiting, default=self._seq)

    def _open(self) -> None:
        if not any(isinstance(p.request, OpenSession) for p in self._pending.values()):
            self._send(None, OpenSession(self._take_id(), SESSION_TTL), False)

    # -- requests and answers ------------------------------------------------------------------

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _send(self, errand: Errand | None, request: Submit | Query | OpenSession, retry: bool) -> None:
        pending = _Pending(errand, request, self._wire.schedule.now, retry)
        self._pending[request.id] = pending
        self._transmit(pending)

    def _transmit(self, pending: _Pending) -> None:
        pending.sent = self._wire.schedule.now
        self._wire.request(self._connection, pending.request)

    def _expire(self) -> None:
        """Some request waited too long: try another member."""
        limit = self._wire.schedule.now - self._timeout
        if any(p.sent < limit for p in self._pending.values()):
            self._move()

    def _move(self) -> None:
        """Leave this member; what may not be sent again has an unknown outcome now."""
        if self._connection:
            self._wire.close(self._connection)
            self._closed(self._connection)

    def _closed(self, connection: int) -> None:
        if connection != self._connection:
            return
        self._connection = 0
        self._target = self._rng.choice(self._members)
        for request_id, pending in list(self._pending.items()):
            if not pending.retry:
                self._give_up(request_id, "unknown")

    def _give_up(self, request_id: int, happened: str) -> None:
        pending = self._pending.pop(request_id)
        if pending.errand is not None:
            self._work.failed(pending.errand, happened, self._wire.schedule.now)

    def _receive(self, connection: int, response: Response) -> None:
        if connection != self._connection or not isinstance(response, (Answer, Failure)):
            return
        pending = self._pending.get(response.id)
        if pending is None:
            return
        if isinstance(response, Failure):
            self._failed(pending, response)
            return
        del self._pending[response.id]
        if pending.errand is None:
            self._session, self._seq = _id_decoder.decode(response.body), 0
            return
        self._work.answered(pending.errand, response, self._wire.schedule.now)
        if self._zombie and pending.retry and len(self._graveyard) < MAX_GRAVEYARD:
            self._graveyard.append(pending.request)

    def _failed(self, pending: _Pending, failure: Failure) -> None:
        if failure.code is FailureCode.SESSION_EXPIRED:
            self._session = 0
            for request_id, other in list(self._pending.items()):
                if isinstance(other.request, Submit):
                    self._give_up(request_id, "unknown")
            return
        final = failure.happened is Happened.YES or failure.code is FailureCode.REJECTED
        if final or not pending.retry:
            self._give_up(failure.id, failure.happened.name.lower())
            if failure.code in ELSEWHERE:
                self._move()
        elif failure.code in ELSEWHERE:
            self._move()
        else:
            delay = self._options.election_timeout // 4
            self._wire.schedule.after(delay, "retry", lambda: self._retry(failure.id, pending))

    def _retry(self, request_id: int, pending: _Pending) -> None:
        if self._pending.get(request_id) is pending and self._connection:
            self._transmit(pending)
