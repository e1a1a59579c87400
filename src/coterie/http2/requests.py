"""What a request's header fields say: RFC 9113, section 8.3, and the gRPC protocol over HTTP/2.

What breaks HTTP is a `StreamFault`: the stream is reset. What is HTTP and no gRPC that is spoken here gets an answer
that says so, in the codes and words of grpc-go, which etcd's clients know: a `Refusal`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from coterie.http2.answers import Status
from coterie.http2.errors import ErrorCode, StreamFault
from coterie.http2.events import Metadata
from coterie.http2.header_blocks import Fields

ENCODINGS: Final = b"identity,gzip"
"""For `grpc-accept-encoding`."""
MAX_KNOWN_HEADS: Final = 64
MAX_KNOWN_LIST_BYTES: Final = 2048
"""Requests' fields of one connection whose meaning is kept, and how large each list may be."""
_CONTENT_TYPE: Final = b"application/grpc"
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|\A[ \t]|[ \t]\Z")
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")
_UNITS: Final = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1000,
    b"n": 1,
}
_REQUEST_FIELDS: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
"""Belong to HTTP/1.1 (RFC 9113, section 8.2.2)."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a request is answered before anybody looks at it."""

    http: int
    status: Status
    text: str
    extra: tuple[tuple[str, bytes], ...] = ()


class Head(msgspec.Struct, frozen=True, gc=False):
    """One request's header fields, read."""

    path: str
    metadata: Metadata
    timeout: int | None = None
    """Nanoseconds."""
    gzip: bool = False
    """Whether messages may be compressed, and answers are welcome so."""
    length: int | None = None
    """`content-length`."""
    refusal: Refusal | None = None


class HeadReader:
    """Reads the fields of one connection's requests. Most calls of a client differ in nothing but their timeout."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], Head] = {}

    def read(self, fields: Fields, size: int) -> Head:
        """A request's fields, whose list has `size` bytes. Raises `StreamFault` if they are malformed."""
        timeout = b""
        if fields and fields[-1][0] == b"grpc-timeout":  # Where grpc-go and grpcio have it
            timeout = fields.pop()[1]
        key = tuple(fields)
        head = self._known.get(key)
        if head is None:
            head = read_head(fields)
            if size <= MAX_KNOWN_LIST_BYTES and head.refusal is None:
                if len(self._known) >= MAX_KNOWN_HEADS:
                    del self._known[next(iter(self._known))]
                self._known[key] = head
        return with_timeout(head, timeout) if timeout else head


def read_head(fields: Fields) -> Head:
    """Read a request's fields. Raises `StreamFault` if they are malformed (RFC 9113, section 8.1.1)."""
    pseudo: dict[bytes, bytes] = {}
    metadata: list[tuple[bytes, bytes]] = []
    for field in fields:
        name, value = field
        if name[:1] == b":":
            if metadata:
                raise _malformed("a pseudo-header field after others")
            if name not in _REQUEST_FIELDS or name in pseudo:
                raise _malformed(f"pseudo-header field {_shown(name)}")
            pseudo[name] = value
        else:
            metadata.append(field)
        _check_field(name, value)
    path = pseudo.get(b":path")
    method = pseudo.get(b":method")
    if not path or not method or not pseudo.get(b":scheme"):
        raise _malformed("a request needs :method, :scheme and :path")
    return _as_call(path, method, metadata)


def check_trailers(fields: Fields) -> None:
    """Look at the fields after a request's messages: gRPC has none, so they are dropped. Raises `StreamFault`."""
    for name, value in fields:
        if name[:1] == b":":
            raise _malformed("a pseudo-header field in trailers")
        _check_field(name, value)


def _as_call(path: bytes, method: bytes, metadata: list[tuple[bytes, bytes]]) -> Head:
    content_type = timeout = b""
    encoding = b"identity"
    length: int | None = None
    for name, value in metadata:
        if name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            timeout = value
        elif name == b"grpc-encoding":
            encoding = value
        elif name == b"content-length":
            length = _length(value, length)
        elif name == b"te" and value != b"trailers":
            raise _malformed("te may only ask for trailers")
        elif name in _OF_A_CONNECTION:
            raise _malformed(f"{_shown(name)} belongs to HTTP/1.1")
    refusal = None
    if method != b"POST":
        text = f'http2Server.operateHeaders parsed a :method field with value "{_shown(method)}", which should be POST'
        refusal = Refusal(405, Status.INTERNAL, text)
    elif content_type[:16] != _CONTENT_TYPE or content_type[16:17] not in (b"", b"+", b";"):
        text = f'invalid gRPC request content-type "{_shown(content_type)}"'
        refusal = Refusal(415, Status.INVALID_ARGUMENT, text)
    elif encoding not in (b"identity", b"gzip"):
        text = f'grpc: Decompressor is not installed for grpc-encoding "{_shown(encoding)}"'
        refusal = Refusal(200, Status.UNIMPLEMENTED, text, (("grpc-accept-encoding", ENCODINGS),))
    head = Head(
        path=path.decode("utf-8", "replace"),
        metadata=tuple(field for field in metadata if field[0] != b"grpc-timeout"),
        gzip=encoding == b"gzip",
        length=length,
        refusal=refusal,
    )
    return with_timeout(head, timeout) if timeout else head


def with_timeout(head: Head, value: bytes) -> Head:
    """The same call with a `grpc-timeout`."""
    match = _TIMEOUT.fullmatch(value)
    timeout = None if match is None else int(match[1]) * _UNITS[match[2]]
    refusal = head.refusal
    if match is None and refusal is None:
        text = f'malformed grpc-timeout: transport: timeout string "{_shown(value)}" is not recognized'
        refusal = Refusal(400, Status.INTERNAL, text)
    return Head(head.path, head.metadata, timeout, head.gzip, head.length, refusal)


def _check_field(name: bytes, value: bytes) -> None:
    """RFC 9113, section 8.2.1."""
    if _NAME.fullmatch(name) is None and not (name[:1] == b":" and _NAME.fullmatch(name, 1)):
        raise _malformed(f"a field's name is {_shown(name)}")
    if _BAD_VALUE.search(value) is not None:
        raise _malformed(f"the value of {_shown(name)}")


def _length(value: bytes, before: int | None) -> int:
    if _LENGTH.fullmatch(value) is None or (before is not None and before != int(value)):
        raise _malformed("content-length")
    return int(value)


def _malformed(what: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, f"a malformed request: {what}")


def _shown(value: bytes) -> str:
    return value[:64].decode("ascii", "backslashreplace")
