"""Is there an order of the operations that respects real time and that the object allows?

Wing and Gong, "Testing and Verifying Concurrent Objects" (J. Parallel and Distributed Computing 17, 1993), with the
memory of configurations and the just-in-time order of Lowe, "Testing for Linearizability" (Concurrency and Computation
29(4), 2017), sections 3 and 5. The search walks along the *ends* of operations. At each end it must have linearized
the operation that ends; only then, and only as far as that takes, it linearizes others that have begun. A configuration
is (how many ends are passed, the object's state, which of the operations under way are linearized); none is visited
twice, nor one that has used more operations of unknown outcome than another that is equal in all else. The furthest end
that any configuration reached names the operation that no order has room for.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from coterie.check.history import KeepGoing, Operation
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
    earlier: int = 0
    """For an unknown outcome: the bit of the operation before it that does the same; 0 if there is none."""


class _End(NamedTuple):
    """The end of an operation: what must be linearized, and what may be."""

    position: int
    must: _Move
    looks: tuple[_Move, ...]
    """Pure operations that were answered."""
    others: tuple[_Move, ...]
    """Operations that were answered and may change the state, the earliest first."""
    doubtful: int
    """How many operations of unknown outcome had begun."""


class _Configuration(NamedTuple):
    """A node of the search."""

    passed: int
    """How many ends."""
    state: State
    known: int
    """Bits of the answered operations under way that are linearized."""
    used: int
    """Bits of the operations of unknown outcome that are linearized."""
    before: State
    """The state before the last operation, if its outcome was unknown and nobody looked since; else IMPOSSIBLE. If the
    next operation leads from there to the same state, the unknown one was of no use."""


def search(
    history: Sequence[Operation], actions: Sequence[Action], initials: Sequence[State], keep_going: KeepGoing
) -> Outcome:
    """Decide one history. Exponential in the number of operations under way at a time; linear in the history's length
    where few are."""
    ends, doubtful = _walk(history, actions)
    seen: list[dict[tuple[State, int], list[int]]] = [{} for _ in ends]
    """What was used with each state and known operations: sets none of which holds another."""
    stack = [_Configuration(0, state, 0, 0, IMPOSSIBLE) for state in initials]
    furthest = steps = remembered = 0
    while stack:
        here = stack.pop()
        steps += 1
        if steps % ASK_EVERY == 0 and (remembered > MOST_CONFIGURATIONS or not keep_going()):
            return Outcome(None, -1)
        here = _advance(ends, here)
        if here.passed == len(ends):
            return Outcome(True, -1)
        furthest = max(furthest, here.passed)
        # With fewer of the doubtful operations used, and all else equal, there is more left to try.
        fewer = seen[here.passed].setdefault((here.state, here.known), [])
        if any(used & ~here.used == 0 for used in fewer):
            continue
        fewer[:] = [used for used in fewer if here.used & ~used]
        fewer.append(here.used)
        remembered += 1
        _branch(stack, ends[here.passed], doubtful, here)
    states = dict.fromkeys(state for state, _ in seen[furthest])
    return Outcome(False, ends[furthest].position, tuple(states))


def _advance(ends: Sequence[_End], here: _Configuration) -> _Configuration:
    """Past every end that needs no change of the state. An answered look that fits may always come now: it changes
    nothing, so nothing is lost by it."""
    passed, state, known, used, before = here
    while passed < len(ends):
        end = ends[passed]
        for look in end.looks:
            if not known & look.bit and look.step(state) is not IMPOSSIBLE:
                known |= look.bit
                before = IMPOSSIBLE
        if not known & end.must.bit:
            break
        known ^= end.must.bit
        passed += 1
    return _Configuration(passed, state, known, used, before)


def _branch(stack: list[_Configuration], end: _End, doubtful: Sequence[_Move], here: _Configuration) -> None:
    """Push the configurations that one more operation leads to; the likeliest last, to be taken first."""
    passed, state, known, used, before = here

    def after(move: _Move) -> State:
        following = move.step(state)
        return IMPOSSIBLE if before is not IMPOSSIBLE and move.step(before) == following else following

    for place in range(end.doubtful - 1, -1, -1):
        move = doubtful[place]
        if used & move.bit or (move.earlier and not used & move.earlier):
            continue
        following = after(move)
        if following is not IMPOSSIBLE and following != state:
            stack.append(_Configuration(passed, following, known, used | move.bit, state))
    for move in reversed(end.others):
        if not known & move.bit and move.bit != end.must.bit:
            following = after(move)
            if following is not IMPOSSIBLE:
                stack.append(_Configuration(passed, following, known | move.bit, used, IMPOSSIBLE))
    following = after(end.must)
    if following is not IMPOSSIBLE:
        stack.append(_Configuration(passed + 1, following, known, used, IMPOSSIBLE))


def _walk(history: Sequence[Operation], actions: Sequence[Action]) -> tuple[list[_End], list[_Move]]:
    """Every end, in order, and the operations of unknown outcome, in the order of their starts. Bits of answered
    operations are used again when they have ended."""
    moments = [(operation.start, 0, position) for position, operation in enumerate(history)]
    moments += [(operation.end, 1, position) for position, operation in enumerate(history) if operation.known]
    ends: list[_End] = []
    doubtful: list[_Move] = []
    latest: dict[Hashable, int] = {}
    """The bit of the latest operation of unknown outcome that does this."""
    under_way: dict[int, _Move] = {}
    free: list[int] = []
    bits = 0
    for _, ending, position in sorted(moments):
        action = actions[position]
        if ending:
            others = tuple(move for one, move in under_way.items() if actions[one].effect is not None)
            looks = tuple(move for one, move in under_way.items() if actions[one].effect is None)
            must = under_way.pop(position)
            ends.append(_End(position, must, looks, others, len(doubtful)))
            free.append(must.bit)
        elif history[position].known:
            if not free:
                free.append(1 << bits)
                bits += 1
            under_way[position] = _Move(free.pop(), action.step)
        elif action.effect is not None:
            doubtful.append(_Move(1 << len(doubtful), action.step, latest.get(action.label, 0)))
            latest[action.label] = doubtful[-1].bit
    return ends, doubtful
