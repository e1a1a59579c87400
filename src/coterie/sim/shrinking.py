"""The smallest run that still fails: fewer fault classes, members and clients, and a shorter time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.errors import CoterieError
from coterie.core.types import Nanos
from coterie.sim.campaign import EXCEPTION
from coterie.sim.options import Options, with_faults
from coterie.sim.verdict import Result

FINEST: Nanos = 10 * MILLISECOND
"""A prefix is not cut more finely."""


class Shrunk(msgspec.Struct, frozen=True):
    """A run that fails by the same check as the one that was found, and is no larger."""

    options: Options
    result: Result
    attempts: int
    complete: bool
    """Nothing that is tried makes it smaller; False: time was up before that was known."""


def shrink(
    options: Options, result: Result, run: Callable[[Options], Result], may_go_on: Callable[[Options, int], bool]
) -> Shrunk:
    """Make a failing run smaller, as long as the *same* check fails (another one would be another bug).

    `may_go_on`: asked before each attempt, with the smallest run so far and the number of attempts; False ends it.

    A shorter time heals the world earlier, so what is left is the prefix of its misfortunes that is needed: the harm
    may show only later. Classes go by halves, then by ones (delta debugging, Zeller and Hildebrandt 2002).
    """
    return _Shrinking(options, result, run, may_go_on).whole()


class _OutOfTime(CoterieError):
    """The caller ends it."""


class _Shrinking:
    def __init__(
        self,
        options: Options,
        result: Result,
        run: Callable[[Options], Result],
        may_go_on: Callable[[Options, int], bool],
    ) -> None:
        self._best, self._result = options, result
        self._fault = _named(result)
        self._run = run
        self._may_go_on = may_go_on
        self._attempts = 0
        self._tried: set[Options] = {options}

    def whole(self) -> Shrunk:
        complete = True
        try:
            before = None
            while before != self._best:
                before = self._best
                self._shorten()
                self._drop_faults()
                self._first_of(self._smaller("nodes"))
                self._first_of(self._smaller("clients"))
        except _OutOfTime:
            complete = False
        return Shrunk(self._best, self._result, self._attempts, complete)

    def _fails(self, candidate: Options) -> bool:
        if candidate in self._tried:
            return candidate == self._best
        if not self._may_go_on(self._best, self._attempts):
            raise _OutOfTime("the time for making it smaller is over")
        self._tried.add(candidate)
        self._attempts += 1
        result = self._run(candidate)
        if _named(result) != self._fault:
            return False
        self._best, self._result = candidate, result
        return True

    def _shorten(self) -> None:
        """By bisection, though nothing says that a longer prefix of a failing one must fail."""
        longest = self._best.duration
        if self._result.ended_at < longest:
            self._fails(self._lasting(-(-self._result.ended_at // FINEST) * FINEST))
        passes = 0
        while self._best.duration - passes > max(FINEST, self._best.duration // 20):
            middle = (self._best.duration + passes) // 2 // FINEST * FINEST
            if middle <= passes:
                return
            if not self._fails(self._lasting(middle)):
                passes = middle

    def _lasting(self, duration: Nanos) -> Options:
        return msgspec.structs.replace(self._best, duration=duration)

    def _drop_faults(self) -> None:
        size = len(self._best.faults)
        while size:
            faults = self._best.faults
            parts = (faults[at : at + size] for at in range(0, len(faults), size))
            fewer = (tuple(fault for fault in faults if fault not in part) for part in parts)
            if not self._first_of(with_faults(self._best, left) for left in fewer):
                size //= 2

    def _smaller(self, name: str) -> Iterator[Options]:
        return (msgspec.structs.replace(self._best, **{name: few}) for few in range(1, getattr(self._best, name)))

    def _first_of(self, candidates: Iterator[Options]) -> bool:
        return any(self._fails(candidate) for candidate in candidates)


def _named(result: Result) -> tuple[str, str]:
    """What failed: the check; of an exception also what it says, but for numbers."""
    return result.check, re.sub(r"\d+", "", result.detail.partition("\n")[0]) if result.check == EXCEPTION else ""
