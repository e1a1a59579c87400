"""Frames: the unit that the log writes and syncs, and how a torn one is told from a damaged one.

One write is one frame, and a frame is begun only when the one before it is durable. So at most the
last frame can be torn by a crash, and only it may be dropped; anything else that does not check is
damage, and damage is never cut off silently.

The log is written into zeros, and the last byte of every sector that a frame fills, the last byte of
its header and its own last byte are *marks*: never zero, whatever the payload holds. A mark that is
zero proves that its sector was not wholly written when the power failed, so that the frame was never
acknowledged. That, and nothing else, proves it: a frame whose marks all stand may have been
acknowledged, and what does not check in it is damage. (A mark has more than one bit, so that one
flipped bit cannot forge the proof.)

A frame's header has a checksum of its own, and says how the log stands after the frame (`Pledge`): where entries are
damaged, what the member has promised is still known, and how far it may have acknowledged ("Protocol-Aware Recovery",
FAST 2018, 3.3: the identifiers of entries are kept apart from them).

A frame begins at a multiple of `ALIGNMENT`, so its header lies within one sector. What disks promise
is that a sector is written whole or not at all. Half a sector, its head new and its tail old, is
recognised, too. A new tail behind an old head is not, and is refused as damage.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple
from zlib import crc32

from coterie.core.types import Epoch, HardState, Index, MemberId

ALIGNMENT = 64
SECTOR = 512
MAX_PAYLOAD_BYTES = 128 * 1024 * 1024
FORMAT_VERSION = 2
"""Of frames and of what is in them. 1 had no pledges."""
_FAMILY = 0xC07E41E0
MAGIC = _FAMILY | FORMAT_VERSION
"""Its first byte on disk is a mark, too: a header that begins with zero was never begun, or was trimmed away."""
MARK = b"\xff"
_FIELDS = struct.Struct("<IIQIQQQQ")
"""magic, payload length, durable length of the file, crc of the body; and the pledge: round and node of the epoch,
vote, last index."""
_CRC = struct.Struct("<I")
_POSITION = struct.Struct("<QQ")
_CRC_END = _FIELDS.size + _CRC.size
HEADER_BYTES = _CRC_END + len(MARK)
assert HEADER_BYTES <= ALIGNMENT
_MOST_BESIDE = HEADER_BYTES + ALIGNMENT + 8
"""In a frame, beside its payload and the list of what marks took the place of but for its last two bytes."""
_NEEDLE = struct.pack("<I", MAGIC)
assert all(_NEEDLE)


class Pledge(NamedTuple):
    """How the log stands after a frame: what binds the member from then on."""

    epoch: Epoch
    vote: MemberId
    last: Index
    """The log's end; or what is owed to a repair under way, if that is more."""

    @classmethod
    def of(cls, state: HardState, last: Index) -> Pledge:
        """The pledge of a log with this hard state and this end."""
        return cls(state.epoch, state.vote, max(last, state.repair.until if state.repair is not None else 0))


def earlier_format(data: bytes) -> int | None:
    """The format's version, if `data` begins with a frame of an earlier one. (No single flipped bit makes one.)"""
    magic = int.from_bytes(data[: len(_NEEDLE)], "little")
    return magic - _FAMILY if _FAMILY < magic < MAGIC else None


class FrameHeader(NamedTuple):
    """What a frame's first bytes say of it."""

    offset: int
    """Where it begins in its segment."""
    payload_bytes: int
    durable_bytes: int
    """The file had this many durable bytes when the frame was begun: a shorter one was cut."""
    body_crc: int
    pledge: Pledge

    @property
    def moved_bytes(self) -> int:
        """Bytes of the payload that marks stand in the place of."""
        return _moved_bytes(self.payload_bytes, self.offset)

    @property
    def list_begin(self) -> int:
        """Where in the body the list of moved bytes begins: at an even address of the file."""
        return _list_begin(self.payload_bytes, self.offset)

    @property
    def body_bytes(self) -> int:
        """Bytes after the header: the payload, the bytes that marks took the place of, the last mark."""
        return _body_bytes(self.payload_bytes, self.offset)

    @property
    def span(self) -> int:
        """Bytes from this frame's beginning to where the next may begin."""
        return frame_span(self.payload_bytes, self.offset)


class Broken(Enum):
    """Why there is no valid frame at a place."""

    BLANK = "nothing was ever written here"
    UNFINISHED = "the frame's header was not wholly written"
    HEADER = "the frame's header does not check"
    BODY = "the frame's checksum does not match"


def aligned(size: int) -> int:
    """`size`, rounded up to where a frame may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def frame_span(payload_bytes: int, offset: int) -> int:
    """Bytes that the frame of such a payload takes at `offset`."""
    return aligned(HEADER_BYTES + _body_bytes(payload_bytes, offset))


def frame_bound(payload_bytes: int) -> int:
    """Bytes that the frame of such a payload takes at most, wherever it stands."""
    return payload_bytes + payload_bytes * 2 // SECTOR + _MOST_BESIDE


def _body_bytes(payload_bytes: int, offset: int) -> int:
    moved = _moved_bytes(payload_bytes, offset)
    return (_list_begin(payload_bytes, offset) + 2 * moved if moved else payload_bytes) + len(MARK)


def _moved_bytes(payload_bytes: int, offset: int) -> int:
    return len(range(_first_mark(offset), payload_bytes, SECTOR))


def _list_begin(payload_bytes: int, offset: int) -> int:
    return payload_bytes + ((offset + HEADER_BYTES + payload_bytes) & 1)


def _first_mark(offset: int) -> int:
    """Where in the body of the frame at `offset` the first byte stands that is the last of a sector."""
    return (SECTOR - 1 - offset - HEADER_BYTES) % SECTOR


def _header_crc(fields: bytes | memoryview, segment: int, offset: int) -> int:
    """The position is in the checksum: a frame written to, or left over at, a wrong place is no frame."""
    return crc32(_POSITION.pack(segment, offset), crc32(fields))


def encode_frame(payload: bytes, segment: int, offset: int, durable_bytes: int, pledge: Pledge) -> bytes:
    """The bytes of a frame at `offset` of segment `segment`, padded to its span.

    `durable_bytes`: the length that the file is known to have. `pledge`: how the log stands after it. Raises
    `ValueError` if the payload is empty or longer than `MAX_PAYLOAD_BYTES`.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame's payload has {len(payload)} bytes: it must have 1 to {MAX_PAYLOAD_BYTES}")
    body = _marked(payload, offset)
    epoch, vote, last = pledge
    fields = _FIELDS.pack(MAGIC, len(payload), durable_bytes, crc32(body), epoch.round, epoch.node, vote, last)
    crc = _CRC.pack(_header_crc(fields, segment, offset))
    size = HEADER_BYTES + len(body)
    return b"".join((fields, crc, MARK, body, bytes(aligned(size) - size)))


def _marked(payload: bytes, offset: int) -> bytes | bytearray:
    """The body: marks in their places, and after the payload the bytes that stood there.

    In the list every second byte, at odd addresses, is a mark as well: so those that are a sector's last are.
    """
    first = _first_mark(offset)
    if first >= len(payload):
        return payload + MARK
    body = bytearray(payload)
    moved = body[first::SECTOR]
    body[first::SECTOR] = MARK * len(moved)
    if (offset + HEADER_BYTES + len(payload)) & 1:
        body += MARK
    pairs = bytearray(MARK) * (2 * len(moved))
    pairs[::2] = moved
    body += pairs
    body += MARK
    return body


def decode_header(data: bytes | memoryview, segment: int, offset: int) -> FrameHeader | Broken:
    """The header at the beginning of `data`: what stands at `offset`, at least to the end of its sector or of the
    file. Lengths are bounded before anybody allocates by them."""
    if not len(data) or data[0] == 0:
        return Broken.BLANK
    if len(data) >= HEADER_BYTES:
        magic, payload_bytes, durable_bytes, body_crc, round_, node, vote, last = _FIELDS.unpack_from(data)
        (crc,) = _CRC.unpack_from(data, _FIELDS.size)
        if (
            magic == MAGIC
            and data[_CRC_END] == MARK[0]
            and crc == _header_crc(data[: _FIELDS.size], segment, offset)
            and 0 < payload_bytes <= MAX_PAYLOAD_BYTES
        ):
            return FrameHeader(offset, payload_bytes, durable_bytes, body_crc, Pledge(Epoch(round_, node), vote, last))
    # Half a sector: from somewhere inside the header on, to the end of the sector, all is as it was before.
    if not any(data[_CRC_END : SECTOR - offset % SECTOR]):
        return Broken.UNFINISHED
    return Broken.HEADER


def decode_body(header: FrameHeader, body: bytes | memoryview) -> bytes | Broken:
    """The payload, if the body (what follows the header) checks."""
    if len(body) != header.body_bytes or crc32(body) != header.body_crc:
        return Broken.BODY
    size, moved = header.payload_bytes, header.moved_bytes
    if not moved:
        return bytes(body[:size])
    payload = bytearray(body[:size])
    begin = header.list_begin
    payload[_first_mark(header.offset) :: SECTOR] = bytes(body[begin : begin + 2 * moved : 2])
    return bytes(payload)


def proves_torn(header: FrameHeader, body: bytes | memoryview) -> bool:
    """Whether a mark of this broken frame was never written. `body` is what stands after the
    header; where the file ends early, nothing was written."""
    whole = bytes(body[: header.body_bytes]).ljust(header.body_bytes, b"\0")
    return whole[-1] == 0 or 0 in whole[_first_mark(header.offset) :: SECTOR]


def find_frame(data: bytes, segment: int, start: int, *, whole: bool = True) -> FrameHeader | None:
    """The first valid frame at or after `start` in a segment's bytes, or None. `whole`: not only its header."""
    view = memoryview(data)
    offset = data.find(_NEEDLE, start)
    while offset >= 0:
        if offset % ALIGNMENT == 0:
            header = decode_header(view[offset : offset + SECTOR], segment, offset)
            if isinstance(header, FrameHeader):
                begin = offset + HEADER_BYTES
                if not whole or not isinstance(decode_body(header, view[begin : begin + header.body_bytes]), Broken):
                    return header
        offset = data.find(_NEEDLE, offset + 1)
    return None
