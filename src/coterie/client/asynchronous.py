"""The asyncio client: the core, driven by an event loop's sockets and timers."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from coterie.client import admin_calls, calls
from coterie.client.calls import Call
from coterie.client.config import ClientConfig
from coterie.client.core import ClientCore
from coterie.client.dispatch import NANOS_PER_SECOND, make_core, start
from coterie.client.endpoints import Endpoint
from coterie.client.errors import RequestError
from coterie.client.requests import NEVER, OnDone, Outcome
from coterie.client.tls import ClientTls, TlsConfig
from coterie.core.types import Nanos
from coterie.runtime.tls.explaining import alerted, dialled, hung_up

P = ParamSpec("P")
T = TypeVar("T")

_now = time.monotonic_ns
FAREWELL_S = 0.5
"""How long `close` waits for connections in TLS."""


class _Link(asyncio.Protocol):
    """One connection: passes what happens on to the client."""

    __slots__ = ("_client", "_connection")

    def __init__(self, client: AsyncClient, connection: int) -> None:
        self._client = client
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._client._opened(self._connection, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._client._received(self._connection, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client._closed(self._connection, exc)


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """A method of the client for one operation of `calls`."""

    @functools.wraps(build)
    async def method(client: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client.run(build(*args, **kwargs))

    return method


class AsyncClient:
    """A client of one cluster, for one event loop. Close it with `await close()`, or use `async with`."""

    def __init__(self, core: ClientCore, tls: ClientTls | None = None) -> None:
        self._core = core
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._transports: dict[int, asyncio.Transport] = {}
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._leaving: dict[int, asyncio.Transport] = {}
        """Connections in TLS that say farewell before they close."""
        self._left = asyncio.Event()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Nanos = NEVER

    put = _method(calls.put)
    get = _method(calls.get)
    read = _method(calls.read)
    range = _method(calls.scan)
    delete = _method(calls.delete)
    cas = _method(calls.cas)
    txn = _method(calls.txn)
    compact = _method(calls.compact)
    submit = _method(calls.submit)
    query = _method(calls.query)
    status = _method(calls.status)

    members = _method(admin_calls.members)
    add_member = _method(admin_calls.add_member)
    promote = _method(admin_calls.promote)
    remove = _method(admin_calls.remove)
    replace = _method(admin_calls.replace)
    transfer = _method(admin_calls.transfer)
    settings = _method(admin_calls.settings)
    set_setting = _method(admin_calls.set_setting)
    quorum_sizes = _method(admin_calls.quorum_sizes)
    set_quorum_sizes = _method(admin_calls.set_quorum_sizes)

    @property
    def endpoints(self) -> str:
        """Every member's client address that is known, with commas between."""
        return self._core.book.listed()

    @property
    def revision(self) -> int:
        """The newest revision that this client has seen or written: what session reads ask for."""
        return self._core.revision

    async def run(self, call: Call[T]) -> T:
        """Make a call and wait for its outcome. A cancelled call may have taken effect."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        request = self.start(call, functools.partial(_settle, future))
        try:
            outcome = await future
        except asyncio.CancelledError:
            self._core.cancel(request)
            self._schedule()
            raise
        if isinstance(outcome, RequestError):
            raise outcome
        return call.decode(outcome)

    def start(self, call: Call[Any], on_done: OnDone) -> int:
        """Begin a call; `on_done` gets its outcome, later, in the event loop. For many calls at once:
        it costs no future and no task. What begins in one turn of the loop leaves in one write."""
        request = start(self._core, _now(), call, on_done)
        self._schedule()
        return request

    def start_command(self, command: bytes, on_done: OnDone, timeout: Nanos, exactly_once: bool = True) -> None:
        """The leanest way: an encoded command, time in nanoseconds."""
        self._core.submit(_now(), command, on_done, timeout=timeout, exactly_once=exactly_once)
        if not self._scheduled:
            self._schedule()

    def start_query(self, question: bytes, on_done: OnDone, timeout: Nanos) -> None:
        """The leanest way: an encoded question, linearizable; time in nanoseconds."""
        self._core.query(_now(), question, on_done, timeout=timeout)
        if not self._scheduled:
            self._schedule()

    async def close(self) -> None:
        """End the session and close the connections. Calls under way fail with `ClientClosed`."""
        self._core.close(_now())
        self._flush()
        dials = tuple(self._dials.values())
        for task in dials:
            task.cancel()
        self._dials.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tls is not None:
            await asyncio.gather(*dials, return_exceptions=True)
            await self._farewell()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _farewell(self) -> None:
        """TLS says farewell before a connection closes; a member that does not answer it is not waited for long."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                while self._leaving:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            for transport in self._leaving.values():
                transport.abort()
            self._leaving.clear()

    # What the connections report

    def _opened(self, connection: int, transport: asyncio.Transport) -> None:
        self._transports[connection] = transport
        self._core.opened(_now(), connection)
        self._schedule()

    def _received(self, connection: int, data: bytes) -> None:
        self._core.received(_now(), connection, data)
        if not self._scheduled:
            # At once, not at the turn's end: who waits for the answer goes on a wake-up of the loop sooner.
            self._flush()

    def _closed(self, connection: int, problem: Exception | None) -> None:
        if self._transports.pop(connection, None) is None:
            if self._leaving.pop(connection, None) is not None:
                self._left.set()
            return
        tls = self._tls
        reason = str(problem) if problem else "the member closed it"
        if isinstance(problem, ssl.SSLError):
            reason = dialled(problem)
        ungreeted = hung_up(tls=tls is not None, shown=tls is not None and tls.shown)
        self._core.closed(_now(), connection, reason, "" if alerted(problem) else ungreeted)
        self._schedule()

    # Doing what the core says

    def _schedule(self) -> None:
        """Flush once, at the end of this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        while True:
            # What callbacks begin below is sent by the next round of this very loop.
            self._scheduled = True
            drained = self._core.drain(_now())
            for connection, endpoint in drained.connect:
                self._dials[connection] = self._loop.create_task(self._dial(connection, endpoint))
            for connection, data in drained.send:
                transport = self._transports.get(connection)
                if transport is not None:
                    transport.write(data)
            for connection in drained.close:
                self._drop(connection)
            if not drained.completions:
                break
            for on_done, outcome in drained.completions:
                on_done(outcome)
        self._scheduled = False
        if drained.deadline != NEVER and (self._timer is None or drained.deadline < self._timer_at):
            self._arm(drained.deadline)

    def _arm(self, deadline: Nanos) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0, deadline - _now()) / NANOS_PER_SECOND, self._wake)

    def _wake(self) -> None:
        """The timer is not moved when the deadline moves out: the core then just says when next."""
        self._timer = None
        self._core.wake(_now())
        self._flush()

    async def _dial(self, connection: int, endpoint: Endpoint) -> None:
        tls = self._tls
        try:
            await self._loop.create_connection(
                lambda: _Link(self, connection),
                endpoint.host,
                endpoint.port,
                ssl=tls.context() if tls is not None else None,
                server_hostname=tls.host(endpoint.host) if tls is not None else None,
            )
        except (OSError, ValueError) as problem:
            # asyncio's own text repeats the address, and no more.
            number = problem.errno if isinstance(problem, OSError) else None
            reason = os.strerror(number) if number is not None and number in errno.errorcode else str(problem)
            if tls is not None and isinstance(problem, ssl.SSLError | ConnectionResetError | ConnectionAbortedError):
                reason = dialled(problem)
            self._core.closed(_now(), connection, reason)
            self._schedule()
        finally:
            self._dials.pop(connection, None)

    def _drop(self, connection: int) -> None:
        task = self._dials.pop(connection, None)
        if task is not None:
            task.cancel()
        transport = self._transports.pop(connection, None)
        if transport is not None:
            if self._tls is not None:
                self._leaving[connection] = transport
            transport.close()


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


class _Connecting(Awaitable[AsyncClient]):
    """`await connect_async(...)` or `async with connect_async(...)`."""

    def __init__(self, core: ClientCore, tls: ClientTls | None) -> None:
        self._core = core
        self._tls = tls
        self._client: AsyncClient | None = None

    def __await__(self) -> Generator[Any, None, AsyncClient]:
        return self._make().__await__()

    async def _make(self) -> AsyncClient:
        return AsyncClient(self._core, self._tls)

    async def __aenter__(self) -> AsyncClient:
        self._client = AsyncClient(self._core, self._tls)
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.close()


def connect_async(
    endpoints: str | Iterable[str | Endpoint], config: ClientConfig | None = None, *, tls: TlsConfig | None = None
) -> _Connecting:
    """A client for this event loop; await it, or use it with `async with`.

    ::

        async with connect_async("127.0.0.1:2379") as client:
            await client.put("greeting", "hello")

    With `tls` it speaks TLS alone, else plain text. It dials when it is first used. Raises `ConfigurationError` for a
    malformed endpoint, and for certificates that cannot be used.
    """
    return _Connecting(make_core(endpoints, config), ClientTls(tls) if tls is not None else None)
