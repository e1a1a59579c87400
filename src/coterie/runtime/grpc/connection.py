"""One connection of gRPC's: the socket, the clock and the timer of a `coterie.http2.Connection`."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol, cast

from coterie.http2 import Connection, ErrorCode, Event, Limits, Status
from coterie.runtime.clients import ClientLimits, Drainable, Flushable
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.names import Certified

STOPPING: Final = "etcdserver: server stopped"
"""etcd's words to calls that are under way when it stops: clients match on them."""
_SECOND: Final = 1_000_000_000
_now = time.monotonic_ns


class GrpcSite(Protocol):
    """Where calls go."""

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        """What a connection says, in order, all of one read; at the end each open call is told `Cancelled`."""
        ...


class GrpcPort(Protocol):
    """The port that a connection came in by."""

    lines: Lines
    limits: ClientLimits
    waiting: list[Flushable]

    def flush(self) -> None:
        """Write what was queued: one write a connection."""
        ...


class GrpcConnection(Drainable):
    """A connection that spoke HTTP/2 from its first byte on. Services hold it as the handle to answer to."""

    __slots__ = (
        "_loop",
        "_paused",
        "_port",
        "_site",
        "_stalled",
        "_timer",
        "_timer_at",
        "_transport",
        "_waiting",
        "certified",
        "http",
        "source",
    )

    def __init__(
        self, port: GrpcPort, site: GrpcSite, limits: Limits, source: str, certified: Certified | None
    ) -> None:
        self._port = port
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        """Nanoseconds: when it runs out."""
        self._paused = False
        """The client does not read what is in the socket."""
        self._stalled: asyncio.TimerHandle | None = None
        self._waiting = False
        """Whether it stands in the port's list of those to flush."""
        self.http = Connection(limits, _now())
        """What to answer with; `touch` afterwards."""
        self.certified = certified
        """Who the client is by its verified certificate; None in plain text, or if it showed none."""
        self.source = source
        """`host:port` of the client."""

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.flush()
        self._arm()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self._tell(self.http.lost())

    def data_received(self, data: bytes) -> None:
        self._tell(self.http.receive(data, _now()))
        if not self._waiting:
            self.flush()
        self._arm()

    def eof_received(self) -> bool:
        """A client that sends nothing more cannot even say that it reads."""
        return False

    def pause_writing(self) -> None:
        """The client reads slowly: nothing more is read from it, and it has so long for what was written."""
        self._paused = True
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self._stalled is None:
            self._stalled = self._loop.call_later(self._port.limits.stall_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        self._paused = False
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.resume_reading()
        self.flush()
        self._arm()

    # What services and the port call.

    def touch(self) -> None:
        """Something was said by `http`: have it written at the end of this turn of the loop, with all else."""
        if self._waiting or self._transport is None:
            return
        self._waiting = True
        waiting = self._port.waiting
        if not waiting:
            self._loop.call_soon(self._port.flush)
        waiting.append(self)

    def flush(self) -> None:
        """Hand to the socket what may leave."""
        self._waiting = False
        transport = self._transport
        if transport is None:
            return
        http = self.http
        while not self._paused and (data := http.take_output()):
            transport.write(data)
        if http.closed and not transport.is_closing():
            self._say_why()
            transport.close()

    def drain(self) -> None:
        """Take no new calls; close when the present ones are answered."""
        self.http.drain(_now())
        self.touch()

    def close(self) -> None:
        """End the calls under way, and close."""
        self.http.end(Status.UNAVAILABLE, STOPPING)
        self._tell(self.http.wake(_now()))
        self.flush()

    def __repr__(self) -> str:
        return f"GrpcConnection({self.source})"

    # How it works inside.

    def _tell(self, events: list[Event]) -> None:
        if events:
            self._site.events(self, events)

    def _cut_off(self) -> None:
        self._port.lines.warning("client-does-not-read", source=self.source)
        if self._transport is not None:
            self._transport.abort()

    def _say_why(self) -> None:
        fault = self.http.fault
        if fault is not None and fault is not ErrorCode.NO_ERROR:
            code = fault.name.lower().replace("_", "-")
            self._port.lines.warning("client-malformed", source=self.source, problem=self.http.reason, code=code)

    def _arm(self) -> None:
        """One timer, for the earliest deadline: one that runs out too early is set anew then, as deadlines mostly move
        away."""
        deadline = self.http.deadline
        if deadline is None or self._transport is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0, deadline - _now()) / _SECOND, self._wake)

    def _wake(self) -> None:
        self._timer = None
        deadline = self.http.deadline
        now = _now()
        if deadline is not None and deadline <= now:
            self._tell(self.http.wake(now))
            if not self._waiting:
                self.flush()
        self._arm()
