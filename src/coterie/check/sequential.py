"""Is there one order of all operations that respects each process's own order and that the object allows?

Lamport, "How to Make a Multiprocessor Computer That Correctly Executes Multiprocess Programs" (IEEE Transactions on
Computers C-28(9), 1979). A search over how far each process has come; exponential in the number of processes (Gibbons
and Korach 1997 prove the problem NP-complete), so it takes a budget of steps. Not local: a store of sequentially
consistent keys need not be sequentially consistent, so all keys are searched together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from coterie.check.history import KeepGoing, Operation, by_process
from coterie.check.linearizability import parts
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State


def sequential(history: Sequence[Operation], model: Model, keep_going: KeepGoing) -> bool | None:
    """The verdict; None if `keep_going`, asked at every step, said no before there was one."""
    return _Walk(history, model).search(keep_going)


class _Step(NamedTuple):
    """An operation on one of the object's independent parts."""

    part: int
    action: Action

    def __call__(self, state: tuple[State, ...]) -> tuple[State, ...] | None:
        """The state of all parts afterwards; None if the operation could not have had its result."""
        after = self.action.step(state[self.part])
        if after is IMPOSSIBLE:
            return None
        return (*state[: self.part], after, *state[self.part + 1 :])


class _Walk:
    def __init__(self, history: Sequence[Operation], model: Model) -> None:
        split = parts(history, model)
        self._initials = list(product(*(model.initials(part) for part in split)))
        steps = {
            id(operation): _Step(number, action)
            for number, part in enumerate(split)
            for operation, action in zip(part, model.actions(part), strict=True)
        }
        self._lanes: list[list[_Step]] = []
        self._doubtful: list[tuple[int, int, _Step]] = []
        """Operations of unknown outcome: after how many known ones of which lane they may come."""
        for lane, mine in enumerate(by_process(history).values()):
            known: list[_Step] = []
            for operation in mine:
                step = steps[id(operation)]
                if operation.known:
                    known.append(step)
                elif step.action.effect is not None:
                    self._doubtful.append((lane, len(known), step))
            self._lanes.append(known)

    def search(self, keep_going: KeepGoing) -> bool | None:
        start = (0,) * len(self._lanes)
        stack: list[tuple[tuple[int, ...], int, tuple[State, ...]]] = [(start, 0, state) for state in self._initials]
        seen: set[tuple[tuple[int, ...], int, tuple[State, ...]]] = set()
        while stack:
            done, happened, state = stack.pop()
            done = self._look(done, state)
            if all(count == len(lane) for count, lane in zip(done, self._lanes, strict=True)):
                return True
            if (done, happened, state) in seen:
                continue
            if not keep_going():
                return None
            seen.add((done, happened, state))
            stack += self._branches(done, happened, state)
        return False

    def _look(self, done: tuple[int, ...], state: tuple[State, ...]) -> tuple[int, ...]:
        """Past what changes nothing and fits: it may always come now."""
        counts = list(done)
        for number, lane in enumerate(self._lanes):
            while counts[number] < len(lane):
                step = lane[counts[number]]
                if step.action.effect is not None or step(state) is None:
                    break
                counts[number] += 1
        return tuple(counts)

    def _branches(
        self, done: tuple[int, ...], happened: int, state: tuple[State, ...]
    ) -> list[tuple[tuple[int, ...], int, tuple[State, ...]]]:
        found: list[tuple[tuple[int, ...], int, tuple[State, ...]]] = []
        for number, (lane, after, step) in enumerate(self._doubtful):
            if not happened >> number & 1 and done[lane] >= after:
                following = step(state)
                if following is not None and following != state:
                    found.append((done, happened | 1 << number, following))
        for number, known in enumerate(self._lanes):
            if done[number] < len(known):
                following = known[done[number]](state)
                if following is not None:
                    found.append(((*done[:number], done[number] + 1, *done[number + 1 :]), happened, following))
        return found
