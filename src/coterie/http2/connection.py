"""One connection of a client's: bytes in, events out; answers in, bytes out. No I/O, no clock: whoever owns the socket
tells the time, in nanoseconds on any clock that only goes forward.

    connection = Connection(Limits(), now)
    for event in connection.receive(data, now):
        if isinstance(event, Called) and event.ended:
            connection.respond(event.stream, answer)
    socket.write(connection.take_output())

`wake` when `deadline` has come. When `closed`, write what `take_output` still has, and close the socket. When the
socket closes, call `lost`.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.http2.control import DRAIN_PING, Control
from coterie.http2.credit import Credit
from coterie.http2.errors import ConnectionFault, ErrorCode
from coterie.http2.events import Event
from coterie.http2.frames import PING, STREAM_MASK, frame, goaway
from coterie.http2.limits import Limits
from coterie.http2.patience import Patience
from coterie.http2.receiving import Receiver
from coterie.http2.sending import Sender
from coterie.http2.streams import Streams
from coterie.http2.vigil import Vigil


class Connection:
    """The server's end. What is said of a stream that is over is dropped in silence."""

    def __init__(self, limits: Limits, now: int) -> None:
        out: list[bytes] = []
        credit = Credit(limits, out)
        patience = Patience(limits, now)
        self._limits = limits
        self._credit = credit
        self._streams = Streams(credit, now)
        self._sender = Sender(limits, self._streams, patience, out)
        self._control = Control(limits, self._sender, self._streams, patience)
        self._receiver = Receiver(limits, self._control, self._sender, self._streams, credit, patience)
        self._vigil = Vigil(limits, self._streams, self._control, self._receiver, self._sender, patience, now)
        self._draining = False
        self.closed = False
        """Whether nothing more is taken: write what is left, and close the socket."""
        self.fault: ErrorCode | None = None
        """What the client did wrong, if that is why."""
        self.reason = ""
        """Why, for people."""

    # Input.

    def receive(self, data: bytes, now: int) -> list[Event]:
        """Bytes from the client, all of one read."""
        if self.closed:
            return []
        self._streams.now = now
        self._vigil.hear(now)
        try:
            self._receiver.feed(data, now)
        except ConnectionFault as fault:
            self._fail(fault)
        if self._draining:
            self._drain_on()
        return self._events()

    def wake(self, now: int) -> list[Event]:
        """The time has come; harmless at any time."""
        if self.closed:
            return self._events()
        self._streams.now = now
        try:
            self._vigil.look(now)
        except ConnectionFault as fault:
            self._fail(fault)
        if self._draining:
            self._drain_on()
        return self._events()

    def lost(self, reason: str = "the connection closed") -> list[Event]:
        """The socket is closed: every open stream is told."""
        self._close(reason)
        return self._events()

    @property
    def deadline(self) -> int | None:
        """When to call `wake`, nanoseconds; 0 means now. None if never."""
        if self._streams.events:
            return 0
        return None if self.closed else self._vigil.deadline()

    # Output.

    def take_output(self) -> bytes:
        """Everything that may be written now: up to about 1 MiB, the rest at the next call."""
        data = self._sender.take()
        if self._draining:
            self._drain_on()
            data += self._sender.take()
        return data

    def respond(self, stream: int, message: bytes) -> None:
        """The whole answer to a unary call: one message, and OK."""
        found = self._streams.live.get(stream)
        if found is not None:
            self._sender.respond(found, message)
            if self._sender.unsent:
                self._check_unsent()

    def send(self, stream: int, message: bytes) -> None:
        """One message of a streaming answer. More than the limits of what may wait: the stream, or the connection, is
        cut off."""
        found = self._streams.live.get(stream)
        if found is not None:
            self._sender.send(found, message)
            if self._sender.unsent:
                self._check_unsent()

    def finish(
        self, stream: int, status: int = 0, text: str = "", trailers: Sequence[tuple[str, str | bytes]] = ()
    ) -> None:
        """The status of a call, after its last message. `trailers`: names in small letters; values of names that end in
        `-bin` are any bytes."""
        found = self._streams.live.get(stream)
        if found is not None:
            self._sender.finish(found, status, text, trailers)

    def unsent(self, stream: int) -> int:
        """Bytes of the stream's messages that wait for the client to take them."""
        found = self._streams.live.get(stream)
        return 0 if found is None else found.unsent

    @property
    def streams(self) -> int:
        """Open at present."""
        return len(self._streams.live)

    def read(self, stream: int) -> None:
        """The application has read the oldest message of a stream that the client has not ended: the client may send as
        much again. Without this, it may send no more than a window of 64 KiB and the rest of one message."""
        found = self._streams.live.get(stream)
        if found is not None:
            self._credit.read(found)

    def drain(self, now: int) -> None:
        """Take no new calls; when the present ones are answered, close (RFC 9113, section 6.8)."""
        if self.closed or self._draining:
            return
        self._draining = True
        out = self._sender.out
        out.append(goaway(STREAM_MASK, ErrorCode.NO_ERROR, "the server shuts down"))
        # What the client sent before it saw this is still served: its answer to the ping says that it has.
        out.append(frame(PING, 0, 0, DRAIN_PING))

    def end(self, status: int, text: str) -> None:
        """Take no new calls, end the present ones with this status, and close."""
        if self.closed:
            return
        for stream in list(self._streams.live.values()):
            self._sender.break_off(stream, status, text)
            self._streams.cancelled(stream, text)
        self._sender.out.append(goaway(self._streams.last, ErrorCode.NO_ERROR, text))
        self._close(text)

    # How it works inside.

    def _events(self) -> list[Event]:
        events = self._streams.events
        if events:
            self._streams.events = []
        return events

    def _drain_on(self) -> None:
        if self.closed:
            return
        if self._control.drain_heard and self._receiver.closing_after is None:
            self._receiver.closing_after = self._streams.last
            self._sender.out.append(goaway(self._streams.last, ErrorCode.NO_ERROR, "the server shuts down"))
        if self._receiver.closing_after is not None and not self._streams.live:
            self._close("drained")

    def _check_unsent(self) -> None:
        waiting = self._sender.unsent + self._sender.ready_bytes
        if waiting > self._limits.max_unsent_bytes and not self.closed:
            text = f"more than {self._limits.max_unsent_bytes} bytes wait for the client"
            self._fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text))

    def _fail(self, fault: ConnectionFault) -> None:
        self._sender.out.append(goaway(self._streams.last, fault.code, str(fault)))
        self.fault = fault.code
        self._close(str(fault))

    def _close(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self.reason = reason
        for stream in list(self._streams.live.values()):
            self._sender.drop(stream)
            self._streams.cancel(stream, reason)
