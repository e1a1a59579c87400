"""The synchronous client: the core, driven by whichever thread waits for an answer.

There is no thread of its own, so that one call costs no hop between threads. Threads may share a
client: one of those that wait watches the sockets for all (it does not hold the lock meanwhile), the
others wait to be told; each sends its own requests. So their requests are in flight together.
"""

from __future__ import annotations

import contextlib
import functools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from coterie.client import admin_calls, calls
from coterie.client.calls import Call
from coterie.client.config import ClientConfig
from coterie.client.core import ClientCore
from coterie.client.dispatch import NANOS_PER_SECOND, make_core, start
from coterie.client.endpoints import Endpoint
from coterie.client.errors import RequestError
from coterie.client.link import Link
from coterie.client.requests import NEVER, OnDone, Outcome
from coterie.client.tls import ClientTls, TlsConfig
from coterie.client.tls_link import TlsLink
from coterie.core.types import Nanos

P = ParamSpec("P")
T = TypeVar("T")

_now = time.monotonic_ns
LOOK_AGAIN_AFTER: Nanos = 10_000_000
"""A client that was idle for this long (10 ms) first looks whether its connections still stand."""


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """A method of the client for one operation of `calls`."""

    @functools.wraps(build)
    def method(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client.run(build(*args, **kwargs))

    return method


class Client:
    """A client of one cluster; may be shared by threads. Close it with `close()`, or use `with`."""

    def __init__(self, core: ClientCore, tls: ClientTls | None = None) -> None:
        self._core = core
        self._tls = tls
        self._lock = threading.Lock()
        """Guards all below; not held while waiting for sockets."""
        self._told = threading.Condition(self._lock)
        """An outcome has come, or the one who watched the sockets stopped watching."""
        self._watching = False
        """A thread waits for the sockets, or handles what came."""
        self._watched_until: Nanos = NEVER
        self._waiters = 0
        """Threads that wait on `_told`."""
        self._links: dict[int, Link] = {}
        self._selector = selectors.DefaultSelector()
        self._poke_read, self._poke_write = socket.socketpair()
        self._poke_read.setblocking(False)
        self._poke_write.setblocking(False)
        self._selector.register(self._poke_read, selectors.EVENT_READ, None)
        self._deadline: Nanos = NEVER
        self._looked_at: Nanos = 0

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

    def run(self, call: Call[T]) -> T:
        """Make a call and wait for its outcome."""
        outcomes: list[Outcome] = []
        with self._lock:
            self._look()
            request = start(self._core, _now(), call, outcomes.append)
            try:
                self._flush()
                while not outcomes:
                    self._wait()
            except BaseException:
                # Ctrl-C, mostly: nobody waits any more. The request may have taken effect.
                self._core.cancel(request)
                raise
        outcome = outcomes[0]
        if isinstance(outcome, RequestError):
            raise outcome
        return call.decode(outcome)

    def pipeline(self, batch: Iterable[Call[Any]]) -> list[Any]:
        """Make many calls, all in flight together (each its own command); returns a list with, for each
        call in order, its value or its `RequestError`."""
        described = list(batch)
        outcomes: list[Outcome | None] = [None] * len(described)
        left = len(described)

        def done(position: int) -> OnDone:
            def settle(outcome: Outcome) -> None:
                nonlocal left
                outcomes[position] = outcome
                left -= 1

            return settle

        with self._lock:
            self._look()
            for position, call in enumerate(described):
                on_done = done(position)
                try:
                    start(self._core, _now(), call, on_done)
                except RequestError as error:
                    on_done(error)
            self._flush()
            while left:
                self._wait()
        return [
            outcome if outcome is None or isinstance(outcome, RequestError) else call.decode(outcome)
            for call, outcome in zip(described, outcomes, strict=True)
        ]

    def close(self) -> None:
        """End the session and close the connections. Calls of other threads fail with `ClientClosed`."""
        with self._lock:
            if self._poke_read.fileno() < 0:
                return
            self._core.close(_now())
            self._flush()
            while self._watching:
                self._poke()
                self._waiters += 1
                self._told.wait()
                self._waiters -= 1
            if self._poke_read.fileno() >= 0:
                self._selector.close()
                self._poke_read.close()
                self._poke_write.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # All below is called with the lock held

    def _look(self) -> None:
        """Nobody watched the sockets while the client was idle. A command that is sent on a connection
        that closed long ago would have an unknown outcome for no good reason."""
        if self._watching or self._core.under_way or _now() - self._looked_at < LOOK_AGAIN_AFTER:
            return
        for key, mask in self._selector.select(0):
            self._event(key.data, mask)
        self._flush()

    def _wait(self) -> None:
        """Let the world go on until something has happened; the caller then looks for its outcome."""
        if self._watching:
            if self._deadline != NEVER and (self._watched_until == NEVER or self._deadline < self._watched_until):
                self._poke()
            self._waiters += 1
            try:
                self._told.wait()
            finally:
                self._waiters -= 1
            return
        self._watching = True
        try:
            self._watched_until = self._deadline
            timeout = None
            if self._deadline != NEVER:
                timeout = max(0, self._deadline - _now()) / NANOS_PER_SECOND
            self._lock.release()
            try:
                events = self._selector.select(timeout)
            finally:
                self._lock.acquire()
            for key, mask in events:
                self._event(key.data, mask)
            self._looked_at = now = _now()
            if self._deadline != NEVER and self._deadline <= now:
                self._core.wake(now)
            self._flush()
        finally:
            self._watching = False
            if self._waiters:
                self._told.notify_all()

    def _event(self, link: Link | None, mask: int) -> None:
        if link is None:
            with contextlib.suppress(BlockingIOError):
                self._poke_read.recv(4096)
            return
        if link.connection not in self._links:
            return  # Closed by another event of the same turn.
        if link.dialling:
            self._dialled(link)
            return
        if mask & selectors.EVENT_READ:
            data, problem = link.receive()
            if data:
                self._core.received(_now(), link.connection, data)
            elif problem:
                self._gone(link, problem)
                return
        if mask & selectors.EVENT_WRITE:
            self._push(link, b"")

    def _flush(self) -> None:
        while True:
            drained = self._core.drain(_now())
            self._deadline = drained.deadline
            again = False
            for connection, endpoint in drained.connect:
                link = Link(connection, endpoint) if self._tls is None else TlsLink(connection, endpoint, self._tls)
                self._links[connection] = link
                self._dialled(link)
                again = True
            for connection, data in drained.send:
                link_ = self._links.get(connection)
                if link_ is not None:
                    again |= not self._push(link_, data)
            for connection in drained.close:
                closing = self._links.pop(connection, None)
                if closing is not None:
                    closing.close(self._selector)
            for on_done, outcome in drained.completions:
                on_done(outcome)
            if not again:
                return

    def _dialled(self, link: Link) -> None:
        """Begin to dial, or go on: an address may have refused, and the name may have another."""
        problem = link.dial(self._selector)
        if problem is None:
            return
        if problem:
            self._gone(link, problem)
        else:
            self._core.opened(_now(), link.connection)

    def _push(self, link: Link, data: bytes) -> bool:
        problem = link.send(data, self._selector)
        if problem:
            self._gone(link, problem)
        return not problem

    def _gone(self, link: Link, reason: str) -> None:
        if self._links.pop(link.connection, None) is not None:
            link.close(self._selector)
            self._core.closed(_now(), link.connection, reason, link.ungreeted)

    def _poke(self) -> None:
        """Make the watching thread look again."""
        with contextlib.suppress(BlockingIOError):
            self._poke_write.send(b"\0")


def connect(
    endpoints: str | Iterable[str | Endpoint], config: ClientConfig | None = None, *, tls: TlsConfig | None = None
) -> Client:
    """A synchronous client of the cluster: `connect("127.0.0.1:2379,127.0.0.1:2380")`.

    With `tls` it speaks TLS alone, else plain text. It dials when it is first used. Raises `ConfigurationError` for a
    malformed endpoint, and for certificates that cannot be used.
    """
    return Client(make_core(endpoints, config), ClientTls(tls) if tls is not None else None)
