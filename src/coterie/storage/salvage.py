"""What is still certain of a log that was found damaged: what its member has promised, and how far it may have
acknowledged.

Every frame's header tells both (`frame.Pledge`), so the newest one does, wherever the damage lies, if it can be shown
to be the newest: what stands behind it was never wholly begun. Where that cannot be shown, a promise may be lost. Then
nobody may go on under this member's id: it could vote twice, or deny what it acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.records import Compact, Recovered, Reset
from coterie.core.state import membership_of
from coterie.core.types import Entry, EntryKind, MemberId, Membership
from coterie.storage.errors import LogDamaged, PromisesLost
from coterie.storage.files import Files
from coterie.storage.frame import (
    ALIGNMENT,
    HEADER_BYTES,
    SECTOR,
    Broken,
    FrameHeader,
    Pledge,
    decode_body,
    decode_header,
    find_frame,
)
from coterie.storage.record_codec import Malformed, decode_records
from coterie.storage.segment import MAX_SEGMENT_BYTES, new_segment_number, segment_name, segment_number


def salvage(files: Files, directory: str, own: MemberId, damage: LogDamaged) -> Pledge:
    """What binds the member whose log, in this directory, has this damage.

    Raises `PromisesLost` if that is not certain, or if there is nobody who could give back what is lost; `OSError`.
    """
    if not damage.repairable:
        raise PromisesLost(damage, "what can be read makes no sense, so what cannot may be anything")
    names = files.list(directory)
    newest = max((number for name in names if (number := segment_number(name)) is not None), default=0)
    if any(number > newest + 1 for name in names if (number := new_segment_number(name)) is not None):
        # One was begun, and so the one before it was durable: that is gone.
        raise PromisesLost(damage, f"the log's newest segment, {segment_name(newest + 1)}, is missing")
    pledge = _newest_pledge(_read(files, directory, newest), newest, damage)
    membership = _newest_membership(files, directory)
    if membership is not None and is_alone(membership, own):
        raise PromisesLost(damage, "it is the cluster's only voter: nobody else has what is lost")
    return pledge


def is_alone(membership: Membership, own: MemberId) -> bool:
    """Whether there is no other voter that could give back what is lost."""
    return {*membership.voters, *membership.outgoing} == {own}


def newest_membership(recovered: Recovered) -> Membership:
    """The newest in a log that could be read. Raises `msgspec.DecodeError`, `ConfigurationError`."""
    return membership_of(recovered.memberships[-1]) if recovered.memberships else recovered.base.membership


def _read(files: Files, directory: str, number: int) -> bytes:
    file = files.open(f"{directory}/{segment_name(number)}")
    try:
        return file.read_at(0, MAX_SEGMENT_BYTES)
    finally:
        file.close()


def _headers(data: bytes, number: int) -> Iterator[FrameHeader]:
    """The headers that can be read, one frame after the other, as far as that goes; then from the next one on."""
    offset: int | None = 0
    while offset is not None:
        header = decode_header(data[offset : offset + SECTOR], number, offset)
        if isinstance(header, Broken):
            following = find_frame(data, number, offset + ALIGNMENT, whole=False)
            offset = following.offset if following is not None else None
            continue
        yield header
        offset += header.span


def _newest_pledge(data: bytes, number: int, damage: LogDamaged) -> Pledge:
    """That of the segment's last frame, which must be sure to be the last. A segment got its name together with a frame
    behind its header, so the header alone is never the last."""
    durable_bytes = end = 0
    newest: FrameHeader | None = None
    for header in _headers(data, number):
        newest, end = header, header.offset + header.span
        durable_bytes = max(durable_bytes, header.durable_bytes)
    behind = decode_header(data[end : end + SECTOR], number, end)
    if newest is None or not newest.offset or len(data) < durable_bytes or behind is Broken.HEADER:
        raise PromisesLost(damage, f"the end of segment {segment_name(number)} cannot be read")
    return newest.pledge


def _newest_membership(files: Files, directory: str) -> Membership | None:
    """The newest that can be read, in force or not; None if none can."""
    newest: Membership | None = None
    for name in files.list(directory):
        number = segment_number(name)
        if number is None:
            continue
        data = _read(files, directory, number)
        for header in _headers(data, number):
            begin = header.offset + HEADER_BYTES
            payload = decode_body(header, data[begin : begin + header.body_bytes])
            if isinstance(payload, Broken):
                continue
            try:
                for _, record in decode_records(payload):
                    if isinstance(record, Entry) and record.kind is EntryKind.MEMBERSHIP:
                        newest = membership_of(record)
                    elif isinstance(record, Compact | Reset):
                        newest = record.base.membership
            except (Malformed, msgspec.DecodeError, ConfigurationError):
                continue  # A segment's header is a frame, too.
    return newest
