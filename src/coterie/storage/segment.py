"""Segments: the files that the log consists of, and the header at the beginning of each."""

from __future__ import annotations

import re

import msgspec

from coterie.core.types import HardState, Index, SnapshotMeta
from coterie.storage.errors import LogDamaged, WrongLog
from coterie.storage.frame import (
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    SECTOR,
    Broken,
    decode_body,
    decode_header,
    encode_frame,
    proves_torn,
)

FORMAT_VERSION = 1
SUFFIX = ".log"
ZERO_CHUNK_BYTES = 1024 * 1024
"""A segment is extended by this many zeros at a time: a sync that need not move the end of the file
is faster, and zeros are what torn frames are told by."""
MAX_HEADER_BYTES = 1024 * 1024
MAX_SEGMENT_BYTES = 512 * 1024 * 1024
"""A segment is ended before it would grow longer, but for its zeros: a file beyond this is refused unread."""
assert MAX_HEADER_BYTES + 2 * MAX_PAYLOAD_BYTES <= MAX_SEGMENT_BYTES
_NAME = re.compile(r"([0-9a-f]{16})\.log")


class LogHeader(msgspec.Struct, frozen=True, array_like=True):
    """Whose log it is: checked whenever it is opened."""

    cluster: int
    member: int
    protocol: str


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of a segment."""

    format: int
    owner: LogHeader
    number: int
    hard_state: HardState
    """The newest before this segment: no vote is lost with the segments before it."""
    base: SnapshotMeta
    """The log begins just after this."""
    next_index: Index
    """Index of the first entry that a record of this segment may put, if none is truncated."""
    previous_end: int
    """Where the segment before this ends; 0 if it is the log's first. Frames that its end lost are missed by it."""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[SegmentHeader] = msgspec.msgpack.Decoder(SegmentHeader)


def segment_name(number: int) -> str:
    """File name of segment `number`. Numbers grow and are never used twice."""
    return f"{number:016x}{SUFFIX}"


def segment_number(name: str) -> int | None:
    """The number in a segment's file name; None if it is no such name."""
    match = _NAME.fullmatch(name)
    return int(match.group(1), 16) if match else None


def encode_header(header: SegmentHeader) -> bytes:
    """The segment's first bytes. Raises `ValueError` beyond `MAX_HEADER_BYTES`."""
    frame = encode_frame(_encoder.encode(header), header.number, 0, 0)
    if len(frame) > MAX_HEADER_BYTES:
        raise ValueError(f"a segment's header takes {len(frame)} bytes, the limit is {MAX_HEADER_BYTES}")
    return frame


def read_header(data: bytes, name: str, number: int, owner: LogHeader) -> tuple[SegmentHeader, int] | None:
    """The header and where the first frame after it begins; None if it was never wholly written.

    `data`: the segment's bytes, or its first `MAX_HEADER_BYTES`. Raises `LogDamaged`, or `WrongLog` if
    the log is somebody else's.
    """
    frame = decode_header(data[:SECTOR], number, 0)
    if frame is Broken.BLANK or frame is Broken.UNFINISHED:
        return None
    if isinstance(frame, Broken):
        raise LogDamaged(name, 0, frame.value)
    if frame.span > MAX_HEADER_BYTES:
        raise LogDamaged(name, 0, f"its header claims {frame.span} bytes, the limit is {MAX_HEADER_BYTES}")
    body = data[HEADER_BYTES : HEADER_BYTES + frame.body_bytes]
    payload = decode_body(frame, body)
    if isinstance(payload, Broken):
        if proves_torn(frame, body):
            return None
        raise LogDamaged(name, 0, payload.value)
    try:
        header = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise WrongLog(f"log segment {name} has a header that this version can't read: {error}") from error
    _check_owner(header, name, number, owner)
    return header, frame.span


def _check_owner(header: SegmentHeader, name: str, number: int, owner: LogHeader) -> None:
    if header.format != FORMAT_VERSION:
        raise WrongLog(
            f"log segment {name} has format version {header.format}; this program reads {FORMAT_VERSION}",
            advice="Run the version of the program that wrote it, or a later one.",
        )
    if header.number != number:
        raise LogDamaged(name, 0, f"its header says that it is segment {segment_name(header.number)}")
    found = header.owner
    for what, theirs, ours in (
        ("cluster", f"{found.cluster:016x}", f"{owner.cluster:016x}"),
        ("member", f"{found.member:016x}", f"{owner.member:016x}"),
        ("protocol", found.protocol, owner.protocol),
    ):
        if theirs != ours:
            raise WrongLog(f"log segment {name} belongs to {what} {theirs}; this member's is {ours}")
