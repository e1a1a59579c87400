"""A history that is wrong, made small: few operations that are wrong already, and can be read.

Only what may be taken out *soundly* is taken out: whenever the larger history is right, the smaller one is. So the
small one shows what is wrong with the large one. Answered operations that change nothing may always go; for the others
the model says which may (`Model.removals`): a write that somebody read stays with its reader.

The way of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (IEEE TSE 28(2), 2002): take out
halves, then smaller pieces, down to single ones, as long as what is left is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from coterie.check.history import KeepGoing, Operation, always
from coterie.check.linearizability import Linearizability, cut, linearizable
from coterie.check.models.model import Model

Groups = Callable[[Sequence[Operation]], list[tuple[int, ...]]]
"""Groups of operations, by position, each of which may be taken out soundly."""
Wrong = Callable[[Sequence[Operation]], bool]
"""Whether these operations alone are wrong already."""


MOST_QUESTIONS: Final = 40
"""Asked whether to keep going before a looser model is given up; each stands for some thousands of steps."""


class Counterexample(msgspec.Struct, frozen=True):
    """A few operations of a history that no execution of the model can have."""

    model: str
    """Which consistency model they break: `linearizable`, `causal` ..."""
    operations: tuple[Operation, ...]
    """In the order of their starts; what had not ended when it went wrong has an unknown outcome."""
    culprit: Operation | None
    """The one that has no place, if it is one."""
    reason: str


def smallest(history: Sequence[Operation], model: Model, keep_going: KeepGoing = always) -> Counterexample | None:
    """A small part of the history that is not linearizable; None if the history is, or if the check gave up."""
    found = linearizable(history, model, keep_going)
    return minimised(found, model, keep_going) if found.holds is False else None


def minimised(found: Linearizability, model: Model, keep_going: KeepGoing = always) -> Counterexample:
    """What was found wrong, made small. When `keep_going` says no, what is left by then is returned: not the smallest,
    but wrong."""
    looser = model.looser()
    if looser is not None:
        still = _loosely(found, looser, keep_going)
        if still is not None:
            return minimised(still, looser, keep_going)

    def wrong(operations: Sequence[Operation]) -> bool:
        return linearizable(operations, model, keep_going).holds is False

    def groups(operations: Sequence[Operation]) -> list[tuple[int, ...]]:
        pure = [(place,) for place, action in enumerate(model.actions(operations)) if action.effect is None]
        return [*pure, *(group for group in model.removals(operations) if group not in pure)]

    operations = found.operations
    if found.culprit is not None:
        beginning = cut(operations, model, found.culprit.end)
        # What was under way may have been in the way by an answer that it got later.
        operations = beginning if wrong(beginning) else operations
    small = shrink(operations, groups, wrong, keep_going)
    weakened = _weaken(small, model, wrong)
    while weakened is not None:
        small = shrink(weakened, groups, wrong, keep_going)
        weakened = _weaken(small, model, wrong) if keep_going() else None
    last = linearizable(small, model, keep_going)
    if last.holds is not False:
        last = found
    return Counterexample("linearizable", tuple(small), last.culprit, last.reason)


def _loosely(found: Linearizability, looser: Model, keep_going: KeepGoing) -> Linearizability | None:
    """The operations as the looser model sees them, if it finds them wrong, too, and before long: those of the
    culprit's key alone, or all."""
    questions = iter(range(MOST_QUESTIONS))

    def soon() -> bool:
        return next(questions, None) is not None and keep_going()

    culprit = found.culprit
    same_key = [o for o in found.operations if culprit is not None and o.key == culprit.key]
    for operations in (same_key, found.operations):
        still = linearizable(operations, looser, soon)
        if still.holds is False:
            return still
    return None


def _weaken(operations: Sequence[Operation], model: Model, wrong: Wrong) -> list[Operation] | None:
    """The operations with less said about some, and wrong still; None if each word is needed."""
    kept = list(operations)
    changed = False
    for place, operation in enumerate(operations):
        weaker = model.weaker(operation)
        if weaker is not None and wrong([*kept[:place], weaker, *kept[place + 1 :]]):
            kept[place], changed = weaker, True
    return kept if changed else None


def shrink(
    operations: Sequence[Operation], groups: Groups, wrong: Wrong, keep_going: KeepGoing = always
) -> list[Operation]:
    """Take out groups as long as what is left is wrong; no single group can be taken out of the result."""
    kept = list(operations)
    shrunk = True
    while shrunk:
        shrunk = False
        size = len(groups(kept))
        while size and keep_going():
            smaller = _without_some(kept, size, groups, wrong, keep_going)
            if smaller is None:
                size //= 2
            else:
                kept, shrunk = smaller, True
                size = min(size, len(groups(kept)))
    return kept


def _without_some(
    kept: list[Operation], size: int, groups: Groups, wrong: Wrong, keep_going: KeepGoing
) -> list[Operation] | None:
    """The history without some `size` groups, if one such is wrong still."""
    for chosen in _slices(groups(kept), size):
        if not keep_going():
            return None
        out = {position for group in chosen for position in group}
        smaller = [operation for position, operation in enumerate(kept) if position not in out]
        if wrong(smaller):
            return smaller
    return None


def _slices(groups: Sequence[tuple[int, ...]], size: int) -> Iterator[Sequence[tuple[int, ...]]]:
    for begin in range(0, len(groups), size):
        yield groups[begin : begin + size]
