"""Segments: the files that the log consists of, and the header at the beginning of each."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import HardState, Index, SnapshotMeta
from coterie.storage.errors import LogDamaged, WrongLog
from coterie.storage.files import File
from coterie.storage.frame import (
    FORMAT_VERSION,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    SECTOR,
    Broken,
    Pledge,
    decode_body,
    decode_header,
    earlier_format,
    encode_frame,
)

SUFFIX = ".log"
DAMAGED_SUFFIX = ".damaged"
"""Of a segment that was set aside: evidence, and never read again. (Its number is not used again either.)"""
NEW_SUFFIX = ".new"
"""Of a segment that is still being made: worth nothing before it is renamed."""
MAX_HEADER_BYTES = 1024 * 1024
MAX_SEGMENT_BYTES = 512 * 1024 * 1024
"""A segment is ended before it would grow longer, its zeros included: a file beyond this is refused unread."""
assert MAX_HEADER_BYTES + 2 * MAX_PAYLOAD_BYTES <= MAX_SEGMENT_BYTES
_NAME = re.compile(r"([0-9a-f]{16})\.log")
_NEW_NAME = re.compile(r"([0-9a-f]{16})\.new")
_USED_NAME = re.compile(r"([0-9a-f]{16})\.(?:log|damaged)")


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
    """One past the last entry of the log when this segment was begun."""
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


def new_segment_name(number: int) -> str:
    """File name of segment `number` while it is being made."""
    return f"{number:016x}{NEW_SUFFIX}"


def new_segment_number(name: str) -> int | None:
    """The number in the file name of a segment that was being made; None if it is no such name."""
    match = _NEW_NAME.fullmatch(name)
    return int(match.group(1), 16) if match else None


def damaged_segment_name(number: int) -> str:
    """File name of segment `number` when it is set aside."""
    return f"{number:016x}{DAMAGED_SUFFIX}"


def highest_number(names: Iterable[str]) -> int:
    """Of the segments with these file names, in use or set aside; 0 if there is none."""
    matches = (_USED_NAME.fullmatch(name) for name in names)
    return max((int(match.group(1), 16) for match in matches if match), default=0)


def begins_log(file: File, number: int) -> bool:
    """Whether the log begins with this segment: the first of all, or the first since the log was begun anew."""
    frame = decode_header(file.read_at(0, SECTOR), number, 0)
    if isinstance(frame, Broken) or frame.span > MAX_HEADER_BYTES:
        return False
    payload = decode_body(frame, file.read_at(HEADER_BYTES, frame.body_bytes))
    if isinstance(payload, Broken):
        return False
    try:
        return _decoder.decode(payload).previous_end == 0
    except (msgspec.DecodeError, ConfigurationError):
        return False


def encode_header(header: SegmentHeader, initial_bytes: int) -> bytes:
    """The segment's first bytes. Raises `ValueError` beyond `MAX_HEADER_BYTES`.

    `initial_bytes`: the length that the file has when it gets its name. It does not change the header's length.
    """
    pledge = Pledge.of(header.hard_state, header.next_index - 1)
    frame = encode_frame(_encoder.encode(header), header.number, 0, initial_bytes, pledge)
    if len(frame) > MAX_HEADER_BYTES:
        raise ValueError(f"a segment's header takes {len(frame)} bytes, the limit is {MAX_HEADER_BYTES}")
    return frame


def read_header(data: bytes, name: str, number: int, owner: LogHeader) -> tuple[SegmentHeader, int]:
    """The header and where the first frame after it begins.

    `data`: all of the segment's bytes. Raises `LogDamaged`, or `WrongLog` if the log is somebody else's. A
    segment gets its name when its first write is durable, so no crash explains a header that is not whole.
    """
    frame = decode_header(data[:SECTOR], number, 0)
    if isinstance(frame, Broken):
        earlier = earlier_format(data)
        raise LogDamaged(name, 0, frame.value) if earlier is None else _other_format(name, earlier)
    if frame.span > MAX_HEADER_BYTES:
        raise LogDamaged(name, 0, f"its header claims {frame.span} bytes, the limit is {MAX_HEADER_BYTES}")
    if frame.durable_bytes > len(data):
        raise cut_short(name, len(data), frame.durable_bytes)
    body = data[HEADER_BYTES : HEADER_BYTES + frame.body_bytes]
    payload = decode_body(frame, body)
    if isinstance(payload, Broken):
        raise LogDamaged(name, 0, payload.value)
    try:
        header = _decoder.decode(payload)
    except (msgspec.DecodeError, ConfigurationError) as error:
        raise WrongLog(f"log segment {name} has a header that this version can't read: {error}") from error
    _check_owner(header, name, number, owner)
    return header, frame.span


def cut_short(name: str, size: int, durable_bytes: int) -> LogDamaged:
    """The error of a segment that is shorter than a frame of it says."""
    return LogDamaged(name, size, f"the file was cut here: it had {durable_bytes} durable bytes")


def _other_format(name: str, version: int) -> WrongLog:
    return WrongLog(
        f"log segment {name} has format version {version}; this program reads {FORMAT_VERSION}",
        advice="Run the version of the program that wrote it; or let this member join anew (remove it, then add it).",
    )


def _check_owner(header: SegmentHeader, name: str, number: int, owner: LogHeader) -> None:
    if header.format != FORMAT_VERSION:
        raise _other_format(name, header.format)
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
