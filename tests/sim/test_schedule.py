"""Time, order and trace of the simulated world."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coterie.sim.clock import Clock
from coterie.sim.schedule import Schedule


@given(st.lists(st.integers(0, 20), max_size=30))
def test_events_run_in_the_order_of_time_and_then_of_making(times: list[int]) -> None:
    schedule, ran = Schedule(), []
    for number, when in enumerate(times):
        schedule.at(when, "e", lambda n=number, w=when: ran.append((w, n)))  # type: ignore[misc]  # defaults bind
    while schedule.step():
        pass
    assert ran == sorted(ran)
    assert len(ran) == len(times)


def test_an_event_of_the_past_runs_now() -> None:
    schedule, ran = Schedule(), []
    schedule.at(10, "late", lambda: schedule.at(3, "past", lambda: ran.append(schedule.now)))
    while schedule.step():
        pass
    assert ran == [10]


def test_the_trace_tells_different_runs_apart() -> None:
    def trace(label: str, when: int, what: bytes) -> str:
        schedule = Schedule()
        schedule.at(when, label, lambda: schedule.record(what))
        schedule.step()
        return schedule.trace()

    assert trace("a", 1, b"x") == trace("a", 1, b"x")
    assert len({trace("a", 1, b"x"), trace("b", 1, b"x"), trace("a", 2, b"x"), trace("a", 1, b"y")}) == 4


@given(st.integers(0, 10**15), st.integers(-100_000, 100_000), st.integers(0, 10**13))
def test_a_clock_says_first_when_it_will_show_a_time(offset: int, rate: int, true: int) -> None:
    clock = Clock(offset, rate)
    shown = clock.read(true)
    first = clock.when(shown)
    assert first <= true
    assert clock.read(first) == shown
    assert first == 0 or clock.read(first - 1) < shown
    assert clock.read(clock.when(shown + 5)) >= shown + 5
