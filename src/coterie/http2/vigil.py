"""What must not take for ever: the settings' acknowledgement, half a frame, half a message, a reader that does not
read, a client that is silent because it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coterie.http2.answers import Status
from coterie.http2.control import KEEPALIVE_PING, Control
from coterie.http2.errors import ConnectionFault, ErrorCode
from coterie.http2.frames import PING, frame
from coterie.http2.limits import SECOND, Limits
from coterie.http2.patience import RESET_COST, Patience
from coterie.http2.receiving import Receiver
from coterie.http2.sending import Sender
from coterie.http2.stream import Stream
from coterie.http2.streams import Streams

ROUND: Final = SECOND
"""Nanoseconds between two looks at what waits: so much later than its limit a stream may be cut off."""


class Vigil:
    """Looks after one connection's time."""

    def __init__(
        self,
        limits: Limits,
        streams: Streams,
        control: Control,
        receiver: Receiver,
        sender: Sender,
        patience: Patience,
        now: int,
    ) -> None:
        self._limits = limits
        self._patience = patience
        self._streams = streams
        self._control = control
        self._receiver = receiver
        self._sender = sender
        self._began = now
        self._looked = now
        self._heard = now
        """Nanoseconds: when bytes came last."""
        self._asked: int | None = None
        """Nanoseconds: when the client was asked whether it is there; None if it has said something since."""

    def hear(self, now: int) -> None:
        """Bytes came."""
        self._heard = now
        self._asked = None

    def deadline(self) -> int:
        """When to look next."""
        limits = self._limits
        due = self._heard + limits.keepalive_interval
        if self._asked is not None:
            due = self._asked + limits.keepalive_timeout
        if not self._control.acknowledged:
            due = min(due, self._began + limits.settings_timeout)
        if self._receiver.half_since is not None:
            due = min(due, self._receiver.half_since + limits.stall_timeout)
        if self._streams.slow or self._sender.unsent:
            due = min(due, self._looked + ROUND)
        first = self._streams.timeouts.first()
        return due if first is None else min(due, first)

    def look(self, now: int) -> None:
        """Do what is due. Raises `ConnectionFault`."""
        limits = self._limits
        if not self._control.acknowledged and now >= self._began + limits.settings_timeout:
            text = f"no settings, or no acknowledgement of ours, in {limits.settings_timeout // 1_000_000} ms"
            raise ConnectionFault(ErrorCode.SETTINGS_TIMEOUT, text)
        half = self._receiver.half_since
        if half is not None and now >= half + limits.stall_timeout:
            text = f"half a frame, and no more in {limits.stall_timeout // 1_000_000} ms"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)
        self._keep_alive(now)
        self._end_of_time(now)
        if now >= self._looked + ROUND:
            self._looked = now
            self._cut_off(now - limits.stall_timeout)

    def _keep_alive(self, now: int) -> None:
        limits = self._limits
        if self._asked is not None:
            if now >= self._asked + limits.keepalive_timeout:
                raise ConnectionFault(ErrorCode.NO_ERROR, "the client does not answer")
        elif now >= self._heard + limits.keepalive_interval:
            self._asked = now
            self._sender.out.append(frame(PING, 0, 0, KEEPALIVE_PING))

    def _end_of_time(self, now: int) -> None:
        """Deadlines of calls."""
        streams = self._streams
        while (number := streams.timeouts.due(now)) is not None:
            stream = streams.live[number]
            self._sender.break_off(stream, Status.DEADLINE_EXCEEDED, "context deadline exceeded")
            streams.cancelled(stream, "the call's deadline passed")
            if stream.hasty:
                self._patience.spend(RESET_COST, now, "calls without time for an answer")

    def _cut_off(self, before: int) -> None:
        """Whatever has not moved since then."""
        for stream in [stream for stream in self._streams.slow.values() if stream.progressed <= before]:
            text = "no message, or half a message, and no more for too long"
            self._sender.break_off(stream, Status.DEADLINE_EXCEEDED, text)
            self._streams.cancelled(stream, text)
        for stream in [stream for stream in self._waiting() if stream.progressed <= before]:
            self._sender.reset(stream, ErrorCode.ENHANCE_YOUR_CALM, "the client reads nothing")

    def _waiting(self) -> Iterator[Stream]:
        """Streams that wait for window: their own, or the connection's."""
        yield from self._sender.stuck.values()
        if self._sender.window <= 0:
            yield from self._sender.able.values()
