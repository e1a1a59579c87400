"""Frames come out whole and in order however the stream is cut, and nothing unbounded is kept."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.runtime.frames import FrameError, FrameSplitter, pack_length

LIMIT = 1000


@given(st.lists(st.binary(min_size=1, max_size=LIMIT), max_size=20), st.data())
def test_frames_survive_any_cutting(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pack_length(len(body)) + body for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    splitter = FrameSplitter(LIMIT)
    found: list[bytes] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[begin:end])
    assert found == bodies
    assert splitter.held_bytes == 0


@given(st.binary(max_size=3000))
def test_any_bytes_are_frames_or_an_error(noise: bytes) -> None:
    splitter = FrameSplitter(LIMIT)
    try:
        frames = splitter.feed(noise)
    except FrameError:
        return
    assert sum(len(frame) + 4 for frame in frames) + splitter.held_bytes == len(noise)
    assert splitter.held_bytes <= LIMIT + 4


@pytest.mark.parametrize("length", [0, LIMIT + 1, 2**31, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused_before_its_body_comes(length: int) -> None:
    with pytest.raises(FrameError, match="1 to 1000"):
        FrameSplitter(LIMIT).feed(pack_length(length))


def test_a_large_frame_in_small_pieces_takes_time_linear_in_its_size() -> None:
    body = bytes(4 * 1024 * 1024)
    stream = pack_length(len(body)) + body
    splitter = FrameSplitter(len(body))
    begun = time.perf_counter()
    frames: list[bytes] = []
    for at in range(0, len(stream), 64):
        frames += splitter.feed(stream[at : at + 64])
    assert frames == [body]
    assert time.perf_counter() - begun < 5, "65 000 pieces: quadratic copying would take minutes"
