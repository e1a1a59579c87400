"""Laws of the small parts: frames, endpoints, histograms."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.client.config import ClientConfig
from coterie.client.endpoints import Endpoint, backoff, parse_endpoint, parse_endpoints
from coterie.client.frames import FrameBuffer, FrameError
from coterie.client.histogram import Histogram
from coterie.engine.protocol import MAX_FRAME_BYTES


@given(bodies=st.lists(st.binary(max_size=300), max_size=20), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_frames_are_the_same_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    buffer, found, position, turn = FrameBuffer(), [], 0, 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        found += buffer.feed(stream[position : position + step])
        position += step
        turn += 1
    assert found == bodies


def test_a_frame_that_is_too_long_is_refused_before_it_arrives() -> None:
    with pytest.raises(FrameError, match=str(MAX_FRAME_BYTES)):
        FrameBuffer().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


@given(st.integers(1, 65535), st.sampled_from(["localhost", "10.0.0.1", "a.b-c.example", "::1", "fe80::1%eth0"]))
def test_an_endpoint_reads_back_as_it_is_written(port: int, host: str) -> None:
    assert parse_endpoint(str(Endpoint(host, port))) == Endpoint(host, port)


def test_endpoints_are_told_once_each_in_order() -> None:
    assert parse_endpoints("b:2, [::1]:3,b:2,a:1") == (Endpoint("b", 2), Endpoint("::1", 3), Endpoint("a", 1))


@given(st.integers(1, 1000), st.integers(0, 2**32))
def test_backoff_stays_within_its_bounds(failures: int, seed: int) -> None:
    config = ClientConfig()
    wait = backoff(config, random.Random(seed), failures)
    assert config.backoff_first // 2 < wait <= config.backoff_longest


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=200), st.sampled_from([0.5, 0.99, 0.999, 1.0]))
def test_a_quantile_is_within_a_bucket_of_the_true_one(durations: list[int], fraction: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.record(duration)
    rank = next(n for n in range(1, len(durations) + 1) if n >= fraction * len(durations))
    true = sorted(durations)[rank - 1]
    assert true <= histogram.quantile(fraction) <= true + true // 64 + 1


def test_an_empty_histogram_has_no_quantiles() -> None:
    assert Histogram().quantile(0.5) == 0
