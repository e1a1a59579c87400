"""The clients' port: native frames in, answers out; a connection that begins as HTTP does, 1.1 or 2, is handed on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Failure,
    FailureCode,
    Happened,
    Hello,
    LogIn,
    Request,
    Response,
    View,
    encoder,
    request_decoder,
)
from coterie.runtime.clients import ClientInput, ClientLimits, Drainable, Flushable
from coterie.runtime.frames import FrameError, FrameSplitter, pack_length
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_link import tune_socket
from coterie.runtime.tls.names import Certified, certified

MAX_HELLO_BYTES = 4096
"""Body of a client's first frame, and of the one that says who it is."""
HELLO_TIMEOUT_S = 10.0
"""From connecting to a whole `Hello`."""
CROWD = 8
"""So many answers at a time leave at once: their client may go on while others are still being answered."""
HIGH_WATER_BYTES = 256 * 1024
"""Unsent answers from which on nothing more is read from a client."""

_HTTP_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC")
_HTTP_2 = b"PRI "
"""No method: how HTTP/2 begins, and nothing else may (RFC 9113, section 3.4)."""

_GREETINGS = frozenset((Hello, LogIn))
"""What opens a connection, and comes nowhere else."""

_encode = encoder.encode
_decode = request_decoder.decode


class ClientConnection(asyncio.Protocol):
    """One client. The engine holds it as the handle to answer to."""

    __slots__ = (
        "_began",
        "_from",
        "_held",
        "_in_flight",
        "_logging_in",
        "_opening",
        "_other",
        "_out",
        "_paused_by_client",
        "_port",
        "_reading",
        "_splitter",
        "_timer",
        "_transport",
        "_waits",
        "_welcomed",
        "certified",
        "identity",
    )

    def __init__(self, port: ClientPort) -> None:
        self._port = port
        self._opening: bytes | None = b""
        self._other: asyncio.Protocol | None = None
        """Whoever this connection was handed to, for it speaks something else."""
        self._splitter = FrameSplitter(MAX_FRAME_BYTES)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._from = "?"
        self.certified: Certified | None = None
        """Who the client is by its verified certificate; None in plain text, or if it showed none."""
        self.identity: object = None
        """Who the client is by what it said, as whoever made sure of it calls that; None: it named nobody."""
        self._welcomed = False
        self._began = False
        """It has asked something: too late to say who it is."""
        self._logging_in = False
        self._in_flight = 0
        self._held: deque[bytes] = deque()
        """Frames above the in-flight limit, or while it is found out who the client is; at most one read's."""
        self._out: list[bytes] = []
        self._waits = False
        """For the port's next flush."""
        self._paused_by_client = False
        self._reading = True

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._from = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?"
        if not self._port.enter(self):
            self._port.lines.warning("client-port-full", limit=self._port.limits.max_connections, source=self._from)
            transport.abort()
            return
        tune_socket(transport)
        self.certified = certified(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self._timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._cut_off, "client-hello-timeout")

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None:
            self._other.connection_lost(error)
        self._stop_timer()
        self._transport = None
        self._out.clear()
        self._held.clear()
        self._port.leave(self)
        self._welcomed = False

    def data_received(self, data: bytes) -> None:
        try:
            if self._welcomed:
                self._requests(self._splitter.feed(data))
            else:
                self._open(data)
        except (FrameError, msgspec.DecodeError, ValueError, RecursionError) as error:
            self._port.lines.warning("client-malformed", source=self._from, problem=error)
            self.abort()

    def eof_received(self) -> bool:
        return self._other is not None and bool(self._other.eof_received())

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.pause_writing()
            return
        self._paused_by_client = True
        self._may_read()
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._port.limits.stall_timeout_s, self._cut_off, "client-does-not-read")

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.resume_writing()
            return
        self._stop_timer()
        self._paused_by_client = False
        self._may_read()

    # What the node calls.

    def deliver(self, *answers: Response) -> None:
        """Queue answers to requests, one for each, for the next `flush`; a crowd of them leaves now."""
        self._in_flight -= len(answers)
        self._queue(answers)
        if len(answers) >= CROWD:
            self._write()

    def _queue(self, responses: Sequence[Response]) -> None:
        if self._transport is None:
            return
        if not self._waits:
            self._waits = True
            self._port.waiting.append(self)
        self._out += [pack_length(len(body)) + body for body in map(_encode, responses)]

    def deliver_encoded(self, frame: bytes) -> None:
        """Queue a frame that is not an answer to one request, for the next `flush`."""
        if self._transport is None or not self._welcomed:
            return
        if not self._waits:
            self._waits = True
            self._port.waiting.append(self)
        self._out.append(frame)

    def flush(self) -> None:
        """Hand what is queued to the socket in one write, and look whether more may be read."""
        self._waits = False
        transport = self._transport
        if transport is None:
            return
        self._write()
        if self._paused_by_client and transport.get_write_buffer_size() > self._port.limits.max_output_bytes:
            self._cut_off("client-output-full")
        elif self._held or not self._reading:
            self._may_read()

    def _write(self) -> None:
        if self._transport is not None and self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._transport.write(data)

    def logged_in(self, identity: object) -> None:
        """It has been found out who the client is, or why that is not known: what it asked meanwhile is taken up."""
        self.identity = identity
        self._logging_in = False
        asyncio.get_running_loop().call_soon(self._may_read)  # the engine may be in the middle of something

    def turn_away(self, *answers: Response) -> None:
        """Answer requests, one answer for each, and close."""
        self.deliver(*answers)
        self._write()  # this one alone: the engine may be in the middle of something, and a flush may take up requests
        self.close()

    def drain(self) -> None:
        """Ask the client, if its protocol can, to go elsewhere with what it has not sent yet."""
        if isinstance(self._other, Drainable):
            self._other.drain()

    def close(self) -> None:
        """Close once what is queued has been written."""
        if isinstance(self._other, Drainable):
            self._other.close()
        elif self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def __repr__(self) -> str:
        return f"ClientConnection({self._from})"

    # How it works inside.

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut_off(self, event: str) -> None:
        self._port.lines.warning(event, source=self._from)
        self.abort()

    def _open(self, data: bytes) -> None:
        if self._other is not None:
            self._other.data_received(data)
            return
        if self._opening is not None:
            data = self._opening + data
            if data[: len(CLIENT_MAGIC)] != CLIENT_MAGIC[: len(data)]:
                self._other_protocol(data)
                return
            if len(data) < len(CLIENT_MAGIC):
                self._opening = data
                return
            self._opening = None
            data = data[len(CLIENT_MAGIC) :]
        frames = self._splitter.feed(data)
        if not frames:
            if self._splitter.held_bytes > MAX_HELLO_BYTES:
                raise FrameError(f"a client's first frame has at most {MAX_HELLO_BYTES} bytes")
            return
        hello = _decode(frames[0])
        if not isinstance(hello, Hello):
            raise FrameError("the first frame of a client is a Hello")
        if hello.version != PROTOCOL_VERSION:
            text = f"this member speaks version {PROTOCOL_VERSION} of the client protocol, not {hello.version}"
            self._queue([Failure(0, FailureCode.INVALID, Happened.NO, text)])
            self._port.flush()
            self._port.lines.warning("client-refused", source=self._from, client=hello.name, reason=text)
            self.close()
            return
        self._stop_timer()
        self._welcomed = True
        self._queue(self._port.input.welcome())
        self._port.flush()
        self._requests(frames[1:])

    def _other_protocol(self, data: bytes) -> None:
        assert self._transport is not None
        if any(opening.startswith(data[:4]) for opening in (*_HTTP_METHODS, _HTTP_2)):
            if len(data) < 4:
                self._opening = data
                return
            self._stop_timer()
            if data[:4] == _HTTP_2:
                self._other = self._port.grpc(self._port, self._from, self.certified)
            else:
                self._other = self._port.http(self._from)
            self._other.connection_made(self._transport)
            self._other.data_received(data)
            return
        if data[:1] == b"\x16":
            raise FrameError("the stream opens as TLS does; this port speaks plain text")
        raise FrameError("the stream does not open as a Coterie client's does")

    def _requests(self, frames: list[bytes]) -> None:
        if self._held or self._logging_in:
            self._held.extend(frames)
            return
        room = self._port.limits.max_in_flight - self._in_flight
        if len(frames) >= room:
            self._held.extend(frames[room:])
            del frames[room:]
        requests = [_decode(frame) for frame in frames]
        if not _GREETINGS.isdisjoint(map(type, requests)):
            self._log_in(requests, frames)
            return
        self._in_flight += len(requests)
        if requests:
            self._began = True
            self._port.input.requests_from(self, requests)
        if self._in_flight >= self._port.limits.max_in_flight:
            self._may_read()

    def _log_in(self, requests: list[Request], frames: list[bytes]) -> None:
        """The client says who it is: what comes behind that waits until the member has made sure."""
        first = requests[0]
        if self._began or not isinstance(first, LogIn):
            raise FrameError("Hello, and LogIn right behind it, open a connection, and come nowhere else")
        if len(frames[0]) > MAX_HELLO_BYTES:
            raise FrameError(f"a client's LogIn has at most {MAX_HELLO_BYTES} bytes, not {len(frames[0])}")
        self._began = self._logging_in = True
        self._held.extend(frames[1:])
        self._may_read()
        self._port.input.log_in(self, first)

    def _may_read(self) -> None:
        """Read on, or stop reading, as the limits allow."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        full = self._logging_in or self._in_flight > self._port.limits.max_in_flight // 2
        if self._held and not full and not self._paused_by_client:
            frames = list(self._held)
            self._held.clear()
            self._take_up(frames)
            return
        free = not self._held and not self._logging_in
        may = not self._paused_by_client and free and self._in_flight < self._port.limits.max_in_flight
        if may and not self._reading:
            self._reading = True
            transport.resume_reading()
        elif not may and self._reading:
            self._reading = False
            transport.pause_reading()

    def _take_up(self, frames: list[bytes]) -> None:
        """Take up frames that had to wait."""
        try:
            self._requests(frames)
        except (FrameError, msgspec.DecodeError, ValueError, RecursionError) as error:
            self._port.lines.warning("client-malformed", source=self._from, problem=error)
            self.abort()
            return
        self._may_read()


class ClientPort:
    """Every client of this node."""

    def __init__(
        self,
        lines: Lines,
        limits: ClientLimits,
        input: ClientInput,
        http: Callable[[str], asyncio.Protocol],
        grpc: Callable[[ClientPort, str, Certified | None], asyncio.Protocol],
    ) -> None:
        """`http(source)` and `grpc(port, source, certified)` make what a connection that speaks HTTP/1.1, or HTTP/2, is
        handed to."""
        self.lines = lines
        self.http = http
        self.grpc = grpc
        self.limits = limits
        self.input = input
        self.waiting: list[Flushable] = []
        """Connections with something to write, each once."""
        self._connections: set[ClientConnection] = set()
        self._empty: asyncio.Future[None] | None = None

    def protocol(self) -> asyncio.Protocol:
        """A new connection's protocol, for `loop.create_server`."""
        return ClientConnection(self)

    @property
    def connections(self) -> int:
        """Connections at present."""
        return len(self._connections)

    def enter(self, connection: ClientConnection) -> bool:
        """A connection opened; False if there are too many."""
        if len(self._connections) >= self.limits.max_connections:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: ClientConnection) -> None:
        """A connection closed."""
        self._connections.discard(connection)
        if not self._connections and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def empty(self) -> None:
        """Wait until no client is connected."""
        while self._connections:
            if self._empty is None or self._empty.done():
                self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def publish(self, view: View) -> None:
        """Tell every client of the leader and the members."""
        body = _encode(view)
        frame = pack_length(len(body)) + body
        for connection in self._connections:
            connection.deliver_encoded(frame)

    def flush(self) -> None:
        """Write what was queued: one write a connection."""
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            for connection in waiting:
                connection.flush()

    def drain(self) -> None:
        """Ask every client that can be asked to go elsewhere."""
        for connection in list(self._connections):
            connection.drain()

    def close(self, *, at_once: bool) -> None:
        """Close every connection: at once, or when what is queued has been written."""
        for connection in list(self._connections):
            if at_once:
                connection.abort()
            else:
                connection.close()
