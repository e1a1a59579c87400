"""Draws are whole numbers, spread as they should be, and the same everywhere."""

from __future__ import annotations

from coterie.sim.chance import exponential, happens, stream


def test_streams_are_the_same_on_every_machine() -> None:
    assert [stream(7, "network").randrange(1000) for _ in range(3)] == [stream(7, "network").randrange(1000)] * 3
    assert stream(7, "network").getrandbits(64) != stream(7, "world").getrandbits(64)
    assert stream(7, "network").getrandbits(64) != stream(8, "network").getrandbits(64)


def test_the_exponential_draw_has_its_mean_and_its_tail() -> None:
    rng = stream(1, "test")
    draws = [exponential(rng, 1_000_000) for _ in range(50_000)]
    assert 970_000 < sum(draws) // len(draws) < 1_030_000
    assert 0.04 < sum(d > 3_000_000 for d in draws) / len(draws) < 0.06
    assert max(draws) > 7_000_000


def test_happens_is_as_frequent_as_said() -> None:
    rng = stream(2, "test")
    assert 150 < sum(happens(rng, 20) for _ in range(10_000)) < 250
    assert not any(happens(rng, 0) for _ in range(1000))
    assert all(happens(rng, 1000) for _ in range(1000))
