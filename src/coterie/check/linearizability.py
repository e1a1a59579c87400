"""Linearizability of a whole history: its independent parts one by one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from coterie.check.history import KeepGoing, Operation, always, checked, describe
from coterie.check.models.model import Model, State
from coterie.check.search import search
from coterie.check.zones import Touch, conflict, distinct

MOST_STATES: Final = 3
"""That a reason names."""


class Linearizability(NamedTuple):
    """The verdict on a history."""

    holds: bool | None
    """None if the check gave up."""
    operations: tuple[Operation, ...] = ()
    """If it does not hold: operations of one independent part that are wrong already."""
    reason: str = ""
    culprit: Operation | None = None
    """The operation that has no place among them: of a part that was searched, the earliest to end."""


def linearizable(history: Sequence[Operation], model: Model, keep_going: KeepGoing = always) -> Linearizability:
    """Is there one order of the operations that respects real time and that the model allows?

    An operation of unknown outcome (`end` is `FOREVER`) may take effect at any later time, or never. Raises
    `HistoryError` if an operation is none of the model's. `keep_going` is asked every few thousand steps.
    """
    gave_up = False
    for part in parts(checked(history), model):
        found = _decide(part, model, keep_going)
        if found.holds is False:
            return found
        gave_up = gave_up or found.holds is None
    return Linearizability(None if gave_up else True)


def parts(history: Sequence[Operation], model: Model) -> list[list[Operation]]:
    """The history split into operations that touch different keys, even through others; the smallest first."""
    leader: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    touched = [model.keys(operation) for operation in history]
    for keys in touched:
        for key in keys[1:]:
            leader[find(key)] = find(keys[0])
    split: dict[Hashable, list[Operation]] = {}
    for operation, keys in zip(history, touched, strict=True):
        split.setdefault(find(keys[0]) if keys else None, []).append(operation)
    return sorted(split.values(), key=len)


def _decide(part: Sequence[Operation], model: Model, keep_going: KeepGoing) -> Linearizability:
    model.actions(part)  # raises if an operation is malformed
    touches = plain(part, model)
    if touches is not None:
        found = conflict(touches, model.blank)
        return (
            Linearizability(True)
            if found is None
            else Linearizability(False, found.operations, found.reason, found.operations[-1])
        )
    # What nobody can have seen, and may never have happened, would only make the search longer.
    idle = {group[0] for group in model.removals(part) if len(group) == 1 and not part[group[0]].known}
    kept = [operation for position, operation in enumerate(part) if position not in idle]
    outcome = search(kept, model.actions(kept), model.initials(kept), keep_going)
    if outcome.linearizable is not False:
        return Linearizability(outcome.linearizable)
    stuck = kept[outcome.stuck_at]
    return Linearizability(False, tuple(kept), _reason(stuck, outcome.states, model), stuck)


def _reason(stuck: Operation, states: Sequence[State], model: Model) -> str:
    could = " or ".join(sorted(model.show(state) for state in states[:MOST_STATES]))
    more = " or others" if len(states) > MOST_STATES else ""
    return (
        f"no order has room for {describe(stuck)} of process {stuck.process}: by its end the {model.name} could hold "
        f"only {could}{more}"
    )


def plain(part: Sequence[Operation], model: Model) -> list[Touch] | None:
    """The operations as reads and writes of one register with distinct values; None if they are not that."""
    touches: list[Touch] = []
    for operation in part:
        touch = model.touch(operation)
        if touch is None:
            return None
        if touch.write or operation.known:
            touches.append(touch)
    return touches if distinct(touches, model.blank) else None


def cut(history: Sequence[Operation], model: Model, time: int) -> tuple[Operation, ...]:
    """The history as it was known at a time: what had not ended has an unknown outcome, or is left out if it changed
    nothing. Right if the whole history is."""
    begun = [operation for operation in history if operation.start <= time]
    actions = model.actions(begun)
    return tuple(
        operation if operation.end <= time else unknown(operation)
        for operation, action in zip(begun, actions, strict=True)
        if operation.end <= time or action.effect is not None
    )


def unknown(operation: Operation) -> Operation:
    """The same operation before its end was seen."""
    return Operation(
        process=operation.process,
        f=operation.f,
        key=operation.key,
        argument=operation.argument,
        start=operation.start,
        line=operation.line,
    )
