"""A frame is read as it was written, or it is told what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.storage.logs import PLEDGE, payloads

from coterie.storage.frame import (
    ALIGNMENT,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    SECTOR,
    Broken,
    FrameHeader,
    aligned,
    decode_body,
    decode_header,
    encode_frame,
    find_frame,
    frame_span,
    proves_torn,
)

SEGMENT = 7
offsets = st.integers(0, 40).map(lambda number: number * ALIGNMENT)
some_payloads = st.one_of(payloads(), st.integers(1, 3000).map(bytes), st.binary(max_size=2000)).filter(bool)


def judge(data: bytes, offset: int, segment: int = SEGMENT) -> bytes | Broken | str:
    """What recovery would say of the last frame: its payload, why it is broken, or that it is torn."""
    header = decode_header(data[:SECTOR], segment, offset)
    if isinstance(header, Broken):
        return "torn" if header in (Broken.BLANK, Broken.UNFINISHED) else header
    body = data[HEADER_BYTES : HEADER_BYTES + header.body_bytes]
    payload = decode_body(header, body)
    if payload is Broken.BODY and proves_torn(header, body):
        return "torn"
    return payload


def sectors(offset: int, size: int) -> list[slice]:
    """The frame's parts of the sectors that it touches."""
    ends = [*range(SECTOR - offset % SECTOR, size, SECTOR), size]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]


@given(some_payloads, offsets, st.integers(0, 2**40))
def test_a_frame_is_read_as_it_was_written(payload: bytes, offset: int, durable: int) -> None:
    frame = encode_frame(payload, SEGMENT, offset, durable, PLEDGE)
    header = decode_header(frame[:SECTOR], SEGMENT, offset)
    assert isinstance(header, FrameHeader)
    assert (header.durable_bytes, header.pledge) == (durable, PLEDGE)
    assert len(frame) == header.span == frame_span(len(payload), offset) == aligned(len(frame))
    assert HEADER_BYTES + header.body_bytes <= len(frame) < HEADER_BYTES + header.body_bytes + ALIGNMENT
    assert decode_body(header, frame[HEADER_BYTES : HEADER_BYTES + header.body_bytes]) == payload
    found = find_frame(bytes(offset) + frame + bytes(100), SEGMENT, 0)
    assert found == header


@given(some_payloads, offsets)
def test_the_last_byte_of_each_sector_and_of_the_frame_is_a_mark(payload: bytes, offset: int) -> None:
    frame = encode_frame(payload, SEGMENT, offset, 0, PLEDGE)
    header = decode_header(frame[:SECTOR], SEGMENT, offset)
    assert isinstance(header, FrameHeader)
    body = frame[: HEADER_BYTES + header.body_bytes]
    for part in sectors(offset, len(body)):
        assert body[part][-1] == 0xFF


@given(some_payloads, offsets, st.data())
def test_any_part_of_the_sectors_is_the_whole_frame_or_torn(payload: bytes, offset: int, data: st.DataObject) -> None:
    """Sectors are written whole, or their heads only: always known for what it is, never for damage."""
    frame = encode_frame(payload, SEGMENT, offset, 0, PLEDGE)
    left = bytearray(len(frame))
    for part in sectors(offset, len(frame)):
        length = part.stop - part.start
        kept = data.draw(st.one_of(st.sampled_from([0, length, length]), st.integers(0, length)))
        left[part.start : part.start + kept] = frame[part.start : part.start + kept]
    cut = data.draw(st.sampled_from([len(left), len(left.rstrip(b"\0"))]))
    verdict = judge(bytes(left[:cut]), offset)
    assert verdict == (payload if left == frame else "torn")


@given(some_payloads, offsets, st.data())
def test_trimming_a_torn_frame_may_stop_anywhere(payload: bytes, offset: int, data: st.DataObject) -> None:
    """Any part of the zeros that recovery writes over a torn frame leaves a torn frame."""
    frame = encode_frame(payload, SEGMENT, offset, 0, PLEDGE)
    parts = sectors(offset, len(frame))
    left = bytearray(frame)
    lost = parts[data.draw(st.integers(0, len(parts) - 1))]
    left[lost] = bytes(lost.stop - lost.start)
    for part in parts:
        length = part.stop - part.start
        zeros = data.draw(st.one_of(st.sampled_from([0, length]), st.integers(0, length)))
        left[part.start : part.start + zeros] = bytes(zeros)
    assert judge(bytes(left), offset) == "torn"


@pytest.mark.parametrize("offset", [0, 64, 448])
@pytest.mark.parametrize(
    "payload",
    [b"x", bytes(1500), b"\x01" + bytes(1021), bytes(461) + b"\x01", bytes(700) + b"\x80" + bytes(700), b"\xff" * 900],
    ids=["short", "zeros", "one at the begin", "one at the end", "one in the middle", "ones"],
)
def test_no_flipped_bit_is_taken_for_a_torn_frame(payload: bytes, offset: int) -> None:
    frame = encode_frame(payload, SEGMENT, offset, 0, PLEDGE)
    header = decode_header(frame[:SECTOR], SEGMENT, offset)
    assert isinstance(header, FrameHeader)
    used = HEADER_BYTES + header.body_bytes
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        verdict = judge(bytes(damaged), offset)
        expected = {Broken.HEADER, Broken.BODY} if bit // 8 < used else {payload}
        assert verdict in expected, bit


@given(some_payloads, offsets, offsets, st.integers(0, 3))
def test_a_frame_at_another_place_is_no_frame(payload: bytes, offset: int, other: int, segment: int) -> None:
    frame = encode_frame(payload, SEGMENT, offset, 0, PLEDGE)
    assert judge(frame, offset, segment) is Broken.HEADER
    if other != offset:
        assert judge(frame, other) is Broken.HEADER
    assert find_frame(bytes(other) + frame, segment, 0) is None


def test_a_new_tail_behind_an_old_head_is_damage() -> None:
    """The documented limit: disks write a sector from its beginning, or whole."""
    frame = encode_frame(b"y" * 1500, SEGMENT, 0, 0, PLEDGE)
    assert judge(frame[:600].ljust(700, b"\0") + frame[700:], 0) is Broken.BODY


@given(st.binary(max_size=600), offsets)
def test_bytes_that_are_no_frame_are_never_one(data: bytes, offset: int) -> None:
    assert isinstance(decode_header(data[:SECTOR], SEGMENT, offset), Broken)


def test_lengths_are_bounded() -> None:
    for payload in (b"", bytes(MAX_PAYLOAD_BYTES + 1)):
        with pytest.raises(ValueError, match="payload has"):
            encode_frame(payload, SEGMENT, 0, 0, PLEDGE)
