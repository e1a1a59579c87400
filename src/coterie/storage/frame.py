"""Frames: the unit that the log writes and syncs, and how a torn one is told from a damaged one.

One write is one frame, and a frame is begun only when the one before it is durable. So at most the
last frame can be torn by a crash, and only it may be dropped; anything else that does not check is
damage, and damage is never cut off silently.

A frame begins at a multiple of `ALIGNMENT`, so its header lies within one sector. The log is
written into zeros: a sector of a frame that still is all zeros, and was not meant to be, was
never written. That, and nothing else, proves that the frame was torn: a frame whose sectors were
all written may have been acknowledged, and what does not check in it is damage.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple
from zlib import crc32

ALIGNMENT = 64
SECTOR = 512
MAX_PAYLOAD_BYTES = 128 * 1024 * 1024
MAX_ZERO_SECTORS = 2 * MAX_PAYLOAD_BYTES // SECTOR
MAGIC = 0xC07E41E1
_HEADER = struct.Struct("<IIIII")
"""magic, payload length, zero sector runs, crc of the body, crc of this header and the position."""
_RUN = struct.Struct("<II")
_POSITION = struct.Struct("<QQ")
HEADER_BYTES = _HEADER.size
assert HEADER_BYTES <= ALIGNMENT
_ZERO_SECTOR = bytes(SECTOR)
END_MARK = b"\x01"
"""Not zero, so that a frame's last sector, of which it may fill only a part, is never meant to be blank."""


class FrameHeader(NamedTuple):
    """What a frame's first bytes say of it."""

    payload_bytes: int
    zero_runs: int
    body_crc: int

    @property
    def body_bytes(self) -> int:
        """Bytes after the header: the list of zero sectors, the payload, the end mark."""
        return self.zero_runs * _RUN.size + self.payload_bytes + len(END_MARK)

    @property
    def span(self) -> int:
        """Bytes from this frame's beginning to where the next may begin."""
        return aligned(HEADER_BYTES + self.body_bytes)


class Broken(Enum):
    """Why there is no valid frame at a place."""

    BLANK = "nothing was ever written here"
    HEADER = "the frame's header does not check"
    BODY = "the frame's checksum does not match"


def aligned(size: int) -> int:
    """`size`, rounded up to where a frame may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _header_crc(fields: bytes, segment: int, offset: int) -> int:
    """The position is in the checksum: a frame written to, or left over at, a wrong place is no frame."""
    return crc32(_POSITION.pack(segment, offset), crc32(fields))


def encode_frame(payload: bytes, segment: int, offset: int) -> bytes:
    """The bytes of a frame at `offset` of segment `segment`, padded to its span.

    Raises `ValueError` if the payload is empty or longer than `MAX_PAYLOAD_BYTES`.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame's payload has {len(payload)} bytes: it must have 1 to {MAX_PAYLOAD_BYTES}")
    runs = _zero_runs(payload, offset) if _ZERO_SECTOR in payload else b""
    body = b"".join((runs, payload, END_MARK))
    fields = _HEADER.pack(MAGIC, len(payload), len(runs) // _RUN.size, crc32(body), 0)[:-4]
    header = fields + struct.pack("<I", _header_crc(fields, segment, offset))
    size = HEADER_BYTES + len(body)
    return b"".join((header, body, bytes(aligned(size) - size)))


def _zero_runs(payload: bytes, offset: int) -> bytes:
    """The runs of sectors, numbered from the frame's first, that will hold nothing but zeros.

    The list itself moves the payload along, so it is made room for until it no longer grows.
    """
    count = 0
    while True:
        start = offset + HEADER_BYTES + count * _RUN.size
        runs = _runs_at(payload, start, offset // SECTOR)
        if len(runs) <= count:
            # Too long a list (the payload moved) is padded with empty runs.
            runs += [(0, 0)] * (count - len(runs))
            return b"".join(_RUN.pack(first, length) for first, length in runs)
        count = len(runs)


def _runs_at(payload: bytes, start: int, first_sector: int) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    sector = -(-start // SECTOR)
    while (sector + 1) * SECTOR <= start + len(payload):
        begin = sector * SECTOR - start
        if payload[begin : begin + SECTOR] == _ZERO_SECTOR:
            number = sector - first_sector
            if runs and sum(runs[-1]) == number:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((number, 1))
        sector += 1
    return runs


def decode_header(data: bytes, segment: int, offset: int) -> FrameHeader | Broken:
    """The header at the beginning of `data`, which was read at `offset`. Lengths are bounded before
    anybody allocates by them."""
    head = data[:HEADER_BYTES]
    if len(head) < HEADER_BYTES or not any(head):
        return Broken.BLANK if not any(head) else Broken.HEADER
    magic, payload_bytes, zero_runs, body_crc, header_crc = _HEADER.unpack(head)
    if magic != MAGIC or header_crc != _header_crc(head[:-4], segment, offset):
        return Broken.HEADER
    if not 0 < payload_bytes <= MAX_PAYLOAD_BYTES or zero_runs > MAX_ZERO_SECTORS:
        return Broken.HEADER
    return FrameHeader(payload_bytes, zero_runs, body_crc)


def decode_body(header: FrameHeader, body: bytes) -> bytes | Broken:
    """The payload, if the body checks."""
    if len(body) != header.body_bytes or crc32(body) != header.body_crc:
        return Broken.BODY
    return body[header.zero_runs * _RUN.size : -len(END_MARK)]


def proves_torn(header: FrameHeader, frame: bytes, offset: int) -> bool:
    """Whether some sector of this broken frame was never written. `frame` is what stands from the
    frame's beginning on; where the file ends early, nothing was written.

    The list of zero sectors is used only if its own sectors were written; it is not checked apart
    from the body, so a sector counts as unwritten only if it is blank and outside the list, or the
    list itself is blank.
    """
    total = HEADER_BYTES + header.body_bytes
    frame = frame[:total].ljust(total, b"\0")
    blank = [number for number in _whole_sectors(offset, total) if not any(_sector(frame, offset, number))]
    if not blank:
        return False
    list_end = HEADER_BYTES + header.zero_runs * _RUN.size
    last_list_sector = (offset + list_end - 1) // SECTOR - offset // SECTOR if header.zero_runs else 0
    if any(number <= last_list_sector for number in blank):
        return True
    meant = set[int]()
    for position in range(header.zero_runs):
        first, length = _RUN.unpack_from(frame, HEADER_BYTES + position * _RUN.size)
        if length <= MAX_ZERO_SECTORS:
            meant.update(range(first, first + length))
    return any(number not in meant for number in blank)


def _whole_sectors(offset: int, total: int) -> range:
    """Numbers of the sectors that the frame touches after its first; the last may be partly its own."""
    return range(1, (offset + total - 1) // SECTOR - offset // SECTOR + 1)


def _sector(frame: bytes, offset: int, number: int) -> bytes:
    """The frame's part of its sector `number`."""
    begin = (offset // SECTOR + number) * SECTOR - offset
    return frame[begin : begin + SECTOR]


def find_frame(data: bytes, segment: int, base: int, start: int) -> int | None:
    """The offset of the first whole, valid frame at or after `start` in `data` (read at `base`), or None."""
    needle = struct.pack("<I", MAGIC)
    position = data.find(needle, start - base)
    while position >= 0:
        offset = base + position
        if offset % ALIGNMENT == 0:
            header = decode_header(data[position : position + HEADER_BYTES], segment, offset)
            if isinstance(header, FrameHeader):
                body = data[position + HEADER_BYTES : position + HEADER_BYTES + header.body_bytes]
                if not isinstance(decode_body(header, body), Broken):
                    return offset
        position = data.find(needle, position + 1)
    return None
