"""A port that serves gRPC, and calls that do what their path says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
from tests.runtime.conftest import run, until

from coterie.engine.protocol import LogIn, Request, View, Welcome
from coterie.http2 import Called, Cancelled, Drained, Ended, Event, Limits, Received, Status
from coterie.runtime.addresses import bound_address, listen
from coterie.runtime.client_port import ClientPort
from coterie.runtime.clients import ClientLimits, NativeClient
from coterie.runtime.grpc.connection import GrpcConnection
from coterie.runtime.http1.connection import HttpConnection, HttpReply, HttpRequest
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.serving import serve

T = TypeVar("T")
COUNT = 100
"""Messages of a streaming answer."""


class Paths:
    """Services: `/test/Echo` answers each message with itself; `/test/Join` all together; `/test/Many` the message
    COUNT times; `/test/Fail` never well; `/test/Silent` not at all; `/test/Ignored` never reads; `/test/Metadata`
    with it."""

    def __init__(self) -> None:
        self.open: dict[tuple[GrpcConnection, int], tuple[Called, list[bytes]]] = {}
        self.cancelled: list[str] = []
        self.drained = 0
        self.connections: set[GrpcConnection] = set()

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        self.connections.add(connection)
        for event in events:
            key = (connection, event.stream)
            if isinstance(event, Called):
                self.open[key] = (event, [])
                if event.message is not None:
                    self.message(connection, event, event.message, event.ended)
                if event.ended:
                    self.ended(connection, event)
            elif isinstance(event, Received):
                self.message(connection, self.open[key][0], event.message, False)
            elif isinstance(event, Ended):
                self.ended(connection, self.open[key][0])
            elif isinstance(event, Drained):
                self.drained += 1
            else:
                assert isinstance(event, Cancelled)
                self.cancelled.append(event.reason)
                del self.open[key]
        connection.touch()

    def message(self, connection: GrpcConnection, call: Called, message: bytes, ended: bool) -> None:
        http, path = connection.http, call.path
        if path == "/test/Ignored":
            return
        http.read(call.stream)
        if path == "/test/Echo" and ended:
            http.respond(call.stream, message)
        elif path == "/test/Echo":
            http.send(call.stream, message)
        elif path == "/test/Many":
            for _ in range(COUNT):
                http.send(call.stream, message)
        else:
            self.open[connection, call.stream][1].append(message)

    def ended(self, connection: GrpcConnection, call: Called) -> None:
        http, path = connection.http, call.path
        messages = self.open[connection, call.stream][1]
        if path == "/test/Silent":
            return
        if path == "/test/Join":
            http.send(call.stream, b"".join(messages))
        if path == "/test/Metadata":
            http.send(call.stream, b"\n".join(name + b"=" + value for name, value in call.metadata))
        if path == "/test/Fail":
            trailers = (("reason", "none"), ("blob-bin", b"\x00\xff"))
            http.finish(call.stream, Status.ABORTED, "50% of naïve\ncalls", trailers)
        else:
            http.finish(call.stream)
        del self.open[connection, call.stream]


class Desk:
    """The port, and channels to it."""

    def __init__(self, limits: Limits, clients: ClientLimits) -> None:
        self.site = Paths()
        self.port = ClientPort(
            Lines("a"),
            clients,
            self,
            http=lambda source: HttpConnection(self, Lines("a"), source),
            grpc=lambda port, source, who: GrpcConnection(port, self.site, limits, source, who),
        )
        self.address = ""

    async def answer(self, request: HttpRequest) -> HttpReply:
        return HttpReply(body=request.path.encode())

    def requests_from(self, client: object, requests: list[Request]) -> None:
        raise AssertionError(requests)

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        raise AssertionError(request)

    def welcome(self) -> tuple[Welcome, View]:
        raise AssertionError("nobody speaks the native protocol here")

    async def channel(self, *options: tuple[str, object]) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.address, options=options)


def at_desk(
    work: Callable[[Desk], Awaitable[T]],
    limits: Limits | None = None,
    clients: ClientLimits | None = None,
    seconds: float = 30.0,
) -> T:
    """Do something at an open desk; at the end nobody is connected."""

    async def whole() -> T:
        desk = Desk(limits or Limits(), clients or ClientLimits())
        (listener,) = listen("127.0.0.1:0", "test")
        desk.address = bound_address(listener)
        server = await serve(listener, desk.port.protocol, Lines("a"), None)
        try:
            return await work(desk)
        finally:
            server.close()
            desk.port.close(at_once=True)
            await until(lambda: desk.port.connections == 0)

    return run(whole, seconds)
