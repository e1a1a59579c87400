"""The layout of frames: RFC 9113, sections 4.1 and 6."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from coterie.http2.errors import ConnectionFault, ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113, section 3.4)."""
HEAD_BYTES: Final = 9
FRAME_HEAD: Final = Struct(">HBBBL")
"""Upper 16 and lower 8 bits of the payload's length, type, flags, stream (with a reserved bit)."""
STREAM_MASK: Final = 0x7FFFFFFF

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

SETTING: Final = Struct(">HL")
_WORD: Final = Struct(">L")
_TWO_WORDS: Final = Struct(">LL")
MAX_DEBUG_BYTES: Final = 256
"""Text in a GOAWAY."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def headers(stream: int, block: bytes, *, end_stream: bool, max_frame: int) -> bytes:
    """A header block in a HEADERS frame and, if it is larger than a frame may be, CONTINUATIONs."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    frames = [frame(HEADERS, flags, stream, block[:max_frame])]
    for start in range(max_frame, len(block), max_frame):
        last = END_HEADERS if start + max_frame >= len(block) else 0
        frames.append(frame(CONTINUATION, last, stream, block[start : start + max_frame]))
    return b"".join(frames)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(key, value) for key, value in values))


def reset(stream: int, code: ErrorCode) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, _WORD.pack(code))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 means the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def goaway(last: int, code: ErrorCode, text: str = "") -> bytes:
    """A GOAWAY frame; `last` is the last stream that is or was served."""
    return frame(GOAWAY, 0, 0, _TWO_WORDS.pack(last, code) + text.encode()[:MAX_DEBUG_BYTES])


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def without_padding(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding (RFC 9113, sections 6.1 and 6.2)."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without the length of its padding")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame, or longer")
    return payload[1 : len(payload) - padding]
