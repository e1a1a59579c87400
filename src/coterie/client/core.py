"""The client's mind: what to send, to whom, and what an answer means. No I/O, no clock.

Whoever drives it (the blocking shell, the asyncio shell, the simulated world) calls the inputs as
things happen, each with `now` in monotonic nanoseconds, then `drain` once and does what it says.
Same inputs and same `random.Random`, same outputs.

The rules:

- A request has exactly one outcome: an `Answer`, or a `RequestError` that says whether it took effect.
- It is sent again only where that is safe: a read always; a command if every attempt was refused for
  certain, or if it runs in a session, under the same number. See `failures.judge`.
- A session is opened at the first command that wants one; commands wait for it meanwhile.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable

import msgspec

from coterie.client.attempts import admin_kind, decode, encode, encode_other, farewell, greeting, session_of
from coterie.client.config import ClientConfig
from coterie.client.connection import Connection, Phase
from coterie.client.endpoints import Endpoint, backoff
from coterie.client.errors import ClientClosed, ConnectionLost, Unavailable, error_of
from coterie.client.failures import BLAMES_MEMBER, Verdict, effect_of, judge, out_of_time
from coterie.client.frames import FrameError, prefix_of
from coterie.client.ledger import Ledger
from coterie.client.requests import COMMAND, NEVER, OPEN_SESSION, QUERY, Drained, Kind, OnDone, Outcome, Request
from coterie.client.routing import Routes
from coterie.client.session import Session
from coterie.core.types import Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import (
    Answer,
    Failure,
    FailureCode,
    Happened,
    Query,
    ReadMode,
    Response,
    Submit,
    View,
    Welcome,
)


class ClientCore:
    """One client of one cluster."""

    def __init__(self, endpoints: Iterable[Endpoint], config: ClientConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._routes = Routes(endpoints, config, rng)
        self.book = self._routes.book
        self._session = Session(config.session_window)
        self._ledger = Ledger(config)
        self._requests = self._ledger.live
        self._waiting: dict[int, Request] = {}
        """Requests that no connection can take."""
        self._delayed: list[tuple[Nanos, int]] = []
        """Heap of (when, request): waits between attempts."""
        self._dirty: dict[int, Connection] = {}
        """Connections with bytes to send."""
        self._closing: list[int] = []
        self._completions: list[tuple[OnDone, Outcome]] = []
        self._unblocked = False
        """The session has room for commands that wait."""
        self.revision = 0
        """The newest revision that this client has seen or written."""

    # Inputs: what the caller wants

    def submit(self, now: Nanos, command: bytes, on_done: OnDone, *, timeout: Nanos, exactly_once: bool = True) -> int:
        """Run a command; returns the request's id. With `exactly_once` it runs in this client's session.

        Raises `InvalidRequest`, `Overloaded`, `ClientClosed`: nothing was sent.
        """
        request = self._ledger.admit(COMMAND, command, on_done, now + timeout)
        request.exactly_once = exactly_once
        self._dispatch(now, request)
        return request.id

    def query(
        self,
        now: Nanos,
        question: bytes,
        on_done: OnDone,
        *,
        timeout: Nanos,
        mode: ReadMode = ReadMode.LINEARIZABLE,
        at_least: int = 0,
    ) -> int:
        """Ask the machine a question; returns the request's id. Raises as `submit` does."""
        request = self._ledger.admit(QUERY, question, on_done, now + timeout)
        request.mode = mode
        request.at_least = at_least
        self._dispatch(now, request)
        return request.id

    def ask_status(self, now: Nanos, on_done: OnDone, *, timeout: Nanos) -> int:
        """Ask a member what it is; the answer's body is a `NodeStatus`. Raises as `submit` does."""
        request = self._ledger.admit(Kind.STATUS, b"", on_done, now + timeout)
        self._dispatch(now, request)
        return request.id

    def administer(self, now: Nanos, request: AdminRequest, on_done: OnDone, *, timeout: Nanos) -> int:
        """Ask the leader for a change or a look; returns the request's id. Raises as `submit` does."""
        admitted = self._ledger.admit(admin_kind(request), b"", on_done, now + timeout)
        admitted.admin = request
        self._dispatch(now, admitted)
        return admitted.id

    def cancel(self, request: int) -> None:
        """The caller no longer wants to know. The request may have taken, or still take, effect."""
        if (found := self._requests.get(request)) is not None:
            self._forget(found)

    def close(self, now: Nanos) -> None:
        """End the session, fail what is under way, close all connections. Takes no more requests."""
        if self._ledger.closed:
            return
        best = self._routes.best
        for request in tuple(self._requests.values()):
            if request.kind is not OPEN_SESSION:
                self._finish(request, ClientClosed("the client was closed", effect=request.effect()))
        if self._session.id and best is not None:
            self._write(best, farewell(self._session.id))
        self._ledger.closed = True
        self._requests.clear()
        self._closing.extend(self._routes.connections)
        self._routes.connections.clear()
        self._routes.rank()

    # Inputs: what happened in the world

    def opened(self, now: Nanos, connection: int) -> None:
        """The dial succeeded."""
        found = self._routes.connections.get(connection)
        if found is not None and found.phase is Phase.DIALLING:
            found.phase = Phase.GREETING
            self._write(found, greeting(self._config.name, self._config.credentials))

    def closed(self, now: Nanos, connection: int, reason: str, ungreeted: str = "") -> None:
        """The dial failed, or the connection closed. `reason` is for people, `ungreeted` if it said nothing."""
        found = self._routes.connections.get(connection)
        if found is not None:
            self._lost(now, found, ungreeted if ungreeted and found.phase is Phase.GREETING else reason)

    def received(self, now: Nanos, connection: int, data: bytes) -> None:
        """Bytes from a member."""
        found = self._routes.connections.get(connection)
        if found is None:
            return
        found.heard(now)
        if found.suspect:
            found.suspect = False
            self._rerank(now)
        try:
            for body in found.frames.feed(data):
                response = decode(body)
                if type(response) is Answer:
                    self._answer(found, response)
                else:
                    self._response(now, found, response)
        except (FrameError, msgspec.MsgspecError) as problem:
            if found.id in self._routes.connections:
                self._abandon(now, found, f"does not speak the client protocol ({problem})")

    def wake(self, now: Nanos) -> None:
        """The deadline has come (too early or too late does no harm)."""
        for connection in tuple(self._routes.connections.values()):
            if connection.phase is not Phase.READY:
                if connection.since + self._config.connect_timeout <= now:
                    self._abandon(now, connection, "no answer to the greeting in time")
            elif connection.check_at and connection.check_at <= now:
                self._check(now, connection)
        while self._delayed and self._delayed[0][0] <= now:
            request = self._requests.get(heapq.heappop(self._delayed)[1])
            if request is not None and not request.attempts:
                self._dispatch(now, request)
        for request in self._ledger.expired(now):
            opening = self._requests.get(self._session.opening)
            self._finish(request, out_of_time(request, opening, self._routes.book.explain()))

    # Output

    def drain(self, now: Nanos) -> Drained:
        """What is to be done after the inputs since the last drain."""
        drained = Drained(NEVER)
        if self._unblocked:
            self._unblocked = False
            self._release(now)
        if self._requests:
            useless = self._routes.useless()
            if useless is not None:
                self._abandon(now, useless, "it does not serve")
            for connection in self._routes.dial(now):
                drained.connect.append((connection.id, connection.endpoint))
            due = [self._ledger.deadline(), self._routes.deadline()]
            if self._delayed:
                due.append(self._delayed[0][0])
            drained.deadline = min((when for when in due if when != NEVER), default=NEVER)
        if self._dirty:
            for connection in self._dirty.values():
                drained.send.append((connection.id, b"".join(connection.out)))
                connection.out.clear()
            self._dirty.clear()
        if self._closing:
            drained.close, self._closing = self._closing, []
        if self._completions:
            drained.completions, self._completions = self._completions, []
        return drained

    @property
    def under_way(self) -> int:
        """Requests without an outcome."""
        return len(self._requests)

    # Requests: admission, sending, outcome

    def _dispatch(self, now: Nanos, request: Request) -> None:
        """Send it, or let it wait for a session, for a connection, or for a while."""
        if request.exactly_once and not request.seq and not self._session.assign(request):
            self._session.waiting[request.id] = request
            self._open_session(now)
            return
        routes = self._routes
        connection = routes.best
        if request.kind is QUERY and request.mode is not ReadMode.LINEARIZABLE:
            connection = routes.near
        if connection is not None and (request.attempts or request.tried):
            connection = routes.other(request)
            if connection is None and not request.attempts:
                self._delay(now, request)
                return
        if connection is None:
            self._waiting[request.id] = request
        else:
            self._send(now, request, connection)

    def _delay(self, now: Nanos, request: Request) -> None:
        """Every member at hand refused it: wait, look for another member, then try all again."""
        request.rounds += 1
        request.tried = ()
        self._routes.want_another = True
        heapq.heappush(self._delayed, (now + backoff(self._config, self._rng, request.rounds), request.id))

    def _send(self, now: Nanos, request: Request, connection: Connection) -> None:
        # Each attempt has an id of its own: an answer to an earlier one must not pass for this one's.
        attempt = self._ledger.next_id() if request.sent else request.id
        kind = request.kind
        if kind is COMMAND:
            floor = self._session.floor_of(request.session)
            body = encode(Submit(attempt, request.session, request.seq, floor, request.payload))
        elif kind is QUERY:
            body = encode(Query(attempt, request.mode, request.at_least, request.payload))
        else:
            body = encode_other(request, attempt, self._config.session_ttl)
        request.attempts = (*request.attempts, (connection, attempt))
        request.sent = True
        request.sent_at = now
        if not connection.outstanding:
            connection.owes_from(now, now + self._config.quiet_timeout)
        connection.outstanding[attempt] = request
        connection.out.append(prefix_of(len(body)))
        connection.out.append(body)
        self._dirty[connection.id] = connection

    def _write(self, connection: Connection, data: bytes) -> None:
        connection.out.append(data)
        self._dirty[connection.id] = connection

    def _finish(self, request: Request, outcome: Outcome) -> None:
        self._forget(request)
        if request.kind is OPEN_SESSION:
            self._session_outcome(outcome)
        else:
            self._completions.append((request.on_done, outcome))

    def _forget(self, request: Request) -> None:
        """It needs nothing any more."""
        self._ledger.forget(request)
        for connection, attempt in request.attempts:
            connection.take(attempt)
        if self._waiting:
            self._waiting.pop(request.id, None)
        if request.exactly_once:
            session = self._session
            if request.seq:
                if session.answered(request):
                    self._unblocked = True
            else:
                session.waiting.pop(request.id, None)
            if session.opening and not session.waiting:
                opening, session.opening = session.opening, 0
                self._forget(self._requests[opening])

    # Sessions

    def _open_session(self, now: Nanos) -> None:
        session = self._session
        if not session.id and not session.opening:
            request = self._ledger.open(OPEN_SESSION)
            session.opening = request.id
            self._dispatch(now, request)

    def _session_outcome(self, outcome: Outcome) -> None:
        session = self._session
        session.opening = 0
        opened = session_of(outcome)
        if isinstance(opened, int):
            session.opened(opened)
            self._unblocked = True
            return
        for request in tuple(session.waiting.values()):
            text = f"no session could be opened: {opened}"
            error = type(opened)(text, effect=request.effect(), advice=opened.advice)
            self._finish(request, error)

    def _release(self, now: Nanos) -> None:
        """Send the commands that waited for the session, in the order in which they came."""
        waiting = self._session.waiting
        if waiting and not self._session.id:
            self._open_session(now)
        while waiting and self._session.room:
            _, request = waiting.popitem(last=False)
            self._dispatch(now, request)

    # Answers

    def _answer(self, connection: Connection, answer: Answer) -> None:
        request = connection.take(answer.id)
        if request is None:
            return  # Answered before, by another attempt; or given up.
        if answer.revision > self.revision:
            self.revision = answer.revision
        connection.useless_since = 0
        request.ended(connection)
        self._finish(request, answer)

    def _response(self, now: Nanos, connection: Connection, response: Response) -> None:
        if type(response) is Failure:
            request = connection.take(response.id)
            if request is not None:
                self._refused(now, connection, request, response)
            elif connection.phase is Phase.GREETING:
                self._abandon(now, connection, response.message)
            elif response.code in BLAMES_MEMBER:
                connection.refuses(now)  # Nobody waits for that answer any more; what it says of the member counts.
        elif type(response) is View:
            self._routes.told(now, response)
            self._rerank(now)
        elif type(response) is Welcome and connection.phase is Phase.GREETING:
            problem = self._routes.ready(now, connection, response)
            if problem:
                self._abandon(now, connection, problem)
            else:
                self._rerank(now)

    def _refused(self, now: Nanos, connection: Connection, request: Request, failure: Failure) -> None:
        """An attempt failed: try again where that is safe, or tell the caller."""
        request.ended(connection)
        request.last_failure = failure
        self._waiting.pop(request.id, None)
        if failure.code in BLAMES_MEMBER:
            connection.refuses(now)
            self._routes.rank()
        elif failure.code is FailureCode.NOT_LEADER:
            self._routes.led_by(now, failure.leader)
        if failure.code is FailureCode.SESSION_EXPIRED:
            self._session.expired(request.session)
            self._unblocked = True
        elif failure.happened is Happened.UNKNOWN:
            request.unknown = True
        match judge(request, failure):
            case Verdict.RAISE:
                self._finish(request, error_of(failure, effect_of(request, failure)))
            case Verdict.RENEW | Verdict.ANEW as verdict:
                if request.seq and self._session.answered(request):
                    self._unblocked = True
                request.session = request.seq = 0
                (self._dispatch if verdict is Verdict.RENEW else self._delay)(now, request)
            case Verdict.WAIT:
                self._delay(now, request)
            case Verdict.RETRY:
                request.tried = (*request.tried, connection.endpoint)
                self._dispatch(now, request)

    # Connections

    def _rerank(self, now: Nanos) -> None:
        """A connection may have become usable: requests that wait for one may go."""
        self._routes.rank()
        if self._waiting and self._routes.best is not None:
            waiting, self._waiting = self._waiting, {}
            for request in waiting.values():
                self._dispatch(now, request)

    def _check(self, now: Nanos, connection: Connection) -> None:
        """Send what waits too long for its answer to another member, too; give up a silent connection."""
        config = self._config
        quiet = now - connection.quiet_since
        limit = config.quiet_timeout if quiet >= config.quiet_timeout else config.attempt_timeout
        late = connection.late(now - limit)
        if connection.suspect and quiet >= config.silent_timeout:
            self._abandon(now, connection, "it answers nothing")
            return
        if connection.overdue and quiet >= config.quiet_timeout and not connection.suspect:
            connection.suspect = True
            connection.place.reason = "it does not answer"
            self._routes.rank()
        connection.check_at = connection.next_check(config)
        for request in late:
            if request.repeatable:
                self._routes.want_another = True
                self._dispatch(now, request)

    def _abandon(self, now: Nanos, connection: Connection, reason: str) -> None:
        self._closing.append(connection.id)
        self._lost(now, connection, reason)

    def _lost(self, now: Nanos, connection: Connection, reason: str) -> None:
        """The connection is gone, and with it the word on what was in flight there."""
        self._routes.drop(now, connection, reason)
        self._dirty.pop(connection.id, None)
        self._rerank(now)
        for request in (*connection.overdue.values(), *connection.outstanding.values()):
            if request.id not in self._requests:
                continue  # Given up on the way: a session's opening that no command waits for any more.
            request.ended(connection)
            request.unknown = True
            if not request.repeatable:
                text = f"the connection to {connection.endpoint} closed ({reason}) before the answer came"
                self._finish(request, ConnectionLost(text))
            elif not request.attempts:
                # It may wait for a member that it was not sent to; now those that refused it are all there is.
                self._waiting.pop(request.id, None)
                self._dispatch(now, request)
        if self._config.give_up_unreachable and not self._routes.connections and self._routes.book.unreachable():
            self._give_up()

    def _give_up(self) -> None:
        text = f"no member can be reached ({self._routes.book.explain()})"
        for request in tuple(self._requests.values()):
            if request.kind is not OPEN_SESSION and request.id in self._requests:
                self._finish(request, Unavailable(text, effect=request.effect()))
