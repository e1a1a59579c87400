"""A cluster for the client's shells to talk to over real sockets: real key-value machine, real sessions
semantics, no consensus. Its members do as the test says: answer, stay silent, refuse, cut off."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from coterie.engine.protocol import (
    CLIENT_MAGIC,
    PROTOCOL_VERSION,
    Answer,
    AskStatus,
    CloseSession,
    Failure,
    FailureCode,
    Happened,
    Hello,
    KeepAlive,
    LogIn,
    MemberStatus,
    NodeStatus,
    OpenSession,
    Query,
    ReadMode,
    Request,
    Response,
    Submit,
    View,
    Welcome,
    encoder,
    request_decoder,
)
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue

T = TypeVar("T")
CLUSTER = 0xC0FFEE
STALE_AGE = 3_000_000


class Member:
    """One member's server; `Peer` owns the state."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.id = 0x1000 + number
        self.name = f"n{number}"
        self.server: asyncio.Server | None = None
        self.host = "127.0.0.1"
        self.port = 0
        self.mute = False
        """Takes requests and says nothing."""
        self.silent_commands = False
        """Takes commands and says nothing of them."""
        self.refusals_after = 0
        """So many commands later, three are refused for want of space."""
        self.most_at_once = 0
        """Connections that were open together."""
        self.refusals: list[tuple[FailureCode, Happened]] = []
        """The next commands and queries fail so, without effect."""
        self.cut_after_effect = 0
        """The next so many commands take effect, and the connection closes before the answer."""
        self.peers: set[Peer] = set()
        self.requests: list[Request] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Peer(self), self.host, self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        # A server of Python 3.11 that closes leaks the connections that it is accepting.
        while accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepting)
        if self.server is not None:
            self.server.close()
            self.server = None
        while self.peers:
            for peer in tuple(self.peers):
                peer.transport.abort()
            await asyncio.sleep(0)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Peer(asyncio.Protocol):
    """The server's end of a connection."""

    transport: asyncio.Transport

    def __init__(self, member: Member) -> None:
        self.member = member
        self.buffer = b""
        self.greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.member.peers.add(self)
        self.member.most_at_once = max(self.member.most_at_once, len(self.member.peers))

    def connection_lost(self, exc: Exception | None) -> None:
        self.member.peers.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.greeted:
            if len(self.buffer) < len(CLIENT_MAGIC):
                return
            assert self.buffer.startswith(CLIENT_MAGIC)
            self.greeted = True
            self.buffer = self.buffer[len(CLIENT_MAGIC) :]
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if len(self.buffer) < 4 + size:
                return
            body, self.buffer = self.buffer[4 : 4 + size], self.buffer[4 + size :]
            self.handle(request_decoder.decode(body))

    def say(self, response: Response) -> None:
        body = encoder.encode(response)
        self.transport.write(len(body).to_bytes(4, "big") + body)

    def handle(self, request: Request) -> None:
        member, cluster = self.member, self.member.cluster
        member.requests.append(request)
        if member.mute:
            return
        if isinstance(request, Hello):
            self.say(Welcome(PROTOCOL_VERSION, CLUSTER, member.id, member.name, "coterie.machine.kv:KeyValue"))
            self.say(cluster.view())
        elif isinstance(request, AskStatus):
            self.say(Answer(request.id, 0, 0, msgspec.msgpack.encode(cluster.status(member))))
        elif isinstance(request, CloseSession):
            cluster.sessions.pop(request.session, None)
        elif not isinstance(request, KeepAlive | LogIn):
            if member.refusals and not isinstance(request, OpenSession):
                self.say(Failure(request.id, *member.refusals.pop(0), "as the test says"))
                return
            if isinstance(request, Submit):
                if member.silent_commands:
                    return
                if member.refusals_after:
                    member.refusals_after -= 1
                    if not member.refusals_after:
                        member.refusals = [(FailureCode.NO_SPACE, Happened.NO)] * 3
            response = cluster.run(request)
            if isinstance(request, Submit) and member.cut_after_effect:
                member.cut_after_effect -= 1
                self.transport.abort()
                return
            self.say(response)


class Cluster:
    """Members on a thread with an event loop of its own; use as a context manager."""

    def __init__(self, members: int = 3) -> None:
        self.members = [Member(self, number) for number in range(1, members + 1)]
        self.leader = self.members[0]
        self.machine = KeyValue()
        self.index = 0
        self.sessions: dict[int, dict[int, Response]] = {}
        self.opened = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for member in self.members:
            asyncio.run_coroutine_threadsafe(member.start(), self._loop).result(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            self.stop(member)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def stop(self, member: Member) -> None:
        """Stop one member: nobody is connected to it when this returns, and nobody can be."""
        asyncio.run_coroutine_threadsafe(member.stop(), self._loop).result(5)

    def do(self, action: Callable[[], T]) -> T:
        """Run something on the cluster's thread."""

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(5)

    @property
    def endpoints(self) -> str:
        return ",".join(member.address for member in self.members)

    def lead(self, member: Member) -> None:
        def tell() -> None:
            self.leader = member
            for other in self.members:
                for peer in other.peers:
                    peer.say(self.view())

        self.do(tell)

    def view(self) -> View:
        return View(self.leader.id, tuple((m.id, m.name, m.address) for m in self.members))

    def status(self, member: Member) -> NodeStatus:
        return NodeStatus(
            cluster=CLUSTER,
            protocol="raft",
            member=member.id,
            name=member.name,
            version="0",
            pid=os.getpid(),
            boot=1,
            role="leader" if member is self.leader else "follower",
            leader=self.leader.id,
            epoch_round=3,
            epoch_node=0,
            commit=self.index,
            applied=self.index,
            last_index=self.index,
            revision=self.machine.revision() or 0,
            machine="coterie.machine.kv:KeyValue",
            members=tuple(MemberStatus(m.id, m.name, f"127.0.0.1:{m.port + 1}", m.address, True) for m in self.members),
            last_elections=("n1 leads term 3: the election timeout of n1 passed",),
        )

    def run(self, request: Request) -> Response:
        if isinstance(request, OpenSession):
            self.opened += 1
            self.sessions[self.opened] = {}
            return Answer(request.id, self._revision(), 0, msgspec.msgpack.encode(self.opened))
        if isinstance(request, Query):
            result = self.machine.query(request.question)
            age = STALE_AGE if request.mode is ReadMode.STALE else 0
            return self._response(request.id, result, age)
        assert isinstance(request, Submit)
        replies: dict[int, Response] = {}
        if request.session:
            if request.session not in self.sessions:
                return Failure(request.id, FailureCode.SESSION_EXPIRED, Happened.UNKNOWN, "no such session")
            replies = self.sessions[request.session]
        if request.seq not in replies:
            self.index += 1
            result = self.machine.apply(Batch(self.index, 0, (0,), (request.command,)))[0]
            replies[request.seq] = self._response(request.id, result, 0)
        reply: Any = replies[request.seq]
        answered: Response = msgspec.structs.replace(reply, id=request.id)
        return answered

    def _response(self, request: int, result: bytes | Rejected, age: int) -> Response:
        if isinstance(result, Rejected):
            return Failure(request, FailureCode.REJECTED, Happened.NO, result.reason)
        return Answer(request, self._revision(), age, result)

    def _revision(self) -> int:
        return self.machine.revision() or 0
