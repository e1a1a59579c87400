"""gRPC's side: what connections say goes to the services, and their answers go back."""

from __future__ import annotations

import logging
from collections.abc import Callable

from coterie.etcd.calls import ANYBODY, Caller, Handler
from coterie.etcd.services import Services
from coterie.etcd.status import Code
from coterie.http2 import Called, Cancelled, Connection, Drained, Ended, Event, Received
from coterie.http2.events import Metadata
from coterie.runtime.grpc.connection import GrpcConnection

_logger = logging.getLogger("coterie")
_TOKENS = (b"token", b"authorization")
"""Metadata that may carry what `Authenticate` gave (etcd 3.5, auth/store.go AuthInfoFromCtx)."""


class GrpcStream:
    """The way back to one call."""

    __slots__ = ("_calls", "_connection", "_http", "_number", "over")

    def __init__(self, calls: GrpcCalls, connection: GrpcConnection, http: Connection, number: int) -> None:
        self._calls = calls
        self._connection = connection
        self._http = http
        self._number = number
        self.over = False
        """The services have ended it: nothing more will be heard of it."""

    @property
    def unsent(self) -> int:
        """See `Stream`."""
        return self._http.unsent(self._number)

    def respond(self, message: bytes) -> None:
        """See `Stream`."""
        self._http.respond(self._number, message)
        self._end()

    def send(self, message: bytes) -> None:
        """See `Stream`."""
        self._http.send(self._number, message)
        self._connection.touch()

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        """See `Stream`."""
        self._http.finish(self._number, code, text)
        self._end()

    def release(self) -> None:
        """See `Stream`."""
        self._http.read(self._number)
        self._connection.touch()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self._calls.forget(self._connection, self._number)
        self._connection.touch()


class GrpcCalls:
    """The site of all connections."""

    def __init__(self, services: Services, flush: Callable[[], None]) -> None:
        """`flush`: what is to be done after calls."""
        self._services = services
        self._flush = flush
        self._handlers: dict[GrpcConnection, dict[int, Handler]] = {}
        """Calls that are to be told more, by connection and stream."""
        self._connection: GrpcConnection | None = None
        self._metadata: Metadata | None = None
        """Of the last call. A client says the same with each, and then it is the same object."""
        self._caller = ANYBODY
        """Whom they make."""

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        """See `GrpcSite`."""
        for event in events:
            try:
                if type(event) is Called:
                    self._called(connection, event)
                else:
                    self._more(connection, event)
            except Exception:
                # One call's misfortune: its caller is told, the others' calls go on, and the log says where it was.
                _logger.exception("call-failed source=%s", connection.source)
                connection.http.finish(event.stream, Code.INTERNAL, "internal error; the member's log says more")
                connection.touch()
        self._flush()

    def forget(self, connection: GrpcConnection, number: int) -> None:
        """A call is over: nobody is told of it any more."""
        handlers = self._handlers.get(connection)
        if handlers is not None and handlers.pop(number, None) is not None and not handlers:
            del self._handlers[connection]

    def _called(self, connection: GrpcConnection, event: Called) -> None:
        services = self._services
        stream = GrpcStream(self, connection, connection.http, event.stream)
        metadata = event.metadata
        if metadata is not self._metadata or connection is not self._connection:
            self._metadata, self._connection = metadata, connection
            self._caller = caller_of(metadata, connection)
        caller = self._caller
        message = event.message
        if message is not None and event.ended:
            handler = services.call(stream, event.path, caller, message)
        else:
            handler = services.open(stream, event.path, caller)
            if handler is not None and message is not None and handler.received(message):
                connection.http.read(event.stream)
        if handler is not None and not stream.over:
            self._handlers.setdefault(connection, {})[event.stream] = handler
            if event.ended:
                handler.ended()

    def _more(self, connection: GrpcConnection, event: Event) -> None:
        handlers = self._handlers.get(connection)
        handler = handlers.get(event.stream) if handlers is not None else None
        if handlers is None or handler is None:
            return
        if isinstance(event, Received):
            if handler.received(event.message):
                connection.http.read(event.stream)
        elif isinstance(event, Ended):
            handler.ended()
        elif isinstance(event, Drained):
            handler.drained()
        elif isinstance(event, Cancelled):
            self.forget(connection, event.stream)
            handler.cancelled()


def caller_of(metadata: tuple[tuple[bytes, bytes], ...], connection: GrpcConnection) -> Caller:
    """Who calls, by a call's metadata and the connection's certificate."""
    token = b""
    leader = False
    for name, value in metadata:
        if name in _TOKENS:
            token = token or value
        elif name == b"hasleader":
            leader = value == b"true"
    certified = connection.certified.common_name if connection.certified is not None else ""
    if not (token or leader or certified):
        return ANYBODY
    return Caller(token.decode("latin-1"), certified, leader)
