"""Listening: plain sockets are the event loop's own servers; where TLS is on, each connection has its handshake first,
bounded in time and in number, and whoever fails in it is told of in one line."""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from collections.abc import Callable
from typing import Protocol

from coterie.runtime.addresses import LISTEN_BACKLOG, join_address
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.explaining import refusal
from coterie.runtime.tls.reloading import TlsSide

HANDSHAKE_TIMEOUT_S = 5.0
"""From accepting a connection to the end of its TLS handshake."""
SHUTDOWN_TIMEOUT_S = 0.5
"""How long a closing side waits for the other's farewell, which a client that is not reading does not say."""
MAX_PENDING_HANDSHAKES = 256
"""Connections of one port in their handshake. One more ends the oldest: an honest one takes milliseconds, so it is the
silent ones that are ended, and they do not keep anybody out."""
TELL_AGAIN_S = 60.0
"""The same refusal of the same host is told once in this time: a member that is refused dials again and again."""
MAX_TOLD = 256
"""Refusals that are remembered as told."""
EXHAUSTED_REST_S = 1.0
"""Before the next accept when the process has no file descriptor left."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server(Protocol):
    """Takes connections until it is closed."""

    def close(self) -> None:
        """Take no more."""
        ...


async def serve(
    listener: socket.socket, protocol: Callable[[], asyncio.Protocol], lines: Lines, side: TlsSide | None
) -> Server:
    """Serve a listening socket; `side` None: in plain text, at no cost for TLS."""
    if side is None:
        # It listens anew, by default with a short queue.
        return await asyncio.get_running_loop().create_server(protocol, sock=listener, backlog=LISTEN_BACKLOG)
    return TlsServer(listener, protocol, lines, side)


class TlsServer:
    """A listening socket whose connections speak TLS. A connection's protocol is made after its handshake."""

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        lines: Lines,
        side: TlsSide,
        *,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        max_pending: int = MAX_PENDING_HANDSHAKES,
    ) -> None:
        self._listener = listener
        self._protocol = protocol
        self._lines = lines
        self._side = side
        self._timeout_s = handshake_timeout_s
        self._max_pending = max_pending
        self._loop = asyncio.get_running_loop()
        self._pending: dict[asyncio.Task[None], None] = {}
        """Handshakes under way, the oldest first."""
        self._told: dict[tuple[str, str], float] = {}
        self._accepting = self._loop.create_task(self._accept())
        self._accepting.add_done_callback(lambda _: listener.close())

    @property
    def pending(self) -> int:
        """Handshakes under way."""
        return len(self._pending)

    def close(self) -> None:
        """Take no more connections; those in their handshake are ended, others are left alone."""
        self._accepting.cancel()
        for task in list(self._pending):
            task.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                connection, where = await self._loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno == errno.EBADF:
                    return
                # A connection that was reset before it was accepted says nothing of the next one.
                if error.errno in _EXHAUSTED:
                    self._lines.error("cannot-accept", problem=error.strerror)
                    await asyncio.sleep(EXHAUSTED_REST_S)
                continue
            if len(self._pending) >= self._max_pending:
                oldest = next(iter(self._pending))
                del self._pending[oldest]
                oldest.cancel()
                self._lines.warning("tls-handshakes-full", limit=self._max_pending, text="the oldest one is ended")
            task = self._loop.create_task(self._shake(connection, where))
            self._pending[task] = None
            task.add_done_callback(functools.partial(self._done, connection))

    async def _shake(self, connection: socket.socket, where: tuple[str, int]) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._side.server,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
            )
        except OSError as error:  # ssl.SSLError is one
            connection.close()
            self._tell(where, refusal(error))

    def _done(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._pending.pop(task, None)
        if task.cancelled():
            connection.close()  # It may have been ended before its first step.
        elif (problem := task.exception()) is not None:
            connection.close()
            self._lines.error("tls-handshake-failed", problem=repr(problem))

    def _tell(self, where: tuple[str, int], reason: str) -> None:
        now = self._loop.time()
        key = (where[0], reason)
        last = self._told.pop(key, None)
        if last is None or now - last >= TELL_AGAIN_S:
            last = now
            self._lines.warning("tls-refused", source=join_address(where[0], where[1]), reason=reason)
        self._told[key] = last
        if len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
