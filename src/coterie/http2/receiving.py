"""What comes in: frames to events. RFC 9113, sections 4 to 6 and 8.1.

A unary request takes the short way: a HEADERS frame whose block is known and a DATA frame that ends the stream with one
whole message, each a few lines in `feed`. Everything else goes by `_frame`.
"""

from __future__ import annotations

from typing import Final

from coterie.http2.answers import Status, trailers_only
from coterie.http2.control import Control, check_dependency
from coterie.http2.credit import Credit
from coterie.http2.errors import CallFault, ConnectionFault, ErrorCode, StreamFault
from coterie.http2.events import Called, Ended, Received
from coterie.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    PRIORITY_FLAG,
    SETTINGS,
    STREAM_MASK,
    reset,
    without_padding,
)
from coterie.http2.header_blocks import BlockDecoder, Fields
from coterie.http2.limits import STREAM_WINDOW_BYTES, Limits
from coterie.http2.messages import PREFIX, PREFIX_BYTES, Assembly
from coterie.http2.patience import CHEAP, RESET_COST, Patience
from coterie.http2.requests import Head, HeadReader, Refusal, check_trailers
from coterie.http2.sending import Sender
from coterie.http2.stream import Stream
from coterie.http2.streams import Streams

MAX_KNOWN_BLOCKS: Final = 64
MAX_KNOWN_BLOCK_BYTES: Final = 1024
"""Header blocks of one connection whose meaning is kept, and how large each may be."""
HARD_LIST_FACTOR: Final = 4
"""A header list so many times above the limit ends the connection; up to there only its call is refused."""


class Receiver:
    """The receiving side of one connection."""

    def __init__(
        self, limits: Limits, control: Control, sender: Sender, streams: Streams, credit: Credit, patience: Patience
    ) -> None:
        self._limits = limits
        self._control = control
        self._sender = sender
        self._streams = streams
        self._credit = credit
        self._patience = patience
        self._rest = b""
        """The beginning of a frame."""
        self._waits_for_preface = True
        self._decoder = BlockDecoder(HARD_LIST_FACTOR * limits.max_header_list_bytes)
        self._max_block_bytes = HARD_LIST_FACTOR * limits.max_header_list_bytes
        self._heads = HeadReader()
        self._known: dict[bytes, Head] = {}
        """Blocks that mean this as long as the dynamic table stays as it is."""
        self._short_bytes = min(limits.max_message_bytes, STREAM_WINDOW_BYTES - PREFIX_BYTES)
        """Messages up to here may take the short way."""
        self._fresh: list[Stream] = []
        """Opened in this read."""
        self._block: bytearray | None = None
        """A header block that goes on."""
        self._block_of = 0
        self._block_ends = 0
        self._continuations = 0
        self.closing_after: int | None = None
        """The last stream that is served, once that was said in a GOAWAY."""
        self.half_since: int | None = None
        """Nanoseconds: since when a frame or header block is not whole."""

    def feed(self, data: bytes, now: int) -> None:
        """Bytes from the client; events are in `streams`. Raises `ConnectionFault`."""
        buffer = self._rest + data if self._rest else data
        position = 0
        if self._waits_for_preface:
            if not self._preface(buffer):
                return
            position = len(PREFACE)
        streams = self._streams
        live = streams.live
        fresh = self._fresh
        unpack = FRAME_HEAD.unpack_from
        max_frame = self._limits.max_frame_bytes
        end = len(buffer)
        arrived = 0
        while end - position >= HEAD_BYTES:
            high, low, kind, flags, number = unpack(buffer, position)
            length = high << 8 | low
            start = position + HEAD_BYTES
            if length > max_frame:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, above {max_frame}")
            if start + length > end:
                break
            position = start + length
            if kind == DATA:
                arrived += length
                stream = live.get(number)
                short = flags == END_STREAM and length >= PREFIX_BYTES and self._block is None
                if short and stream is not None and stream.simple:
                    compressed, size = PREFIX.unpack_from(buffer, start)
                    said = stream.head.length
                    true = size + PREFIX_BYTES == length and (said is None or said == length)
                    if not compressed and true and size <= self._short_bytes:
                        self._whole(stream, buffer[start + PREFIX_BYTES : position])
                        continue
            elif kind == HEADERS and flags == END_HEADERS and self._block is None:
                head = self._known.get(buffer[start:position])
                if head is not None and self._may_open(number):
                    if number > streams.last + 2:
                        streams.passed_over(number)
                    streams.last = number
                    fresh.append(self._opened(number, head))
                    continue
            self._frame(kind, flags, number & STREAM_MASK, buffer[start:position])
        if arrived:
            self._credit.arrived(arrived)
        if fresh:
            for stream in fresh:
                if not stream.told:
                    self._tell(stream)
            fresh.clear()
        self._keep(buffer, position, now)

    # The short way.

    def _may_open(self, number: int) -> bool:
        """Whether a stream may be opened without a second look."""
        streams = self._streams
        return (
            number & 1 == 1
            and streams.last < number <= STREAM_MASK
            and len(streams.live) < self._limits.max_streams
            and self.closing_after is None
        )

    def _opened(self, number: int, head: Head) -> Stream:
        streams = self._streams
        stream = Stream(number, head, streams.now, self._sender.initial_window)
        streams.live[number] = stream
        if head.timeout is not None:
            stream.deadline = streams.now + head.timeout
            streams.timeouts.add(number, stream.deadline)
        return stream

    def _whole(self, stream: Stream, message: bytes) -> None:
        """The one message of a unary call, and the client's end."""
        stream.ended = True
        if stream.told:
            self._streams.client_ended(stream)
            self._streams.tell(stream, Received(stream.number, message))
            self._streams.tell(stream, Ended(stream.number))
            return
        stream.told = True
        head = stream.head
        self._streams.events.append(Called(stream.number, head.path, head.metadata, stream.deadline, message, True))

    # The long way.

    def _preface(self, buffer: bytes) -> bool:
        """RFC 9113, section 3.4."""
        if not PREFACE.startswith(buffer[: len(PREFACE)]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does")
        if len(buffer) < len(PREFACE):
            self._rest = buffer
            return False
        self._waits_for_preface = False
        return True

    def _keep(self, buffer: bytes, position: int, now: int) -> None:
        """Keep the beginning of a frame, and since when there is one."""
        self._rest = buffer[position:] if position < len(buffer) else b""
        if not self._rest and self._block is None:
            self.half_since = None
        elif self.half_since is None or (position and self._block is None):
            self.half_since = now

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._control.settled and kind != SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the client's preface ends with a SETTINGS frame")
        goes_on = kind == CONTINUATION
        if goes_on != (self._block is not None) or (goes_on and number != self._block_of):
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, "a header block that is interrupted, or goes on from nothing"
            )
        try:
            if kind == DATA:
                self._data(flags, number, payload)
            elif kind == HEADERS:
                self._headers(flags, number, payload)
            elif kind == CONTINUATION:
                self._continuation(flags, number, payload)
            else:
                self._control.handle(kind, flags, number, payload)
        except StreamFault as fault:
            self._reset(number, fault)

    def _reset(self, number: int, fault: StreamFault) -> None:
        """What was begun for it was for nothing, too (CVE-2025-8671)."""
        stream = self._streams.live.get(number)
        if stream is not None:
            self._sender.reset(stream, fault.code, str(fault))
        else:
            self._sender.out.append(reset(number, fault.code))
            self._streams.leave(number)
        self._patience.spend(RESET_COST, self._streams.now, "streams that had to be reset")

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on no stream")
        block = without_padding(payload, flags)
        dependency = b""
        if flags & PRIORITY_FLAG:
            if len(block) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS that end within their priority")
            dependency, block = block[:5], block[5:]
        if flags & END_HEADERS:
            self._whole_block(number, flags & END_STREAM, block, dependency)
            return
        # The dependency of a block that goes on is not looked at: it is deprecated, and would only be to be ignored.
        self._block = bytearray(block)
        self._block_of = number
        self._block_ends = flags & END_STREAM
        self._continuations = 0

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        assert block is not None
        self._continuations += 1
        if self._continuations > self._limits.max_continuations:
            text = f"more than {self._limits.max_continuations} CONTINUATION frames"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)
        block += payload
        if len(block) > self._max_block_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a header block above {self._max_block_bytes} bytes")
        if flags & END_HEADERS:
            self._block = None
            self._whole_block(number, self._block_ends, bytes(block), b"")

    def _whole_block(self, number: int, ends: int, block: bytes, dependency: bytes) -> None:
        """A header block is whole. It is decoded whatever becomes of it: those after it build on it."""
        stream = self._streams.live.get(number)
        head = self._known.get(block) if stream is None else None
        fields: Fields = []
        size = 0
        lasting = False
        if head is None:
            changes = self._decoder.changes
            fields, size = self._decoder.decode(block)
            lasting = changes == self._decoder.changes
            if not lasting:
                self._known.clear()
        if stream is not None:
            if stream.ended:
                raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end of the stream")
            if not ends:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
            check_trailers(fields)
            self._client_ended(stream)
            return
        if number & 1 == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a client does not open stream {number}")
        if number <= self._streams.last:
            if self._streams.is_left(number, bool(ends)):
                self._patience.spend(CHEAP, self._streams.now, "late frames")
                return
            raise self._streams.reused(number)
        self._streams.passed_over(number)
        if self.closing_after is not None and number > self.closing_after:
            self._streams.leave(number)
            return
        if len(self._streams.live) >= self._limits.max_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, f"more than {self._limits.max_streams} streams")
        if dependency:
            check_dependency(number, dependency)
        if head is None:
            head = self._read(fields, size)
            if lasting and head.refusal is None and len(block) <= MAX_KNOWN_BLOCK_BYTES:
                if len(self._known) >= MAX_KNOWN_BLOCKS:
                    del self._known[next(iter(self._known))]
                self._known[block] = head
        self._call(number, head, bool(ends))

    def _read(self, fields: Fields, size: int) -> Head:
        if size > self._limits.max_header_list_bytes:
            text = f"received metadata larger than max ({size} vs. {self._limits.max_header_list_bytes})"
            return Head("", (), refusal=Refusal(200, Status.RESOURCE_EXHAUSTED, text))
        return self._heads.read(fields, size)

    def _call(self, number: int, head: Head, ends: bool) -> None:
        refusal = head.refusal
        if refusal is not None:
            block = trailers_only(refusal.status, refusal.text, refusal.extra, refusal.http)
            self._sender.refuse(number, block, ends)
            if not ends:
                self._streams.leave(number)
            return
        if ends and head.length:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a malformed request: content-length")
        stream = self._opened(number, head)
        if ends:
            self._client_ended(stream)
        else:
            self._fresh.append(stream)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on no stream")
        self._streams.check_opened(number)
        stream = self._streams.live.get(number)
        if stream is None:
            if not self._streams.is_left(number, bool(flags & END_STREAM)):
                raise StreamFault(ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
            self._patience.spend(CHEAP, self._streams.now, "late frames")
            return
        if stream.ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "DATA after the end of the stream")
        data = without_padding(payload, flags)
        if not data and not flags & END_STREAM:
            self._patience.spend(CHEAP, self._streams.now, "empty DATA frames")
        self._count(stream, len(data), flags & END_STREAM)
        try:
            self._credit.take(stream, len(payload), len(payload) - len(data))
            self._messages(stream, data, flags & END_STREAM)
        except CallFault as fault:
            self._fail(stream, fault)

    def _messages(self, stream: Stream, data: bytes, ends: int) -> None:
        stream.simple = False
        assembly = stream.assembly
        if assembly is None:
            assembly = stream.assembly = Assembly(self._limits.max_message_bytes, stream.head.gzip)
        for message, size in assembly.feed(data):
            self._credit.whole(stream, size)
            if stream.told:
                self._streams.tell(stream, Received(stream.number, message))
            elif stream.first is None:
                stream.first = message
            else:
                self._tell(stream)
                self._streams.tell(stream, Received(stream.number, message))
        if ends:
            if assembly.held:
                raise CallFault(Status.INTERNAL, "unexpected EOF")
            self._client_ended(stream)
        elif assembly.held:
            stream.progressed = self._streams.now
            self._streams.slow[stream.number] = stream
            self._credit.want(stream)
        else:
            self._streams.slow.pop(stream.number, None)

    def _count(self, stream: Stream, size: int, ends: int) -> None:
        """A `content-length` that is not true is malformed (RFC 9113, section 8.1.1)."""
        length = stream.head.length
        if length is None:
            return
        stream.data_bytes += size
        if stream.data_bytes > length or (ends and stream.data_bytes != length):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a malformed request: content-length")

    def _client_ended(self, stream: Stream) -> None:
        if stream.assembly is not None and stream.assembly.held:
            self._fail(stream, CallFault(Status.INTERNAL, "unexpected EOF"))
            return
        self._streams.client_ended(stream)
        if stream.told:
            self._streams.tell(stream, Ended(stream.number))
        else:
            self._tell(stream)

    def _tell(self, stream: Stream) -> None:
        stream.told = True
        first, stream.first = stream.first, None
        head = stream.head
        called = Called(stream.number, head.path, head.metadata, stream.deadline, first, stream.ended)
        self._streams.events.append(called)
        if first is None and not stream.ended:
            stream.progressed = self._streams.now
            self._streams.slow[stream.number] = stream

    def _fail(self, stream: Stream, fault: CallFault) -> None:
        """A call's messages are wrong: the client is told why, and the application that it is over."""
        self._sender.break_off(stream, fault.status, str(fault))
        self._streams.cancelled(stream, str(fault))
        self._patience.spend(RESET_COST, self._streams.now, "calls that had to be broken off")
