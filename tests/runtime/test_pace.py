"""Long work gives way where it is kept waiting, and nowhere else."""

from __future__ import annotations

from coterie.runtime.pace import MAX_REST_S, REST, Pace


class Thread:
    """A thread's clocks, and how it rests."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 7.0
        self.rests: list[float] = []
        self.stopping = False
        self.pace = Pace(lambda: self.stopping, clock=lambda: self.now, used=lambda: self.used, sleep=self.rest)

    def rest(self, seconds: float) -> None:
        self.rests.append(round(seconds, 6))
        self.now += seconds

    def work(self, used: float, waited: float = 0.0) -> None:
        """One piece."""
        self.used += used
        self.now += used + waited
        self.pace.give_way()


def test_who_was_not_kept_waiting_does_not_rest() -> None:
    thread = Thread()
    for _ in range(5):
        thread.work(0.25)
    assert thread.rests == []


def test_who_was_kept_waiting_rests_a_multiple_of_it_and_the_rest_is_no_waiting() -> None:
    thread = Thread()
    thread.work(0.25, waited=0.002)
    thread.work(0.25)
    thread.work(0.25, waited=0.004)
    assert thread.rests == [0.002 * REST, 0.004 * REST]


def test_no_rest_is_longer_than_the_bound() -> None:
    thread = Thread()
    thread.work(0.001, waited=60.0)
    assert thread.rests == [MAX_REST_S]


def test_who_is_to_stop_does_not_rest() -> None:
    thread = Thread()
    thread.stopping = True
    thread.work(0.001, waited=1.0)
    assert thread.rests == []
