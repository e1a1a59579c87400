"""The key-value machine with revisions: each change of the store has the next revision, and answers name theirs.

As etcd's (https://etcd.io/docs/v3.5/learning/api_guarantees/) and Coterie's own (`coterie.machine.kv`) have it. The
history may begin at any revision, on a store without these keys.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from coterie.check.history import Operation, show
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State, same
from coterie.check.models.revision_calls import Call, KeyedRevisions
from coterie.check.models.revision_order import RevisionOrder


class _Stored(NamedTuple):
    value: Hashable
    mod: int
    """Revision of the last change of the key."""


class _Store(NamedTuple):
    revision: int
    items: tuple[_Stored | None, ...]


class Revisions(KeyedRevisions):
    """Puts, deletes, comparisons and reads of single keys: each change has the next revision."""

    def accepts(self, history: Sequence[Operation]) -> bool:
        answers = [o.result for o in history if o.known]
        return super().accepts(history) and bool(answers) and all(isinstance(answer, frozenset) for answer in answers)

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        """The lowest answer bounds the revision at the beginning from above; below it there may have been as many
        changes as there are unknown outcomes."""
        nothing = (None,) * len(self.places(history))
        calls = self.calls(history)
        highest = min((_bound(call) for call in calls if call.revision is not None), default=0)
        unknown = sum(1 for call in calls if call.revision is None and call.f != "get")
        return [_Store(first, nothing) for first in range(highest, max(highest - unknown, 0) - 1, -1)]

    def action(self, call: Call) -> Action:
        label = (call.f, call.place, call.expected, call.value)
        if call.f == "get":
            if call.revision is None:
                return Action(same, None, label)
            return Action(partial(_look, call), None, (*label, call.mod, call.revision))
        if call.took is False:
            return Action(partial(_change, call), None, label)
        return Action(partial(_change, call), partial(_change, call._replace(revision=None)), label)

    def looser(self) -> Model | None:
        """With gaps in the revisions."""
        return RevisionOrder()

    def show(self, state: State) -> str:
        assert isinstance(state, _Store)
        items = ", ".join("nothing" if item is None else f"{show(item.value)} of {item.mod}" for item in state.items)
        return f"{items} at revision {state.revision}"

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """None: each change has its place in the count of revisions, so that one fewer is another history."""
        return iter(())


def _bound(call: Call) -> int:
    """The highest revision at which the history may have begun, by one answer."""
    assert call.revision is not None
    if call.f != "get":
        return call.revision - bool(call.took)
    return call.mod - 1 if call.mod is not None else call.revision


def _look(call: Call, state: State) -> State:
    """The step of a get."""
    assert isinstance(state, _Store)
    item = state.items[call.place]
    fits = item is None if call.value is None else item == _Stored(call.value, call.mod or 0)
    return state if fits and state.revision == call.revision else IMPOSSIBLE


def _change(call: Call, state: State) -> State:
    """The step of a put, a delete or a cas."""
    assert isinstance(state, _Store)
    item = state.items[call.place]
    changes = call.changes(item.value if item is not None else None)
    if call.took is not None and changes is not call.took:
        return IMPOSSIBLE
    revision = state.revision + changes
    if call.revision is not None and revision != call.revision:
        return IMPOSSIBLE
    if not changes:
        return state
    stored = None if call.f == "delete" else _Stored(call.value, revision)
    return _Store(revision, (*state.items[: call.place], stored, *state.items[call.place + 1 :]))
