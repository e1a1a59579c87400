"""Simulated clients that speak the client protocol by hand: careless, careful and undead ones.

Every written value is unique, so that a history says by itself who read from whom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import (
    Answer,
    CloseSession,
    Failure,
    FailureCode,
    Happened,
    OpenSession,
    Query,
    ReadMode,
    Request,
    Response,
    Submit,
)
from coterie.machine.kv import protocol as kv
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.history import History, Op
from coterie.sim.options import SECOND, Options
from coterie.sim.schedule import Schedule

KEYS: Final = 4
"""Registers that clients share; as many again are written by compare-and-set."""
MAX_IN_FLIGHT: Final = (1, 3, 16)
"""Operations that one client has under way: it draws one of these limits."""
SESSION_TTL: Final = 60 * SECOND

_id_decoder: msgspec.msgpack.Decoder[int] = msgspec.msgpack.Decoder(int)
_MODES: Final = {"get": ReadMode.LINEARIZABLE, "session": ReadMode.SESSION, "stale": ReadMode.STALE}


class Wire(Protocol):
    """What a client needs of the world."""

    schedule: Schedule

    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """Open a connection; its number. If nobody listens, `closed` is called soon."""
        ...

    def request(self, connection: int, request: Request) -> None:
        """Send on a connection; lost if it is closed."""
        ...

    def close(self, connection: int) -> None:
        """Close it: nothing more comes from it."""
        ...


Receive = Callable[[int, Response], None]
Closed = Callable[[int], None]


class _Pending(msgspec.Struct):
    """A request that has no answer yet."""

    op: Op | None
    request: Request
    sent: Nanos
    retry: bool
    """It carries a session, so it may be sent again."""


class RawClient:
    """A client with several operations under way, at one member at a time.

    `sessions`: its writes carry a session and are sent again until their outcome is certain. A
    *zombie* sends requests of long ago once more, whatever became of them.
    """

    def __init__(self, number: int, options: Options, members: list[MemberId], wire: Wire, history: History) -> None:
        self._number = number
        self._options = options
        self._members = members
        self._wire = wire
        self._history = history
        self._rng = stream(options.seed, f"client {number}")
        self._sessions = bool(number % 2)
        self._zombie = number % 3 == 1
        self._timeout = options.election_timeout * self._rng.randrange(3, 8)
        self._think = self._rng.choice((15, 40, 80)) * MILLISECOND
        self._in_flight = self._rng.choice(MAX_IN_FLIGHT)
        self._connection = 0
        self._next_id = 1
        self._values = 0
        self._session = 0
        self._opening = False
        self._seq = 0
        self._pending: dict[int, _Pending] = {}
        self._graveyard: list[Request] = []
        self._seen = 0
        self._target = self._rng.choice(members)
        self.goal = False
        """Set once the world is healed: write and read until both have succeeded."""
        self.wrote_since = self.read_since = False
        self._thinking = False
        self._schedule_think()

    @property
    def satisfied(self) -> bool:
        """The goal is reached and nothing is under way."""
        return self.goal and self.wrote_since and self.read_since and not self._pending

    def read_again(self) -> None:
        """A new goal: one more linearizable read, and no write."""
        self.read_since = False
        self._schedule_think()

    def describe(self) -> str:
        """What it waits for, in words."""
        return (
            f"client {self._number} at {self._target} (wrote {self.wrote_since}, read {self.read_since}, "
            f"session {self._session}, waits for {[p.request for p in self._pending.values()]})"
        )

    def stay_within(self, members: list[MemberId]) -> None:
        """From now on only these members matter: the others will never answer again."""
        self._members = members
        self.goal = True
        if self._target not in members:
            self._move()

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
        if happens(self._rng, 10) and not self.goal:
            self._move()
        elif self._zombie and self._graveyard and happens(self._rng, 50):
            self._wire.request(self._connection, self._rng.choice(self._graveyard))
        elif self._sessions and not self._session and not (self.goal and not self.read_since):
            self._open()
        elif len(self._pending) < self._in_flight and not (self.goal and self.wrote_since and self.read_since):
            self._begin()

    def _begin(self) -> None:
        draw = self._rng.randrange(100)
        key = b"%d" % self._rng.randrange(KEYS)
        if self.goal:
            draw = 60 if not self.read_since else 0
        if draw < 40:
            self._write("put", b"r" + key)
        elif draw < 50:
            self._write("cas", b"c" + key)
        elif draw < 80:
            self._read("get", self._rng.choice((b"r", b"c")) + key)
        else:
            self._read("session" if draw < 90 else "stale", b"r" + key)

    def _write(self, kind: str, key: bytes) -> None:
        self._values += 1
        value = b"%d.%d" % (self._number, self._values)
        if happens(self._rng, 20):
            value += b"." * self._rng.randrange(1000, 20000)
        command: kv.Command = kv.Put(key, value)
        if kind == "cas":
            current = self._history.latest(key)[0] if self._rng.randrange(4) else self._rng.randrange(1, 50)
            guard = kv.Compare(key, kv.Target.MOD, kv.Relation.EQUAL, number=current)
            command = kv.Txn((guard,), (kv.Put(key, value),), (kv.Range(key),))
        op = self._history.begin(self._number, kind, key, value, self._wire.schedule.now)
        if self._sessions:
            self._seq += 1
        request = Submit(
            self._take_id(),
            self._session if self._sessions else 0,
            self._seq if self._sessions else 0,
            self._floor(),
            kv.encoder.encode(command),
        )
        self._send(op, request, self._sessions)

    def _floor(self) -> int:
        """Every write with a lower number has its answer."""
        if not self._sessions:
            return 0
        waiting = [p.request.seq for p in self._pending.values() if isinstance(p.request, Submit)]
        return min(waiting, default=self._seq)

    def _read(self, kind: str, key: bytes) -> None:
        op = self._history.begin(self._number, kind, key, b"", self._wire.schedule.now)
        at_least = self._seen if kind == "session" else 0
        self._send(op, Query(self._take_id(), _MODES[kind], at_least, kv.encoder.encode(kv.Range(key))), False)

    def _open(self) -> None:
        if not self._opening:
            self._opening = True
            self._send(None, OpenSession(self._take_id(), SESSION_TTL), False)

    # -- requests and answers ------------------------------------------------------------------

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _send(self, op: Op | None, request: Request, retry: bool) -> None:
        pending = _Pending(op, request, self._wire.schedule.now, retry)
        self._pending[request.id] = pending  # type: ignore[union-attr]  # every request but Hello has an id
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
        if isinstance(pending.request, OpenSession):
            self._opening = False
        if pending.op is not None:
            self._history.fail(pending.op, self._wire.schedule.now, happened)

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
        self._seen = max(self._seen, response.revision)
        if isinstance(pending.request, OpenSession):
            self._opening = False
            self._session, self._seq = _id_decoder.decode(response.body), 0
        elif pending.op is not None:
            self._answered(pending.op, pending.request, response)

    def _answered(self, op: Op, request: Request, answer: Answer) -> None:
        now = self._wire.schedule.now
        reply = kv.reply_decoder.decode(answer.body)
        if isinstance(reply, kv.RangeReply) and isinstance(request, Query):
            self._history.got(op, now, reply, answer.age, request.at_least)
            self.read_since |= self.goal and op.kind == "get"
        elif isinstance(reply, kv.PutReply):
            self._history.wrote(op, now, reply.revision, True)
            self.wrote_since |= self.goal
        elif isinstance(reply, kv.TxnReply):
            self._history.wrote(op, now, reply.revision, reply.succeeded)
        if self._zombie and isinstance(request, Submit) and request.session and len(self._graveyard) < 20:
            self._graveyard.append(request)

    def _failed(self, pending: _Pending, failure: Failure) -> None:
        if failure.code is FailureCode.SESSION_EXPIRED:
            self._session = 0
            for request_id, other in list(self._pending.items()):
                if isinstance(other.request, Submit):
                    self._give_up(request_id, "unknown")
            return
        elsewhere = failure.code in (FailureCode.NO_LEADER, FailureCode.LEADER_LOST, FailureCode.STOPPING)
        if pending.retry and failure.happened is not Happened.YES:
            if elsewhere:
                self._move()
            else:
                self._wire.schedule.after(
                    self._options.election_timeout // 4, "retry", lambda: self._retry(failure.id, pending)
                )
            return
        self._give_up(failure.id, failure.happened.name.lower())
        if elsewhere:
            self._move()

    def _retry(self, request_id: int, pending: _Pending) -> None:
        if self._pending.get(request_id) is pending and self._connection:
            self._transmit(pending)

    def retire(self) -> None:
        """Close the session, as a client that ends in good order does."""
        if self._session and self._connection:
            self._wire.request(self._connection, CloseSession(self._take_id(), self._session))
