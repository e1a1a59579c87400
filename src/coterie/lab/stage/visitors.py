"""Clients of an experiment: each stands in a site, asks the member that it is told to, and does one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Answer, Failure, Happened, Query, ReadMode, Request, Response, Submit
from coterie.lab.errors import LabError
from coterie.lab.stage.calls import Call, Outcome
from coterie.machine.kv import protocol as kv
from coterie.sim.clients import Closed, Receive
from coterie.sim.schedule import Schedule

MODES: Final = {
    "linearizable": ReadMode.LINEARIZABLE,
    "session": ReadMode.SESSION,
    "stale": ReadMode.STALE,
}
PATIENCE: Final = 5000 * MILLISECOND
"""How long a client waits for an answer, unless it is told otherwise."""


class Lines(Protocol):
    """Connections between clients and members (`sim.clients.Wire`)."""

    schedule: Schedule

    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """Open one; its number."""
        ...

    def request(self, connection: int, request: Request) -> None:
        """Send on one."""
        ...

    def close(self, connection: int) -> None:
        """Close one."""
        ...


Done = Callable[[Call], None]


class Visitor:
    """One client. It keeps one connection, to the member that it asked last, and the newest revision that it saw."""

    def __init__(self, number: int, lines: Lines, calls: list[Call]) -> None:
        self.number = number
        self.seen = 0
        """The newest revision that it was told of: what its session reads ask for."""
        self._lines = lines
        self._calls = calls
        self._member: MemberId = 0
        self._connection = 0
        self._request = 0
        self._call: Call | None = None
        self._done: Done | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._call is not None

    def write(
        self, member: MemberId, key: str, value: str, *, patience: Nanos = PATIENCE, done: Done | None = None
    ) -> Call:
        """Put a value, asking this member. Raises `LabError` if a call is under way."""
        call = self._new(member, "write", key, value, "put")
        command = kv.encoder.encode(kv.Put(key.encode(), value.encode()))
        self._begin(call, Submit(self._request, 0, 0, 0, command), patience, done)
        return call

    def read(
        self,
        member: MemberId,
        key: str,
        *,
        mode: str = "linearizable",
        patience: Nanos = PATIENCE,
        done: Done | None = None,
    ) -> Call:
        """Get a value in one of `MODES`, asking this member. Raises `LabError` if a call is under way."""
        call = self._new(member, "read", key, None, mode)
        at_least = self.seen if mode == "session" else 0
        question = kv.encoder.encode(kv.Range(key.encode()))
        self._begin(call, Query(self._request, MODES[mode], at_least, question), patience, done)
        return call

    def transact(
        self,
        member: MemberId,
        reads: Sequence[str],
        writes: Mapping[str, str],
        *,
        mode: str = "linearizable",
        patience: Nanos = PATIENCE,
        done: Done | None = None,
    ) -> Call:
        """Read these keys and then write those, at one moment; where nothing is written, in one of `MODES`. Raises
        `LabError` if a call is under way."""
        call = self._new(member, "txn", "", None, "put" if writes else mode)
        call.parts = (*(("r", key, None) for key in reads), *(("w", key, value) for key, value in writes.items()))
        request: Submit | Query
        if writes:
            changes = [kv.Put(key.encode(), value.encode()) for key, value in writes.items()]
            looks = [kv.Range(key.encode()) for key in reads]
            request = Submit(self._request, 0, 0, 0, kv.encoder.encode(kv.Txn((), (*looks, *changes))))
        else:
            # One question for all keys: the range from the first to the last.
            question = kv.Range(min(reads).encode(), max(reads).encode() + b"\0")
            at_least = self.seen if mode == "session" else 0
            request = Query(self._request, MODES[mode], at_least, kv.encoder.encode(question))
        self._begin(call, request, patience, done)
        return call

    def _new(self, member: MemberId, f: str, key: str, value: str | None, mode: str) -> Call:
        if self._call is not None:
            raise LabError(f"client {self.number} has a call under way: {self._call}")
        call = Call(self.number, member, f, key, value, mode, self._lines.schedule.now)
        self._calls.append(call)
        self._request += 1
        return call

    def _begin(self, call: Call, request: Submit | Query, patience: Nanos, done: Done | None) -> None:
        self._call, self._done = call, done
        if self._member != call.at or not self._connection:
            if self._connection:
                self._lines.close(self._connection)
            self._member = call.at
            self._connection = self._lines.connect(self.number, call.at, self._receive, self._closed)
        self._lines.request(self._connection, request)
        self._lines.schedule.after(patience, "out of patience", lambda: self._out_of_patience(call))

    # -- how a call ends -------------------------------------------------------------------------

    def _out_of_patience(self, call: Call) -> None:
        if self._call is call:
            # The answer may still come, and would be taken for a later call's on the same connection.
            self._lines.close(self._connection)
            self._connection = 0
            self._end(Outcome.UNKNOWN if call.changes else Outcome.REFUSED, "no answer in time")

    def _closed(self, connection: int) -> None:
        if connection == self._connection:
            self._connection = 0
            if self._call is not None:
                changes = self._call.changes
                self._end(Outcome.UNKNOWN if changes else Outcome.REFUSED, "the connection closed")

    def _receive(self, connection: int, response: Response) -> None:
        if connection != self._connection or not isinstance(response, Answer | Failure):
            return
        call = self._call
        if call is None or response.id != self._request:
            return
        if isinstance(response, Failure):
            unknown = response.happened is not Happened.NO and call.changes
            self._end(Outcome.UNKNOWN if unknown else Outcome.REFUSED, response.message)
            return
        self.seen = max(self.seen, response.revision)
        call.revision, call.age = response.revision, response.age
        reply = kv.reply_decoder.decode(response.body)
        if isinstance(reply, kv.PutReply | kv.TxnReply):
            # The answer's own revision may be that of commands which were applied together with this one.
            call.revision = reply.revision
        if call.f == "read":
            assert isinstance(reply, kv.RangeReply)
            call.value = reply.items[0].value.decode() if reply.items else None
            call.changed = reply.items[0].mod if reply.items else 0
        elif call.f == "txn":
            _read_in(call, reply)
        self._end(Outcome.OK, "")

    def _end(self, outcome: Outcome, reason: str) -> None:
        call, done = self._call, self._done
        assert call is not None
        call.outcome, call.reason, call.end = outcome, reason, self._lines.schedule.now
        self._call = self._done = None
        if done is not None:
            done(call)


def _read_in(call: Call, reply: object) -> None:
    """Take into the parts of a transaction what its reads found."""
    ranges = reply.replies if isinstance(reply, kv.TxnReply) else (reply,)
    found = {item.key.decode(): item for one in ranges if isinstance(one, kv.RangeReply) for item in one.items}
    seen = [found.get(key) if f == "r" else None for f, key, _ in call.parts]
    call.parts_changed = tuple(item.mod if item is not None else 0 for item in seen)
    call.parts = tuple(
        (f, key, item.value.decode() if item is not None else None) if f == "r" else (f, key, value)
        for (f, key, value), item in zip(call.parts, seen, strict=True)
    )
