"""Requests as they come from clients: checked, then queued, answered or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from coterie.core.messages import AnyCommand, Command, SessionClose, SessionKeep, SessionOpen
from coterie.core.types import Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.administration import ADMIN_REQUESTS, Administration
from coterie.engine.ports import Ports
from coterie.engine.protocol import (
    MAX_REQUEST_BYTES,
    Answer,
    AskStatus,
    CloseSession,
    Failure,
    FailureCode,
    Fence,
    Happened,
    Hello,
    KeepAlive,
    LogIn,
    NodeStatus,
    OpenSession,
    Query,
    ReadMode,
    Request,
    Response,
    Submit,
    encoder,
)
from coterie.engine.queries import Queries
from coterie.engine.submissions import Submissions

MAX_SEQ = (1 << 63) - 1
MAX_ADMIN_REQUESTS = 256
"""Administrators' requests without an answer; one more is refused."""
SESSION_COMMAND_BYTES = 16
"""What a session's own command counts as in a batch."""


class IntakeLimits(Protocol):
    """The part of the engine's configuration that the intake looks at."""

    @property
    def max_pending_requests(self) -> int: ...


class Intake:
    """The door: nothing passes that breaks a limit, and every refusal says that nothing happened."""

    def __init__(
        self,
        limits: IntakeLimits,
        submissions: Submissions,
        queries: Queries,
        administration: Administration,
        ports: Ports,
        age_bound: Callable[[Nanos], Nanos],
        status: Callable[[], NodeStatus],
    ) -> None:
        self._max_pending = limits.max_pending_requests
        self._submissions = submissions
        self._queries = queries
        self._administration = administration
        self._ports = ports
        self._age_bound = age_bound
        self._status = status
        self._responses: list[tuple[object, Response]] = []
        self._local: list[tuple[object, Query | Fence]] = []
        self.stopping = False
        self.overloaded_until: Nanos = 0
        """Until then the leader is known to take no more: commands are refused here, unsent."""

    def take(self, now: Nanos, client: object, requests: Sequence[Request]) -> None:
        """Queue a client's requests, or refuse them, in this order."""
        room = self._room(now)
        ids: list[int] = []
        commands: list[AnyCommand] = []
        size = 0
        for request in requests:
            if type(request) is Submit and len(ids) < room:
                body = request.command
                if len(body) <= MAX_REQUEST_BYTES and (not request.session or 1 <= request.seq <= MAX_SEQ):
                    ids.append(request.id)
                    commands.append(Command(request.session, request.seq, request.floor, body))
                    size += len(body)
                    continue
            if ids:
                self._submissions.add(client, ids, commands, size)
                ids, commands, size = [], [], 0
            self._take(now, client, request)
            room = self._room(now)
        if ids:
            self._submissions.add(client, ids, commands, size)

    def _room(self, now: Nanos) -> int:
        """How many more commands may enter without a look at each."""
        if self.stopping or now < self.overloaded_until:
            return 0
        return self._max_pending - self._submissions.count - self._queries.count

    def _take(self, now: Nanos, client: object, request: Request) -> None:
        """Queue a request that is no plain command, or say why it is refused."""
        if isinstance(request, Submit):
            body = request.command
            if len(body) > MAX_REQUEST_BYTES:
                self._refuse(client, request.id, FailureCode.INVALID, _too_large("command", len(body)))
            elif request.session and not 1 <= request.seq <= MAX_SEQ:
                text = f"seq is {request.seq}: with a session it must be from 1 to {MAX_SEQ}"
                self._refuse(client, request.id, FailureCode.INVALID, text)
            elif self._may_enter(now, client, request.id):
                command = Command(request.session, request.seq, request.floor, body)
                self._submissions.add(client, [request.id], [command], len(body))
        elif isinstance(request, Query | Fence):
            self._take_query(now, client, request)
        elif isinstance(request, AskStatus):
            body = encoder.encode(self._status())
            self._responses.append((client, Answer(request.id, 0, 0, body)))
        elif isinstance(request, Hello | LogIn):
            self._refuse(client, 0, FailureCode.INVALID, "Hello and LogIn open a connection, and come nowhere else")
        elif isinstance(request, ADMIN_REQUESTS):
            self._take_admin(now, client, request)
        elif self._may_enter(now, client, request.id):
            self._submissions.add(client, [request.id], [_session_command(request)], SESSION_COMMAND_BYTES)

    def _take_admin(self, now: Nanos, client: object, request: AdminRequest) -> None:
        if self._administration.count >= MAX_ADMIN_REQUESTS:
            text = f"{MAX_ADMIN_REQUESTS} changes are waiting at this member, its limit: try again later"
            self._refuse(client, request.id, FailureCode.OVERLOADED, text)
        elif self._may_enter(now, client, request.id, command=False):
            self._administration.take(now, client, request)

    def _take_query(self, now: Nanos, client: object, request: Query | Fence) -> None:
        if isinstance(request, Query) and len(request.question) > MAX_REQUEST_BYTES:
            text = _too_large("question", len(request.question))
            self._refuse(client, request.id, FailureCode.INVALID, text)
        elif request.at_least < 0:
            text = f"at_least is {request.at_least}: a revision is 0 or more"
            self._refuse(client, request.id, FailureCode.INVALID, text)
        elif not self._may_enter(now, client, request.id, command=False):
            return
        elif request.mode is ReadMode.LINEARIZABLE:
            self._queries.add(client, request)
        elif request.mode is ReadMode.SESSION:
            self._queries.await_revision(now, client, request)
        else:
            self._local.append((client, request))

    def _may_enter(self, now: Nanos, client: object, id: int, *, command: bool = True) -> bool:
        if self.stopping:
            text = "this member is shutting down: send the request to another"
            self._refuse(client, id, FailureCode.STOPPING, text)
        elif self._submissions.count + self._queries.count >= self._max_pending:
            text = f"{self._max_pending} requests are under way at this member, its limit: try again later"
            self._refuse(client, id, FailureCode.OVERLOADED, text)
        elif command and now < self.overloaded_until:
            self._refuse(client, id, FailureCode.OVERLOADED, "the leader takes no more at present: try again later")
        else:
            return True
        return False

    def _refuse(self, client: object, id: int, code: FailureCode, text: str) -> None:
        self._responses.append((client, Failure(id, code, Happened.NO, text)))

    def flush(self, now: Nanos) -> None:
        """Send the answers that wait for nobody."""
        if self._responses:
            for client, response in self._responses:
                self._ports.reply(client, response)
            self._responses = []
        if self._local:
            age = self._age_bound(now)
            for client, query in self._local:
                self._queries.answer(client, query, age)
            self._local = []
        if self._queries.count:
            self._queries.applied()


def _session_command(request: OpenSession | CloseSession | KeepAlive) -> SessionOpen | SessionClose | SessionKeep:
    if isinstance(request, OpenSession):
        return SessionOpen(request.ttl)
    if isinstance(request, CloseSession):
        return SessionClose(request.session)
    return SessionKeep(request.session, request.floor)


def _too_large(what: str, size: int) -> str:
    return f"{what} has {size} bytes: the limit is {MAX_REQUEST_BYTES}"
