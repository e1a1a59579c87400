"""Long work that nobody waits for gives way to what somebody waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

REST = 5.0
"""For each second that a thread had to wait in its last piece of work, it rests so many ..."""
MAX_REST_S = 0.15
"""... but no longer than this: work goes on, whatever the load."""


class Pace:
    """One job's, in its thread: call `give_way` after each piece of work.

    A thread that the interpreter's lock, the processor or the disk kept waiting has competitors there, and delays them
    as they delay it; so it rests for a multiple of the time that it waited. Alone it waits, and rests, for next to
    nothing. What breaks without it: writing, sending and installing a snapshot take half of a loaded cluster's rate.
    """

    def __init__(
        self,
        stopping: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begins now, in the thread that works. `used`: the thread's processor time, in seconds."""
        self._stopping = stopping
        self._clock = clock
        self._used = used
        self._sleep = sleep
        self._at, self._spent = clock(), used()

    def give_way(self) -> None:
        """A piece is done: rest if it was kept waiting."""
        waited = (self._clock() - self._at) - (self._used() - self._spent)
        if waited > 0 and not self._stopping():
            self._sleep(min(waited * REST, MAX_REST_S))
        self._at, self._spent = self._clock(), self._used()
