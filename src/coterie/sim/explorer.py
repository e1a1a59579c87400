"""Every state that a small system can reach, breadth first; or the shortest way to one that must not be.

A random run tries some orders of events; this tries all of them. It needs a model whose states are hashable values,
few enough to be kept: a few members, a few rounds. What it finds is as short as it can be, so it can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import msgspec

from coterie.core.errors import CoterieError

S = TypeVar("S", bound=Hashable)

DEFAULT_LIMIT_STATES = 1_000_000
"""Distinct states. A tuple of a few numbers takes about 200 bytes with its way back: some 200 MB at this limit."""


class TooManyStates(CoterieError):
    """The system has more states than the limit; nothing is known about those that were not reached."""

    advice = "Make the model's bounds smaller, merge more of its states (`canonical`), or raise the limit."


class NotASymmetry(CoterieError):
    """`canonical` made one of two states whose futures differ: what was explored means nothing."""

    advice = "Merge only states that have, merged again, the same successors."


class Counterexample(msgspec.Struct, Generic[S], frozen=True):
    """A shortest way from the initial state to one that breaks the invariant. Printed, it has one line a step."""

    steps: tuple[object, ...]
    """What successors called each step."""
    reason: str
    """What the invariant said of the last state."""
    state: S

    def __str__(self) -> str:
        """The steps, numbered, and what is wrong at their end."""
        width = len(str(len(self.steps)))
        lines = [f"{number:>{width}}. {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([*lines, f"=> {self.reason}"])


class Exploration(msgspec.Struct, Generic[S], frozen=True):
    """What was seen. Without a counterexample, it was everything."""

    states: int
    """Distinct states; those that `canonical` makes one count once."""
    transitions: int
    """Steps taken, also those that led where others had been."""
    depth: int
    """Steps to the farthest state."""
    counterexample: Counterexample[S] | None = None

    def __str__(self) -> str:
        """Figures, and the counterexample if there is one."""
        figures = f"{self.states} states, {self.transitions} transitions, depth {self.depth}"
        return figures if self.counterexample is None else f"{figures}\n{self.counterexample}"


def explore(
    initial: S,
    successors: Callable[[S], Iterable[tuple[object, S]]],
    invariant: Callable[[S], str | None],
    *,
    canonical: Callable[[S], S] | None = None,
    limit: int = DEFAULT_LIMIT_STATES,
    watch: Callable[[int, int], None] | None = None,
) -> Exploration[S]:
    """Visit every state that can be reached from `initial`, until one breaks the invariant.

    `successors` gives each step that is possible in a state, and the state after it; the step is any object, and is
    printed with `str`. `invariant` gives None, or what is wrong in words. Both must depend on the state alone.

    `canonical` gives one state for many that are alike, such as those in which two members have changed places. It
    must be a symmetry: alike states have alike successors, and the invariant holds in all of them or in none.

    `watch` is told the depth that is begun and how many states there are, for it may take long.

    Raises `TooManyStates` with more than `limit` distinct states, `NotASymmetry` if the way back cannot be walked.
    """
    merged = canonical or _itself
    first = merged(initial)
    came_from: dict[S, S] = {first: first}
    transitions = depth = 0
    if invariant(first) is not None:
        return Exploration(1, 0, 0, _way_to(first, came_from, initial, successors, invariant, merged))
    level = [first]
    while level:
        if watch is not None:
            watch(depth, len(came_from))
        following = []
        for state in level:
            for _, reached in successors(state):
                transitions += 1
                after = merged(reached)
                if after in came_from:
                    continue
                if len(came_from) >= limit:
                    raise TooManyStates(f"more than {limit} distinct states, at depth {depth + 1}")
                came_from[after] = state
                following.append(after)
                if invariant(after) is not None:
                    way = _way_to(after, came_from, initial, successors, invariant, merged)
                    return Exploration(len(came_from), transitions, depth + 1, way)
        depth += bool(following)
        level = following
    return Exploration(len(came_from), transitions, depth)


def _itself(state: S) -> S:
    return state


def _way_to(
    last: S,
    came_from: dict[S, S],
    initial: S,
    successors: Callable[[S], Iterable[tuple[object, S]]],
    invariant: Callable[[S], str | None],
    merged: Callable[[S], S],
) -> Counterexample[S]:
    """Walk from `initial` to `last` again. A merged state stands for many: the walk keeps to the real ones, so that a
    member has the same name in all steps, and is the reason why steps need not be kept."""
    way = [last]
    while way[-1] != came_from[way[-1]]:
        way.append(came_from[way[-1]])
    state, steps = initial, []
    for milestone in reversed(way[:-1]):
        for step, reached in successors(state):
            if merged(reached) == milestone:
                steps.append(step)
                state = reached
                break
        else:
            raise NotASymmetry(f"no step leads from {state!r} to a state like {milestone!r}")
    reason = invariant(state)
    if reason is None:
        raise NotASymmetry(f"the invariant fails in {last!r} and holds in {state!r}, which is like it")
    return Counterexample(tuple(steps), reason, state)
