"""What goes out: answers, cut into frames, as far as the client's windows allow (RFC 9113, section 5.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Final

from coterie.http2.answers import FORGET_TABLE, OPENING, OPENING_GZIP, TRAILERS_OK, trailers, trailers_only
from coterie.http2.errors import ConnectionFault, ErrorCode, StreamFault
from coterie.http2.events import Drained
from coterie.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    frame,
    headers,
    reset,
)
from coterie.http2.limits import MAX_WINDOW_BYTES, MIN_FRAME_BYTES, STREAM_WINDOW_BYTES, Limits
from coterie.http2.messages import PREFIX_BYTES, packed, packed_gzip
from coterie.http2.patience import EARNED_BY_ANSWER, EARNED_BY_FRAME, Patience
from coterie.http2.stream import Stream
from coterie.http2.streams import Streams

READY_BYTES: Final = 1024 * 1024
"""Frames that are made ahead of being taken; what is more stays with its stream, where all have their turn."""
LARGEST_FRAME_BYTES: Final = 64 * 1024
"""However large frames a client takes, others have their turn after so much."""
_ANSWER: Final = Struct(f">5sL{len(OPENING)}sHBBBLBL")
"""HEADERS, then DATA up to the message itself."""
_ANSWER_HEAD: Final = FRAME_HEAD.pack(0, len(OPENING), HEADERS, END_HEADERS, 0)[:5]
_ANSWER_END: Final = Struct(f">5sL{len(TRAILERS_OK)}s")
_ANSWER_END_HEAD: Final = FRAME_HEAD.pack(0, len(TRAILERS_OK), HEADERS, END_HEADERS | END_STREAM, 0)[:5]


class Sender:
    """The sending side of one connection."""

    def __init__(self, limits: Limits, streams: Streams, patience: Patience, out: list[bytes]) -> None:
        self._limits = limits
        self._streams = streams
        self._patience = patience
        self.out = out
        """Frames that may leave, in order."""
        self.ready_bytes = 0
        """Of messages in them."""
        self.window = STREAM_WINDOW_BYTES
        """Bytes that the client takes on all streams now."""
        self.initial_window = STREAM_WINDOW_BYTES
        """What it takes on a new stream."""
        self._max_frame = MIN_FRAME_BYTES
        self.unsent = 0
        """Bytes that wait with their streams."""
        self.able: dict[int, Stream] = {}
        """Streams with bytes to send and window of their own for them, in the order of their turns."""
        self.stuck: dict[int, Stream] = {}
        """Streams with bytes to send and no window."""
        self._forget_table = False

    # What the application says.

    def respond(self, stream: Stream, message: bytes) -> None:
        """The whole answer to a unary call."""
        size = len(message) + PREFIX_BYTES
        if (
            stream.answered
            or not stream.ended
            or stream.head.gzip
            or self._forget_table
            or size > self._max_frame
            or size > stream.window
            or size > self.window
            or self.ready_bytes > READY_BYTES
        ):
            self.send(stream, message)
            if stream.number in self._streams.live:
                self.finish(stream)
            return
        number = stream.number
        self.out.append(
            _ANSWER.pack(_ANSWER_HEAD, number, OPENING, size >> 8, size & 0xFF, DATA, 0, number, 0, size - PREFIX_BYTES)
            + message
            + _ANSWER_END.pack(_ANSWER_END_HEAD, number, TRAILERS_OK)
        )
        self.window -= size
        self.ready_bytes += size
        self._patience.earn(EARNED_BY_ANSWER)
        self._streams.end(stream)

    def send(self, stream: Stream, message: bytes) -> None:
        """One message."""
        if stream.trailers is not None:
            return
        if not stream.answered:
            self._open(stream)
        data = packed_gzip(message) if stream.head.gzip else packed(message)
        size = len(data)
        at_once = size <= self._max_frame and size <= stream.window and size <= self.window
        if at_once and not stream.unsent and self.ready_bytes <= READY_BYTES:
            self._data(stream, data, size)
        else:
            self._wait(stream, data, size)

    def finish(
        self, stream: Stream, status: int = 0, text: str = "", extra: Sequence[tuple[str, str | bytes]] = ()
    ) -> None:
        """The status."""
        if stream.trailers is not None:
            return
        self._patience.earn(EARNED_BY_ANSWER)
        if not stream.answered:
            self._end(stream, trailers_only(status, text, extra))
        elif stream.unsent:
            stream.trailers = trailers(status, text, extra)
        else:
            self._end(stream, trailers(status, text, extra))

    def break_off(self, stream: Stream, status: int, text: str) -> None:
        """The status, now: what waits is dropped. Nothing is earned by it."""
        self.drop(stream)
        self._end(stream, trailers(status, text) if stream.answered else trailers_only(status, text))

    def reset(self, stream: Stream, code: ErrorCode, reason: str) -> None:
        """End a stream at once; the application is told."""
        self.drop(stream)
        self.out.append(reset(stream.number, code))
        self._streams.cancel(stream, reason)

    def drop(self, stream: Stream) -> None:
        """Send nothing of what waits."""
        if stream.unsent:
            self.able.pop(stream.number, None)
            self.stuck.pop(stream.number, None)
            self.unsent -= stream.unsent
            stream.unsent = 0
            stream.pending = None
            stream.offset = 0

    def refuse(self, number: int, block: bytes, ended: bool) -> None:
        """Answer a call that is not even begun."""
        self.out.append(headers(number, self._first(block), end_stream=True, max_frame=self._max_frame))
        if not ended:
            self.out.append(reset(number, ErrorCode.NO_ERROR))

    # What the client says.

    def opened_window(self, increment: int) -> None:
        """It takes more, on all streams together. Raises `ConnectionFault`."""
        self.window += increment
        if self.window > MAX_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of more than {MAX_WINDOW_BYTES} bytes")

    def opened_stream_window(self, stream: Stream, increment: int) -> None:
        """It takes more on a stream. Raises `StreamFault`."""
        stream.window += increment
        if stream.window > MAX_WINDOW_BYTES:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of more than {MAX_WINDOW_BYTES} bytes")
        if stream.window > 0 and self.stuck.pop(stream.number, None) is not None:
            self.able[stream.number] = stream

    def set_initial_window(self, size: int) -> None:
        """It takes so much on a new stream; those that are open change alike (RFC 9113, section 6.9.2). Raises
        `ConnectionFault`."""
        change = size - self.initial_window
        self.initial_window = size
        for stream in self._streams.live.values():
            stream.window += change
            if stream.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of more than {MAX_WINDOW_BYTES} bytes")
            if stream.window > 0 and self.stuck.pop(stream.number, None) is not None:
                self.able[stream.number] = stream

    def set_max_frame(self, size: int) -> None:
        """It takes frames so large."""
        self._max_frame = min(size, LARGEST_FRAME_BYTES)

    def lowered_table(self) -> None:
        """It has lowered the size of its header table, which we do not use: it must hear so once."""
        self._forget_table = True

    # What leaves.

    def take(self) -> bytes:
        """Everything that may leave now."""
        if self.able:
            self._take_turns()
        if not self.out:
            return b""
        data = b"".join(self.out)
        self.out.clear()
        self.ready_bytes = 0
        return data

    def _take_turns(self) -> None:
        able = self.able
        while able and self.window > 0 and self.ready_bytes < READY_BYTES:
            number = next(iter(able))
            self._take_turn(able.pop(number))

    def _take_turn(self, stream: Stream) -> None:
        """One frame of a stream."""
        assert stream.pending
        first = stream.pending[0]
        size = min(len(first) - stream.offset, self._max_frame, stream.window, self.window)
        end = stream.offset + size
        chunk = first if size == len(first) else first[stream.offset : end]
        if end == len(first):
            stream.pending.popleft()
            stream.offset = 0
        else:
            stream.offset = end
        stream.unsent -= size
        self.unsent -= size
        stream.progressed = self._streams.now
        self._data(stream, chunk, size)
        if stream.unsent:
            (self.able if stream.window > 0 else self.stuck)[stream.number] = stream
        if stream.high and stream.unsent <= self._limits.low_water_bytes:
            stream.high = False
            if stream.trailers is None:
                self._streams.events.append(Drained(stream.number))
        if not stream.unsent and stream.trailers is not None:
            self._end(stream, stream.trailers)

    # How it works inside.

    def _data(self, stream: Stream, data: bytes, size: int) -> None:
        self.out.append(frame(DATA, 0, stream.number, data))
        stream.window -= size
        self.window -= size
        self.ready_bytes += size
        self._patience.earn(EARNED_BY_FRAME)

    def _wait(self, stream: Stream, data: bytes, size: int) -> None:
        limits = self._limits
        if stream.unsent and stream.unsent + size > limits.max_unsent_stream_bytes:
            text = f"more than {limits.max_unsent_stream_bytes} bytes wait for the client on this stream"
            self.reset(stream, ErrorCode.ENHANCE_YOUR_CALM, text)
            return
        if stream.pending is None:
            stream.pending = deque()
        stream.pending.append(data)
        if not stream.unsent:
            stream.progressed = self._streams.now
            (self.able if stream.window > 0 else self.stuck)[stream.number] = stream
        stream.unsent += size
        self.unsent += size
        stream.high = stream.high or stream.unsent >= limits.high_water_bytes

    def _open(self, stream: Stream) -> None:
        stream.answered = True
        block = self._first(OPENING_GZIP if stream.head.gzip else OPENING)
        self.out.append(frame(HEADERS, END_HEADERS, stream.number, block))

    def _end(self, stream: Stream, block: bytes) -> None:
        number = stream.number
        self.out.append(headers(number, self._first(block), end_stream=True, max_frame=self._max_frame))
        if not stream.ended:
            # The client may stop sending (RFC 9113, section 8.1).
            self.out.append(reset(number, ErrorCode.NO_ERROR))
        self._streams.end(stream)

    def _first(self, block: bytes) -> bytes:
        if not self._forget_table:
            return block
        self._forget_table = False
        return FORGET_TABLE + block
