"""Frames about the connection and about windows: RFC 9113, sections 6.3 to 6.9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coterie.http2 import frames
from coterie.http2.errors import ConnectionFault, ErrorCode, StreamFault
from coterie.http2.frames import SETTING, SETTINGS_ACK, frame, window_update
from coterie.http2.header_blocks import TABLE_BYTES
from coterie.http2.limits import MAX_FRAME_BYTES, MAX_WINDOW_BYTES, MIN_FRAME_BYTES, SECOND, STREAM_WINDOW_BYTES, Limits
from coterie.http2.patience import CHEAP, RESET_COST, SETTINGS_COST, Patience
from coterie.http2.sending import Sender
from coterie.http2.streams import Streams

YOUNG: Final = SECOND
"""Nanoseconds: a stream reset by the client before was opened for nothing."""
DRAIN_PING: Final = b"draining"
KEEPALIVE_PING: Final = b"are you?"


class Control:
    """Handles every frame that is not HEADERS, CONTINUATION or DATA."""

    def __init__(self, limits: Limits, sender: Sender, streams: Streams, patience: Patience) -> None:
        self._sender = sender
        self._streams = streams
        self._patience = patience
        self.settled = False
        """Whether the client's first SETTINGS has come."""
        self.acknowledged = False
        """Whether it has acknowledged ours."""
        self.drain_heard = False
        """Whether it has answered the ping that follows the first GOAWAY: it has seen that, too."""
        values = [
            (frames.MAX_CONCURRENT_STREAMS, limits.max_streams),
            (frames.MAX_FRAME_SIZE, limits.max_frame_bytes),
            (frames.MAX_HEADER_LIST_SIZE, limits.max_header_list_bytes),
        ]
        sender.out.append(frames.settings(values))
        if limits.connection_window_bytes > STREAM_WINDOW_BYTES:
            sender.out.append(window_update(0, limits.connection_window_bytes - STREAM_WINDOW_BYTES))
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.PRIORITY: self._priority,
            frames.RST_STREAM: self._reset,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._push,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._window,
        }

    def handle(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """A frame. Raises `ConnectionFault`, `StreamFault`."""
        handler = self._handlers.get(kind)
        if handler is None:  # Unknown types are ignored (RFC 9113, section 4.1)
            self._spend(CHEAP, "frames of unknown types")
            return
        handler(flags, number, payload)

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        """Deprecated, ignored; still checked (RFC 9113, section 5.3.2 and 6.3)."""
        self._spend(CHEAP, "PRIORITY frames")
        _not_zero("PRIORITY", number)
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "a PRIORITY frame has 5 bytes")
        check_dependency(number, payload)

    def _reset(self, flags: int, number: int, payload: bytes) -> None:
        _not_zero("RST_STREAM", number)
        _sized("RST_STREAM", payload, 4)
        self._streams.check_opened(number)
        stream = self._streams.live.get(number)
        if stream is None:
            self._streams.is_left(number, ended=True)
            self._spend(CHEAP, "RST_STREAM frames")
            return
        now = self._streams.now
        # In an outage all calls run out of time: that is no attack.
        young = now - stream.opened < YOUNG and not stream.out_of_time(now)
        self._sender.drop(stream)
        self._streams.client_ended(stream)
        self._streams.cancel(stream, "the client reset the stream")
        self._spend(RESET_COST if young else CHEAP, "streams opened and reset")

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a SETTINGS frame on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement with settings in it")
            if self.acknowledged:
                self._spend(CHEAP, "SETTINGS acknowledgements")
            self.acknowledged = True
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS frame that ends within a setting")
        self._spend(SETTINGS_COST, "SETTINGS frames")
        values: dict[int, int] = {}
        for key, value in SETTING.iter_unpack(payload):
            _check_setting(key, value)
            if key == frames.HEADER_TABLE_SIZE and value < TABLE_BYTES:
                self._sender.lowered_table()
            values[key] = value
        if frames.INITIAL_WINDOW_SIZE in values:
            self._sender.set_initial_window(values[frames.INITIAL_WINDOW_SIZE])
        if frames.MAX_FRAME_SIZE in values:
            self._sender.set_max_frame(values[frames.MAX_FRAME_SIZE])
        self._sender.out.append(SETTINGS_ACK)
        self.settled = True

    def _push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client pushes nothing")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a PING frame on a stream")
        _sized("PING", payload, 8)
        if flags & frames.ACK:
            self.drain_heard = self.drain_heard or payload == DRAIN_PING
            if payload not in (DRAIN_PING, KEEPALIVE_PING):
                self._spend(CHEAP, "PING acknowledgements")
            return
        self._spend(CHEAP, "PING frames")
        self._sender.out.append(frame(frames.PING, frames.ACK, 0, payload))

    def _goaway(self, flags: int, number: int, payload: bytes) -> None:
        """The client opens no more streams; those that it has opened go on."""
        self._spend(CHEAP, "GOAWAY frames")
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a GOAWAY frame on a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY frame has at least 8 bytes")

    def _window(self, flags: int, number: int, payload: bytes) -> None:
        self._spend(CHEAP, "WINDOW_UPDATE frames")
        _sized("WINDOW_UPDATE", payload, 4)
        increment = int.from_bytes(payload) & frames.STREAM_MASK
        if not number:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
            self._sender.opened_window(increment)
            return
        self._streams.check_opened(number)
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE by nothing")
        stream = self._streams.live.get(number)
        if stream is not None:
            self._sender.opened_stream_window(stream, increment)

    def _spend(self, points: int, what: str) -> None:
        self._patience.spend(points, self._streams.now, what)


def check_dependency(number: int, payload: bytes) -> None:
    """Raises `StreamFault` if a stream depends on itself (RFC 7540, section 5.3.1)."""
    if int.from_bytes(payload[:4]) & frames.STREAM_MASK == number:
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")


def _check_setting(key: int, value: int) -> None:
    """RFC 9113, section 6.5.2."""
    if key == frames.ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}, not 0 or 1")
    if key == frames.INITIAL_WINDOW_SIZE and value > MAX_WINDOW_BYTES:
        text = f"SETTINGS_INITIAL_WINDOW_SIZE is {value}, above {MAX_WINDOW_BYTES}"
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, text)
    if key == frames.MAX_FRAME_SIZE and not MIN_FRAME_BYTES <= value <= MAX_FRAME_BYTES:
        text = f"SETTINGS_MAX_FRAME_SIZE is {value}, not between {MIN_FRAME_BYTES} and {MAX_FRAME_BYTES}"
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, text)


def _not_zero(what: str, number: int) -> None:
    if not number:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a {what} frame on no stream")


def _sized(what: str, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a {what} frame has {size} bytes, not {len(payload)}")
