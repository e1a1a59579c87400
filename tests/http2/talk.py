"""A client that speaks in frames, and the connection that it speaks to."""

from __future__ import annotations

from struct import pack
from typing import NamedTuple

from hpack import Decoder, Encoder

from coterie.http2 import PREFACE, Called, Connection, ErrorCode, Event, Limits
from coterie.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    frame,
    goaway,
    reset,
    window_update,
)

SECOND = 1_000_000_000
FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/test/Echo"),
    (":authority", "here"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


class Frame(NamedTuple):
    """One frame that the server sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def split(data: bytes) -> list[Frame]:
    """The frames in what was sent."""
    frames = []
    while data:
        high, low, kind, flags, stream = FRAME_HEAD.unpack_from(data)
        end = FRAME_HEAD.size + (high << 8 | low)
        assert len(data) >= end
        frames.append(Frame(kind, flags, stream, data[FRAME_HEAD.size : end]))
        data = data[end:]
    return frames


def packed(message: bytes, flag: int = 0) -> bytes:
    """A message as it is in DATA."""
    return pack(">BL", flag, len(message)) + message


def settings(*values: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(pack(">HL", key, value) for key, value in values))


class Talk:
    """A connection, what it said, and the next stream's number."""

    def __init__(self, limits: Limits | None = None, *, greeted: bool = True) -> None:
        self.now = SECOND
        self.http = Connection(limits or Limits(), self.now)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.events: list[Event] = []
        self.number = -1
        self.greeting = split(self.http.take_output())
        if greeted:
            self.say(PREFACE + settings() + frame(SETTINGS, ACK, 0))
            assert self.heard() == [Frame(SETTINGS, ACK, 0, b"")]

    # What the client says.

    def say(self, data: bytes) -> list[Event]:
        """Bytes, in one read; the events of it."""
        events = self.http.receive(data, self.now)
        self.events += events
        return events

    def after(self, nanoseconds: int) -> list[Event]:
        """Time passes."""
        self.now += nanoseconds
        events = self.http.wake(self.now)
        self.events += events
        return events

    def block(self, fields: list[tuple[str, str]] | None = None, **changes: str) -> bytes:
        """A header block, of a request unless said otherwise."""
        return self.encoder.encode(FIELDS if fields is None else fields)

    def headers(self, *extra: tuple[str, str], path: str = "/test/Echo", flags: int = END_HEADERS) -> bytes:
        """The HEADERS of a new call."""
        self.number += 2
        fields = [(name, path if name == ":path" else value) for name, value in FIELDS]
        return frame(HEADERS, flags, self.number, self.encoder.encode([*fields, *extra]))

    def data(self, data: bytes, number: int | None = None, *, ended: bool = False) -> bytes:
        """DATA of the newest stream, or another."""
        return frame(DATA, END_STREAM if ended else 0, self.number if number is None else number, data)

    def call(self, message: bytes = b"", *extra: tuple[str, str], path: str = "/test/Echo") -> bytes:
        """A whole unary call."""
        return self.headers(*extra, path=path) + self.data(packed(message), ended=True)

    def opened(self, *extra: tuple[str, str]) -> int:
        """A call whose client goes on talking; its stream."""
        (event,) = self.say(self.headers(*extra))
        assert event == Called(self.number, "/test/Echo", called(event).metadata, called(event).deadline, None, False)
        return self.number

    def window(self, number: int, increment: int) -> bytes:
        """A WINDOW_UPDATE."""
        return window_update(number, increment)

    def reset(self, number: int, code: ErrorCode = ErrorCode.CANCEL) -> bytes:
        """A RST_STREAM."""
        return reset(number, code)

    def goaway(self) -> bytes:
        """A GOAWAY."""
        return goaway(0, ErrorCode.NO_ERROR)

    # What the server says.

    def heard(self) -> list[Frame]:
        """Everything that may leave."""
        parts = []
        while data := self.http.take_output():
            parts.append(data)
        return split(b"".join(parts))

    def fields(self, block: bytes) -> dict[str, str]:
        """A header block of the server's."""
        return {str(name): str(value) for name, value in self.decoder.decode(block)}

    def closed_with(self) -> ErrorCode:
        """That the connection is closed, and the code of its GOAWAY."""
        assert self.http.closed
        last = self.heard()[-1]
        assert last.kind == GOAWAY
        assert self.http.reason
        return ErrorCode(int.from_bytes(last.payload[4:8]))

    def reset_with(self, number: int | None = None) -> ErrorCode:
        """That a stream (the newest, unless said otherwise) was reset, the connection goes on, and the code."""
        assert not self.http.closed, self.http.reason
        (found,) = [frame for frame in self.heard() if frame.kind == RST_STREAM]
        assert found.stream == (self.number if number is None else number)
        self.goes_on()
        return ErrorCode(int.from_bytes(found.payload))

    def answered_with(self, number: int | None = None) -> dict[str, str]:
        """That a stream was answered, and the fields of its end."""
        assert not self.http.closed, self.http.reason
        stream = self.number if number is None else number
        ends = []
        for found in self.heard():
            if found.kind == HEADERS:
                fields = self.fields(found.payload)
                if found.stream == stream and found.flags & END_STREAM:
                    ends.append(fields)
        (end,) = ends
        self.goes_on()
        return end

    def goes_on(self) -> None:
        """That the connection serves another call."""
        (event,) = self.say(self.call(b"still here"))
        assert called(event).message == b"still here"
        self.http.respond(self.number, b"yes")
        assert b"".join(f.payload for f in self.heard() if f.kind == DATA and f.stream == self.number) == packed(b"yes")


def called(event: Event) -> Called:
    """The event, which is a `Called`."""
    assert isinstance(event, Called)
    return event
