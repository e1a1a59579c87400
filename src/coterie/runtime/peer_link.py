"""One member's stream to another: dial, shake hands, send; when it breaks, dial again."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from coterie.core.types import MemberId
from coterie.runtime.addresses import AddressError, split_address
from coterie.runtime.frames import FrameError, FrameSplitter, pack_length
from coterie.runtime.handshake import (
    GROUP_BYTES,
    GROUP_PREFIX,
    MAX_HANDSHAKE_BYTES,
    MAX_PEER_FRAME_BYTES,
    PEER_MAGIC,
    HandshakeRefused,
    PeerIdentity,
    PeerRefused,
    PeerWelcome,
    RefusalCode,
    check_welcome,
    decode_handshake,
    frame_handshake,
)
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.dialling import ClosedLater, Dial, WrongMember

HIGH_WATER_BYTES = 1024 * 1024
"""Bytes in the socket's own buffer from which on messages wait in the link's queue."""
USER_TIMEOUT_MS = 10_000
"""A connection whose bytes nobody acknowledges for so long is given up (the host is gone)."""


CLOSED_HINT_S = 0.5
"""A refused connection so soon after a stream closed says that the peer's process is gone. (A dying process
may still accept one in between: its listening socket is closed last.)"""

LEAST_REST_S = 0.02
"""Between two attempts to reach a peer, however often it calls meanwhile."""

AFTER_RESET_S = 0.002
"""Between two dials while a peer that has just closed a stream accepts and resets others."""


_FAILURES = (
    OSError,
    TimeoutError,
    UnicodeError,
    AddressError,
    FrameError,
    HandshakeRefused,
    WrongMember,
    msgspec.DecodeError,
)
"""All that can go wrong between resolving an address and a welcome; each leads to another attempt."""


class LinkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and times of one link."""

    max_queue_messages: int = 8192
    max_queue_bytes: int = 32 * 1024 * 1024
    """Bytes of messages that wait for a slow peer; one more is dropped, which consensus allows for."""
    connect_timeout_s: float = 3.0
    handshake_timeout_s: float = 5.0
    first_delay_s: float = 0.05
    max_delay_s: float = 2.0
    """Between attempts: doubled from `first_delay_s` up to this, each drawn from the upper half."""


def _same(stream: _Stream) -> _Stream:
    return stream


class _Stream(asyncio.Protocol):
    """The socket's side of a link: one object a connection."""

    def __init__(self, link: PeerLink, loop: asyncio.AbstractEventLoop) -> None:
        self._link = link
        self._splitter = FrameSplitter(MAX_HANDSHAKE_BYTES)
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[PeerWelcome] = loop.create_future()
        self.answer.add_done_callback(_retrieve)
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        tune_socket(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        try:
            self._link.dial.check(transport, self._link.name)
        except WrongMember as error:
            self.answer.set_exception(error)
            transport.abort()
            return
        transport.write(PEER_MAGIC + frame_handshake(self._link.own.hello(self._link.target)))

    def data_received(self, data: bytes) -> None:
        try:
            if self.answer.done():
                raise FrameError("bytes came after the welcome, where nothing may come")
            frames = self._splitter.feed(data)
            if not frames:
                return
            answer = decode_handshake(frames[0])
            if isinstance(answer, PeerRefused):
                raise HandshakeRefused(_code(answer.code), answer.message)
            if not isinstance(answer, PeerWelcome) or len(frames) > 1 or self._splitter.held_bytes:
                raise FrameError("the answer to the handshake is not one")
            check_welcome(self._link.target, answer)
            assert self.transport is not None
            self._link.dial.check(self.transport, answer.name)
            self.answer.set_result(answer)
        except (FrameError, HandshakeRefused, WrongMember, msgspec.DecodeError) as error:
            if not self.answer.done():
                self.answer.set_exception(error)
            else:
                self._link.lines.warning("peer-answer", peer=self._link.name, problem=error)
            assert self.transport is not None
            self.transport.abort()

    def pause_writing(self) -> None:
        self._link.pause(self)

    def resume_writing(self) -> None:
        self._link.resume(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._link.lost(self)
        if not self.answer.done():
            self.answer.set_exception(error or ConnectionResetError("closed during the handshake"))
        if not self.closed.done():
            self.closed.set_result(None)


def _retrieve(answer: asyncio.Future[PeerWelcome]) -> None:
    """An answer that nobody waits for any more is no error."""
    if not answer.cancelled():
        answer.exception()


def _code(code: int) -> RefusalCode:
    try:
        return RefusalCode(code)
    except ValueError:
        return RefusalCode.CONFLICT


def tune_socket(transport: asyncio.Transport) -> None:
    """Small messages leave at once; a host that vanished is noticed."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


async def resolve(address: str) -> list[tuple[str, int]]:
    """Numeric (host, port)s of `host:port`, asked anew at each call. Raises `OSError`, `AddressError`."""
    host, port = split_address(address)
    try:
        ipaddress.ip_address(host)
        return [(host, port)]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(str(where[0]), int(where[1])) for _, _, _, _, where in found]


class PeerLink:
    """Messages to one other member. Losing them is allowed: they are dropped while there is no stream, and
    the newest when the queue of a slow peer is full. A slow peer slows nobody else."""

    def __init__(
        self,
        *,
        own: PeerIdentity,
        target: MemberId,
        name: str,
        address: str,
        limits: LinkLimits,
        lines: Lines,
        rng: random.Random,
        on_closed: Callable[[MemberId, bool], None],
        on_expelled: Callable[[str], None],
        on_copied: Callable[[str], None],
        dial: Dial | None = None,
    ) -> None:
        """`dial`: with TLS or, if None, without.
        `on_closed(target, refused)`: the stream closed; `refused`: and dialling at once was refused.
        `on_expelled(reason)`: the other says that this member was removed from the group.
        `on_copied(reason)`: the other has seen another history of this member: there are two copies of its disk."""
        self.own = own
        self.target = target
        self.name = name
        self.address = address
        self.lines = lines
        self.dial = dial or Dial()
        self.dropped = 0
        """Messages dropped because the queue was full."""
        self._limits = limits
        self._rng = rng
        self._on_closed = on_closed
        self._on_expelled = on_expelled
        self._on_copied = on_copied
        self._loop = asyncio.get_running_loop()
        self._stream: _Stream | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._last_problem = ""
        self._called = asyncio.Event()
        self._task = self._loop.create_task(self._keep_connected())

    @property
    def connected(self) -> bool:
        """The handshake is done and the stream is open."""
        return self._transport is not None

    @property
    def queued_bytes(self) -> int:
        """Bytes waiting for a slow peer."""
        return self._queue_bytes

    def called(self) -> None:
        """The peer has opened a stream to this member: it runs, so if there is none to it, it is dialled at once. (What
        breaks without: a member that was down for a while hears nothing for up to `max_delay_s` more.)"""
        self._called.set()

    async def _rest(self, seconds: float) -> bool:
        """Wait before the next attempt; whether the peer called meanwhile. That shortens no wait below `LEAST_REST_S`:
        two that close each other's streams at once must not call each other without end."""
        least = min(seconds, LEAST_REST_S)
        await asyncio.sleep(least)
        try:
            async with asyncio.timeout(seconds - least):
                await self._called.wait()
        except TimeoutError:
            return False
        return True

    def put(self, body: bytes) -> None:
        """Queue a message's bytes for the next `flush`, or drop them."""
        size = len(body) + GROUP_BYTES
        if self._transport is None:
            return
        if (
            self._queue_bytes + size > self._limits.max_queue_bytes
            or len(self._queue) >= 2 * self._limits.max_queue_messages
            or size > MAX_PEER_FRAME_BYTES
        ):
            if self.dropped % 1000 == 0 or size > MAX_PEER_FRAME_BYTES:
                self.lines.warning("peer-dropped", peer=self.name, bytes=size, queued=self._queue_bytes)
            self.dropped += 1
            return
        self._queue.append(pack_length(size) + GROUP_PREFIX)
        self._queue.append(body)
        self._queue_bytes += size

    def flush(self) -> None:
        """Hand what is queued to the socket in one write, unless the peer is slow."""
        if self._queue and not self._paused and self._transport is not None:
            data = b"".join(self._queue)
            self._queue.clear()
            self._queue_bytes = 0
            self._transport.write(data)

    def close(self) -> None:
        """End the link; nothing is reported any more."""
        self._task.cancel()
        if self._stream is not None and self._stream.transport is not None:
            self._stream.transport.abort()
        self._drop_queue()
        self._transport = None

    def pause(self, stream: _Stream) -> None:
        """The socket's buffer is full."""
        if stream is self._stream:
            self._paused = True

    def resume(self, stream: _Stream) -> None:
        """The socket's buffer has drained."""
        if stream is self._stream:
            self._paused = False
            self.flush()

    def lost(self, stream: _Stream) -> None:
        """The stream closed."""
        if stream is self._stream:
            self._transport = None
            self._drop_queue()

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0
        self._paused = False

    async def _keep_connected(self) -> None:
        hint_until = 0.0
        delay = self._limits.first_delay_s
        while True:
            problem: Exception | None = None
            was_open = False
            self._called.clear()
            try:
                stream = await self._connect()
                was_open = True
                delay = self._limits.first_delay_s
                await stream.closed
            except _FAILURES as error:
                problem = error
            if was_open:
                self.lines.warning("peer-closed", peer=self.name, address=self.address)
                self._on_closed(self.target, False)
                hint_until = self._loop.time() + CLOSED_HINT_S
                continue
            if isinstance(problem, ConnectionRefusedError) and self._loop.time() < hint_until:
                self._on_closed(self.target, True)
                hint_until = 0.0
            elif isinstance(problem, ConnectionResetError) and self._loop.time() < hint_until:
                # A dying process accepted it and went: what it says next is what counts.
                await asyncio.sleep(AFTER_RESET_S)
                continue
            self._tell(problem)
            if isinstance(problem, HandshakeRefused) and problem.code == RefusalCode.REMOVED:
                self._on_expelled(str(problem))
            if isinstance(problem, HandshakeRefused) and problem.code == RefusalCode.OLD_BOOT:
                self._on_copied(str(problem))
            called = await self._rest(delay * self._rng.randint(500, 1000) / 1000)
            delay = self._limits.first_delay_s if called else min(delay * 2, self._limits.max_delay_s)

    def _tell(self, problem: Exception | None) -> None:
        text = self.dial.told(problem)
        if text == self._last_problem:
            return
        self._last_problem = text
        if isinstance(problem, HandshakeRefused) and problem.code != RefusalCode.NOT_STARTED:
            self.lines.error("peer-refused-us", peer=self.name, address=self.address, reason=text)
        elif isinstance(problem, WrongMember | ssl.SSLCertVerificationError):
            self.lines.error("peer-not-trusted", peer=self.name, address=self.address, reason=text)
        else:
            self.lines.info("peer-unreachable", peer=self.name, address=self.address, reason=text)

    async def _connect(self) -> _Stream:
        """Dial every address of the peer in turn; the stream, once welcomed. Raises the last problem."""
        problem: Exception = OSError(f"{self.address} has no address")
        for host, port in await resolve(self.address):
            stream = _Stream(self, self._loop)
            self._stream = stream
            self._paused = False
            try:
                async with asyncio.timeout(self._limits.connect_timeout_s):
                    await self._loop.create_connection(partial(_same, stream), host, port, ssl=self.dial.context)
                async with asyncio.timeout(self._limits.handshake_timeout_s):
                    await stream.answer
            except _FAILURES as error:
                problem = error
                if stream.transport is not None:
                    stream.transport.abort()
                continue
            if stream.closed.done():
                problem = ClosedLater("closed right after the handshake")
                continue
            self._transport = stream.transport
            self._last_problem = ""
            self.lines.info("peer-connected", peer=self.name, address=self.address)
            return stream
        raise problem
