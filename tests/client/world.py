"""A scripted cluster that the client's core talks to, without sockets: it may lose, hold, repeat and
reorder answers, close connections, lie about the leader, forget sessions, and run a command long after
it said that it does not know. What it never does is lie about effects."""

from __future__ import annotations

import random
from collections import Counter

import msgspec

from coterie.client.config import ClientConfig
from coterie.client.core import ClientCore
from coterie.client.endpoints import Endpoint
from coterie.client.errors import RequestError
from coterie.client.requests import NEVER, OnDone, Outcome
from coterie.core.config import MILLISECOND
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    PROTOCOL_VERSION,
    Answer,
    CloseSession,
    Failure,
    FailureCode,
    Happened,
    Hello,
    OpenSession,
    Query,
    Request,
    Response,
    Submit,
    View,
    Welcome,
    encoder,
    request_decoder,
)

CLUSTER = 0xC0
REFUSALS = (
    (FailureCode.NO_LEADER, Happened.NO),
    (FailureCode.OVERLOADED, Happened.NO),
    (FailureCode.STOPPING, Happened.NO),
    (FailureCode.NOT_MEMBER, Happened.NO),
    (FailureCode.NO_SPACE, Happened.NO),
    (FailureCode.TIMEOUT, Happened.UNKNOWN),
    (FailureCode.LEADER_LOST, Happened.UNKNOWN),
)


def framed(message: Response) -> bytes:
    body = encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


class Wire:
    """The server's end of one connection."""

    def __init__(self, member: int) -> None:
        self.member = member
        self.received = b""
        self.greeted = False
        self.pending: list[Request] = []
        """Arrived, not dealt with."""
        self.held: list[Response] = []
        """Answers not sent yet, or to be repeated."""

    def feed(self, data: bytes) -> None:
        self.received += data
        if not self.greeted and self.received.startswith(CLIENT_MAGIC):
            self.greeted = True
            self.received = self.received[len(CLIENT_MAGIC) :]
        while len(self.received) >= 4:
            size = int.from_bytes(self.received[:4], "big")
            if len(self.received) < 4 + size:
                return
            self.pending.append(request_decoder.decode(self.received[4 : 4 + size]))
            self.received = self.received[4 + size :]


class World:
    """One client's core, and the cluster it talks to."""

    def __init__(self, seed: int, members: int = 3, config: ClientConfig | None = None) -> None:
        self.endpoints = [Endpoint(f"m{number}", 1) for number in range(1, members + 1)]
        self.core = ClientCore(self.endpoints, config or ClientConfig(), random.Random(seed))
        self.now = 1_000 * MILLISECOND
        self.wires: dict[int, Wire] = {}
        self.dials: dict[int, int] = {}
        """Connection: member that is dialled."""
        self.deadline = NEVER
        self.leader = 1
        self.runs: Counter[bytes] = Counter()
        """How often each command took effect."""
        self.revision = 0
        self.sessions: dict[int, dict[int, Answer]] = {}
        self.floors: dict[int, int] = {}
        self.told: Counter[int] = Counter()
        """The highest floor that the client sent, by session."""
        self.widest = 0
        """The most numbers from a session's floor to a command's."""
        self.last_session = 0
        self.ghosts: list[Submit] = []
        """Commands of which the client was told nothing, or 'unknown', that may run yet."""
        self.sent: dict[bytes, list[Submit]] = {}
        """Each submission that arrived, by command."""
        self.refused: Counter[bytes] = Counter()
        """Refusals for certain, by command: sent or on the way to the client."""
        self.outcomes: dict[str, list[Outcome]] = {}
        self.bytes_out = b""

    # The caller

    def on_done(self, name: str) -> OnDone:
        found = self.outcomes.setdefault(name, [])
        return found.append

    def put(self, name: str, *, exactly_once: bool, timeout: int) -> None:
        self.core.submit(
            self.now, name.encode(), self.on_done(name), timeout=timeout * MILLISECOND, exactly_once=exactly_once
        )

    def ask(self, name: str, *, timeout: int) -> None:
        self.core.query(self.now, name.encode(), self.on_done(name), timeout=timeout * MILLISECOND)

    # The world

    def turn(self) -> None:
        """Do what the core says until it says nothing more."""
        drained = self.core.drain(self.now)
        self.deadline = drained.deadline
        for connection, endpoint in drained.connect:
            assert connection not in self.dials
            assert connection not in self.wires
            self.dials[connection] = self.endpoints.index(endpoint) + 1
        for connection, data in drained.send:
            self.bytes_out += data
            if connection in self.wires:
                wire = self.wires[connection]
                arrived = len(wire.pending)
                wire.feed(data)
                for request in wire.pending[arrived:]:
                    if isinstance(request, Submit) and request.session:
                        self.told[request.session] = max(self.told[request.session], request.floor)
                        self.widest = max(self.widest, request.seq - self.told[request.session] + 1)
        for connection in drained.close:
            self.dials.pop(connection, None)
            self.wires.pop(connection, None)
        for on_done, outcome in drained.completions:
            on_done(outcome)

    def advance(self, nanos: int) -> None:
        """Time passes; the core is woken at each deadline on the way."""
        until = self.now + nanos
        while self.deadline != NEVER and self.deadline <= until:
            self.now = max(self.now, self.deadline)
            self.core.wake(self.now)
            self.turn()
            assert self.deadline == NEVER or self.deadline > self.now, "shells would spin"
        self.now = until

    def accept(self, connection: int) -> None:
        self.wires[connection] = Wire(self.dials.pop(connection))
        self.core.opened(self.now, connection)

    def refuse(self, connection: int) -> None:
        del self.dials[connection]
        self.core.closed(self.now, connection, "refused")

    def cut(self, connection: int) -> None:
        del self.wires[connection]
        self.core.closed(self.now, connection, "reset")

    def say(self, connection: int, response: Response, cut_at: int | None = None) -> None:
        data = framed(response)
        if cut_at is not None:
            cut_at %= len(data)
            self.core.received(self.now, connection, data[:cut_at])
            data = data[cut_at:]
        self.core.received(self.now, connection, data)

    def view(self, leader: int) -> View:
        return View(leader, tuple((n, f"n{n}", str(e)) for n, e in enumerate(self.endpoints, start=1)))

    # The machine

    def apply(self, request: Submit) -> Response:
        """Run the command in the machine, as `machine.sessions` does it."""
        if request.session:
            replies = self.sessions.get(request.session)
            if replies is None:
                self.refused[request.command] += 1
                return Failure(request.id, FailureCode.SESSION_EXPIRED, Happened.UNKNOWN, "no such session")
            floor = self.floors[request.session] = max(self.floors[request.session], request.floor)
            for seq in [seq for seq in replies if seq < floor]:
                del replies[seq]
            if request.seq < floor:
                return Failure(request.id, FailureCode.REPLY_FORGOTTEN, Happened.YES, "below the floor")
            if request.seq in replies:
                return msgspec.structs.replace(replies[request.seq], id=request.id)
        self.revision += 1
        self.runs[request.command] += 1
        answer = Answer(request.id, self.revision, 0, request.command)
        if request.session:
            self.sessions[request.session][request.seq] = answer
        return answer

    def serve(self, connection: int, request: Request) -> Response | None:
        """The truthful answer to a request."""
        if isinstance(request, Submit):
            self.sent.setdefault(request.command, []).append(request)
            return self.apply(request)
        if isinstance(request, Hello):
            return Welcome(PROTOCOL_VERSION, CLUSTER, self.wires[connection].member, "n", "machine")
        if isinstance(request, OpenSession):
            self.last_session += 1
            self.sessions[self.last_session] = {}
            self.floors[self.last_session] = 0
            return Answer(request.id, self.revision, 0, msgspec.msgpack.encode(self.last_session))
        if isinstance(request, Query):
            return Answer(request.id, self.revision, 0, request.question)
        if isinstance(request, CloseSession):
            self.sessions.pop(request.session, None)
        return None

    def settle(self) -> None:
        """Every fault is healed: members serve at once, and time goes on until nothing is under way."""
        for _ in range(200):
            for connection in tuple(self.dials):
                self.accept(connection)
            for connection, wire in tuple(self.wires.items()):
                while wire.pending:
                    response = self.serve(connection, wire.pending.pop(0))
                    if response is not None:
                        self.say(connection, response)
            self.turn()
            busy = self.dials or any(wire.pending for wire in self.wires.values())
            if not busy:
                if not self.core.under_way:
                    break
                self.advance(100 * MILLISECOND)
        for ghost in self.ghosts:
            self.apply(ghost)
        self.ghosts.clear()

    def outcome(self, name: str) -> Outcome | None:
        found = self.outcomes[name]
        assert len(found) <= 1, f"{name} was completed {len(found)} times"
        return found[0] if found else None

    def error(self, name: str) -> RequestError:
        outcome = self.outcome(name)
        assert isinstance(outcome, RequestError), outcome
        return outcome

    def answer(self, name: str) -> Answer:
        outcome = self.outcome(name)
        assert isinstance(outcome, Answer), outcome
        return outcome
