"""Error codes of HTTP/2, and the two ways in which a client's bytes can be wrong."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Http2Error(Exception):
    """Base of all errors of this room."""


class LimitsError(Http2Error):
    """A limit breaks its rule; the message names the limit, the value and the rule."""


class ConnectionFault(Http2Error):
    """The connection cannot go on: GOAWAY (RFC 9113, section 5.4.1). Never leaves this room."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Http2Error):
    """One stream cannot go on: RST_STREAM (RFC 9113, section 5.4.2). Never leaves this room."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class CallFault(Http2Error):
    """One call cannot go on, in the words of gRPC: a status. Never leaves this room."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
