"""One HTTP/1.1 connection: bytes to requests, one at a time, and answers back.

Everything is bounded: what a request's head and body may hold, how long a client may take for it or stay idle, and
nothing is read ahead while a request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from typing import Final, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec

from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.names import certified

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
MAX_QUERY_FIELDS: Final = 64
IDLE_TIMEOUT_S: Final = 60.0
"""From connecting, or from the last answer, to a whole request."""
HALF_CLOSED_S: Final = 2.0
"""Who has closed its half is answered for so long: after that it is taken to have gone, as most who do that have."""


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes = b""
    authorization: str = ""
    """The header of that name."""
    certified: str = ""
    """The common name in the client's verified certificate, if it showed one."""


class HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer."""

    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stream: AsyncIterator[bytes] | None = None
    """Instead of `body`: pieces, each sent as it comes. It is closed if the client goes away."""


class Site(Protocol):
    """Where requests go."""

    async def answer(self, request: HttpRequest) -> HttpReply:
        """Answer a request. An exception is logged, and answered with 500."""
        ...


class HttpConnection(asyncio.Protocol):
    """A connection that spoke HTTP/1.1 from its first byte on."""

    def __init__(self, site: Site, lines: Lines, source: str) -> None:
        self._site = site
        self._lines = lines
        self._source = source
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._half_closed = False
        self._streaming = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._certified = ""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        shown = certified(transport)
        self._certified = shown.common_name if shown is not None else ""
        self._wait()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._transport = None
        if self._answering is not None:
            self._answering.cancel()

    def eof_received(self) -> bool:
        """A client may close its half and still read: the answer under way is its, if it comes soon."""
        self._half_closed = True
        if self._answering is None or self._streaming:
            return False
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(HALF_CLOSED_S, self._abort)
        return True

    def data_received(self, data: bytes) -> None:
        if self._streaming:
            self._abort()  # the next request before the answer's end: a stream has none that it could wait for
            return
        self._http.receive_data(data)
        if self._answering is None:
            self._advance()
        elif self._transport is not None:
            self._transport.pause_reading()  # the next request waits its turn, and what comes behind it, outside

    def pause_writing(self) -> None:
        """The client reads slowly: it has so long for what was written."""
        self._writable.clear()
        self._wait()

    def resume_writing(self) -> None:
        self._writable.set()
        self._stop_timer()
        if self._answering is None:
            self._wait()

    # How it works inside.

    def _wait(self) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(IDLE_TIMEOUT_S, self._abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Take what has come, up to the end of a request."""
        try:
            while self._answering is None and self._transport is not None:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    self._request = event
                    self._body.clear()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > MAX_BODY_BYTES:
                        self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._begin()
                elif isinstance(event, h11.ConnectionClosed):
                    self._transport.close()
                    return
                else:
                    if self._http.they_are_waiting_for_100_continue:
                        self._write(h11.InformationalResponse(status_code=100, headers=[]))
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(HTTPStatus(error.error_status_hint), str(error))

    def _begin(self) -> None:
        """A whole request is here: answer it. Reading goes on, or nobody would notice that the client has gone."""
        assert self._request is not None
        self._stop_timer()
        request = self._request
        target = urlsplit(request.target.decode("latin-1"))
        try:
            query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, f"a query has at most {MAX_QUERY_FIELDS} fields")
            return
        asked = HttpRequest(
            method=request.method.decode("latin-1"),
            path=target.path,
            query=query,
            body=bytes(self._body),
            authorization=_authorization(request),
            certified=self._certified,
        )
        self._answering = asyncio.get_running_loop().create_task(self._answer(asked))

    async def _answer(self, request: HttpRequest) -> None:
        try:
            reply = await self._site.answer(request)
        except Exception as error:
            self._lines.error("http-failed", path=request.path, source=self._source, problem=repr(error))
            reply = HttpReply(
                status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"internal error; the node's log says more\n"
            )
        if reply.stream is not None:
            await self._reply_in_pieces(reply, reply.stream)
        self._answering = None
        if self._transport is None:
            return
        if reply.stream is None:
            self._reply(reply)
        if self._half_closed or self._http.our_state is not h11.DONE:
            self._transport.close()
            return
        self._http.start_next_cycle()
        self._wait()
        self._transport.resume_reading()
        self._advance()

    async def _reply_in_pieces(self, reply: HttpReply, pieces: AsyncIterator[bytes]) -> None:
        """Send each piece as it comes, and take none while the client does not read."""
        headers = [
            ("Content-Type", reply.content_type),
            ("Transfer-Encoding", "chunked"),
            ("Cache-Control", "no-store"),
        ]
        head = h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase.encode())
        self._write(head)
        self._streaming = True
        if self._transport is not None:
            self._transport.resume_reading()
        try:
            async for piece in pieces:
                self._write(h11.Data(data=piece))
                await self._writable.wait()
        finally:
            self._streaming = False
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
        self._write(h11.EndOfMessage())

    def _refuse(self, status: HTTPStatus, problem: str) -> None:
        """Say why, if that can still be said, and close."""
        self._lines.warning("client-malformed", source=self._source, problem=problem)
        if self._transport is None:
            return
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._reply(HttpReply(status=status, body=f"{problem}\n".encode(), headers=(("Connection", "close"),)))
        self._transport.close()

    def _reply(self, reply: HttpReply) -> None:
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            ("Cache-Control", "no-store"),
            *reply.headers,
        ]
        head = h11.Response(status_code=reply.status, headers=headers, reason=reply.status.phrase.encode())
        self._write(head)
        if reply.body and (self._request is None or self._request.method != b"HEAD"):
            self._write(h11.Data(data=reply.body))
        self._write(h11.EndOfMessage())

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data and self._transport is not None:
            self._transport.write(data)


def _authorization(request: h11.Request) -> str:
    """The header of that name, as text."""
    for name, value in request.headers:
        if name == b"authorization":
            return value.decode("latin-1")
    return ""
