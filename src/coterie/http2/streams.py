"""The streams of one connection: those that live, and what must be known of those that do not."""

from __future__ import annotations

from typing import Final

from coterie.http2.credit import Credit
from coterie.http2.errors import ConnectionFault, ErrorCode
from coterie.http2.events import Cancelled, Event
from coterie.http2.stream import Stream
from coterie.http2.timeouts import Timeouts

MAX_LEFT: Final = 1024
"""Streams that we ended before the client did, and whose late frames are known and ignored."""
MAX_GAPS: Final = 64
"""Runs of stream numbers that the client left out, and that are told from closed ones in an error."""


class Streams:
    """Streams by number, and what the application will be told."""

    def __init__(self, credit: Credit, now: int) -> None:
        self.now = now
        """Nanoseconds, as told last."""
        self.live: dict[int, Stream] = {}
        self.last = 0
        """The highest number that the client has used."""
        self.events: list[Event] = []
        self.timeouts = Timeouts()
        self.slow: dict[int, Stream] = {}
        """Those that owe us the first message, or the rest of one."""
        self._credit = credit
        self._left: dict[int, None] = {}
        self._gaps: list[tuple[int, int]] = []

    def passed_over(self, number: int) -> None:
        """The client opens this stream: all idle ones below are closed (RFC 9113, section 5.1.1)."""
        if number > self.last + 2 and len(self._gaps) < MAX_GAPS:
            self._gaps.append((self.last + 1, number - 1))
        self.last = number

    def client_ended(self, stream: Stream) -> None:
        """The client says nothing more on a stream."""
        stream.ended = True
        self.slow.pop(stream.number, None)
        self._credit.forget(stream)

    def end(self, stream: Stream) -> None:
        """A stream is over, on both sides."""
        number = stream.number
        del self.live[number]
        if not stream.ended:
            self.leave(number)
            self.client_ended(stream)
        if stream.deadline is not None:
            self.timeouts.forget(number)

    def cancel(self, stream: Stream, reason: str) -> None:
        """A stream is over, and the application did not end it."""
        self.end(stream)
        self.cancelled(stream, reason)

    def cancelled(self, stream: Stream, reason: str) -> None:
        """Tell the application, if it knows of the stream, that it is over."""
        if stream.told:
            self.tell(stream, Cancelled(stream.number, reason))
        stream.told = True

    def tell(self, stream: Stream, event: Event) -> None:
        """Tell the application, unless it has said all that it had to say and wants to hear no more."""
        if stream.trailers is None:
            self.events.append(event)

    def leave(self, number: int) -> None:
        """We want to hear no more of a stream that the client has not ended: what is on its way is ignored."""
        left = self._left
        left[number] = None
        if len(left) > MAX_LEFT:
            del left[next(iter(left))]

    def is_left(self, number: int, ended: bool) -> bool:
        """Whether a frame on a closed stream is a late one; `ended`: it is the last one."""
        if number not in self._left:
            return False
        if ended:
            del self._left[number]
        return True

    def check_opened(self, number: int) -> None:
        """Raises `ConnectionFault` if the stream is idle (RFC 9113, section 5.1), or ours to open."""
        if not number & 1 or number > self.last:
            text = f"a frame on stream {number}, which is not open"
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, text)

    def reused(self, number: int) -> ConnectionFault:
        """What a HEADERS frame on a closed stream is."""
        if any(first <= number <= last for first, last in self._gaps):
            return ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {number} is opened after {self.last}")
        return ConnectionFault(ErrorCode.STREAM_CLOSED, f"HEADERS on stream {number}, which is closed")
