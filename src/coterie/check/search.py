"""Is there an order of the operations that respects real time and that the object allows?

Wing and Gong, "Testing and Verifying Concurrent Objects" (J. Parallel and Distributed Computing 17, 1993), with the
memory of configurations and the just-in-time order of Lowe, "Testing for Linearizability" (Concurrency and Computation
29(4), 2017), sections 3 and 5. The search walks along the *ends* of operations. At each end it must have linearized
the operation that ends; only then, and only as far as that takes, it linearizes others that have begun. A configuration
is (how many ends are passed, the object's state, which of the operations under way are linearized); none is visited
twice. Two clients' worth of bits suffice for two clients, however long the history is, and the furthest end that any
configuration reached names the shortest beginning of the history that is already wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from coterie.check.history import FOREVER, KeepGoing, Operation
from coterie.check.models.model import IMPOSSIBLE, Action, State, Step

ASK_EVERY: Final = 4096
"""Configurations between two questions whether to keep going."""
MOST_CONFIGURATIONS: Final = 8_000_000
"""Remembered at most, about 150 bytes each; then the verdict is unknown."""


class Outcome(NamedTuple):
    """What a search found."""

    linearizable: bool | None
    """None if it gave up."""
    stuck_at: int
    """Position of the operation whose end no order could pass; -1 unless the verdict is no."""
    states: tuple[State, ...] = ()
    """In which the object could be then."""


class _Move(NamedTuple):
    """An operation under way that might be linearized."""

    bit: int
    step: Step
    earlier: int
    """For an unknown outcome: the bit of the operation before it that does the same; 0 if there is none."""
    unknown: bool


class _End(NamedTuple):
    """The end of an operation: what must be linearized, and what may be."""

    position: int
    must: _Move
    looks: tuple[_Move, ...]
    """Pure operations that were answered."""
    others: tuple[_Move, ...]
    """Operations that may change the state, the earliest first."""
    doubtful: int
    """How many operations of unknown outcome had begun."""


def search(
    history: Sequence[Operation], actions: Sequence[Action], initials: Sequence[State], keep_going: KeepGoing
) -> Outcome:
    """Decide one history. Exponential in the number of operations under way at a time; linear in the history's length
    where few are."""
    ends, doubtful = _walk(history, actions)
    seen: list[set[tuple[State, int]]] = [set() for _ in ends]
    stack: list[tuple[int, State, int, State]] = [(0, state, 0, IMPOSSIBLE) for state in initials]
    furthest = steps = remembered = 0
    while stack:
        passed, state, mask, before = stack.pop()
        steps += 1
        if steps % ASK_EVERY == 0 and (remembered > MOST_CONFIGURATIONS or not keep_going()):
            return Outcome(None, -1)
        passed, mask, looked = _advance(ends, passed, state, mask)
        if passed == len(ends):
            return Outcome(True, -1)
        furthest = max(furthest, passed)
        if (state, mask) in seen[passed]:
            continue
        seen[passed].add((state, mask))
        remembered += 1
        _branch(stack, passed, ends[passed], doubtful, state, mask, IMPOSSIBLE if looked else before)
    states = dict.fromkeys(state for state, _ in seen[furthest])
    return Outcome(False, ends[furthest].position, tuple(states))


def _advance(ends: Sequence[_End], passed: int, state: State, mask: int) -> tuple[int, int, bool]:
    """Past every end that needs no change of the state: how many are passed then, what is linearized, and whether
    there was a look among it. An answered look that fits may always come now: nothing is lost by it."""
    looked = False
    while passed < len(ends):
        end = ends[passed]
        for look in end.looks:
            if not mask & look.bit and look.step(state) is not IMPOSSIBLE:
                mask |= look.bit
                looked = True
        if not mask & end.must.bit:
            break
        mask ^= end.must.bit
        passed += 1
    return passed, mask, looked


def _branch(
    stack: list[tuple[int, State, int, State]],
    passed: int,
    end: _End,
    doubtful: Sequence[_Move],
    state: State,
    mask: int,
    before: State,
) -> None:
    """Push the configurations that one more operation leads to; the likeliest last, to be taken first.

    `before` is the state before the last operation if its outcome was unknown and nobody looked since. If the next one
    leads from there to the same state, the unknown one was of no use: without it the search has more left to try.
    """
    for place in range(end.doubtful - 1, -1, -1):
        move = doubtful[place]
        if mask & move.bit or (move.earlier and not mask & move.earlier):
            continue
        after = move.step(state)
        if after is not IMPOSSIBLE and after != state and (before is IMPOSSIBLE or move.step(before) != after):
            stack.append((passed, after, mask | move.bit, state))
    for move in reversed(end.others):
        if not mask & move.bit and move.bit != end.must.bit:
            after = move.step(state)
            if after is not IMPOSSIBLE and (before is IMPOSSIBLE or move.step(before) != after):
                stack.append((passed, after, mask | move.bit, IMPOSSIBLE))
    after = end.must.step(state)
    if after is not IMPOSSIBLE and (before is IMPOSSIBLE or end.must.step(before) != after):
        stack.append((passed + 1, after, mask, IMPOSSIBLE))


def _walk(history: Sequence[Operation], actions: Sequence[Action]) -> tuple[list[_End], list[_Move]]:
    """Every end, in order, and the operations of unknown outcome, in the order of their starts."""
    moments = [(operation.start, 0, position) for position, operation in enumerate(history)]
    moments += [(operation.end, 1, position) for position, operation in enumerate(history) if operation.known]
    ends: list[_End] = []
    doubtful: list[_Move] = []
    latest: dict[object, int] = {}
    """The bit of the latest operation of unknown outcome that does this."""
    under_way: dict[int, _Move] = {}
    free: list[int] = []
    bits = 0
    for _, ending, position in sorted(moments):
        action, known = actions[position], history[position].end != FOREVER
        if ending:
            others = tuple(move for one, move in under_way.items() if actions[one].effect is not None)
            looks = tuple(move for one, move in under_way.items() if actions[one].effect is None)
            must = under_way.pop(position)
            ends.append(_End(position, must, looks, others, len(doubtful)))
            free.append(must.bit)
        elif known:
            if not free:
                free.append(1 << bits)
                bits += 1
            under_way[position] = _Move(free.pop(), action.step, 0, False)
        elif action.effect is not None:
            doubtful.append(_Move(1 << bits, action.step, latest.get(action.label, 0), True))
            latest[action.label] = 1 << bits
            bits += 1
    return ends, doubtful
