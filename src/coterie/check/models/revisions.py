"""The key-value machine with revisions: each change of the store has the next revision, and answers name theirs.

As etcd's (https://etcd.io/docs/v3.5/learning/api_guarantees/) and Coterie's own (`coterie.machine.kv`) have it. The
history may begin at any revision, on a store without these keys.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import msgspec

from coterie.check.history import Operation, show
from coterie.check.models.cells import Access
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State, same

Record = frozenset[tuple[str, Hashable]]
"""Fields with names, as an answer has them."""


def record(**fields: Hashable) -> Record:
    """An answer with these fields: `record(revision=7, value="x", mod=5)`."""
    return frozenset(fields.items())


class _Stored(NamedTuple):
    value: Hashable
    mod: int
    """Revision of the last change of the key."""


class _Store(NamedTuple):
    revision: int
    items: tuple[_Stored | None, ...]


class Revisions(Model):
    """Puts, deletes, comparisons and reads of single keys, in one order of revisions over all keys."""

    name: ClassVar[str] = "kv-revisions"
    functions: ClassVar[Mapping[str, str]] = {
        "put": "a key and a value; answers {revision}",
        "get": "a key; answers {value, revision, mod}: value null if there is none",
        "delete": "a key; answers {revision, deleted}: how many",
        "cas": "a key and [expected, new], expected null if there is none; answers {succeeded, revision}",
    }

    def keys(self, operation: Operation) -> tuple[Hashable, ...]:
        """All keys share the revision."""
        return ("all keys",)

    def accepts(self, history: Sequence[Operation]) -> bool:
        answers = [o.result for o in history if o.known]
        return super().accepts(history) and bool(answers) and all(isinstance(answer, frozenset) for answer in answers)

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        """The lowest answer bounds the revision at the beginning from above; below it there may have been as many
        changes as there are unknown outcomes."""
        nothing = (None,) * len(self._places(history))
        highest = min((self._bound(operation) for operation in history if operation.known), default=0)
        unknown = sum(1 for o in history if not o.known and o.f != "get")
        return [_Store(first, nothing) for first in range(highest, max(highest - unknown, 0) - 1, -1)]

    def _bound(self, operation: Operation) -> int:
        """The highest revision at which the history may have begun, by one answer."""
        answer = self._answer(operation)
        if operation.f != "get":
            return self._number(operation, answer, "revision") - self._took(operation, answer)
        if answer.get("value") is not None:
            return self._number(operation, answer, "mod") - 1
        return self._number(operation, answer, "revision")

    def _places(self, history: Sequence[Operation]) -> dict[Hashable, int]:
        return {key: place for place, key in enumerate(dict.fromkeys(operation.key for operation in history))}

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        places = self._places(history)
        return [self._action(operation, places[operation.key]) for operation in history]

    def _action(self, operation: Operation, place: int) -> Action:
        f, argument = self.known(operation), operation.argument
        expected: Hashable = None
        if f == "cas":
            if not isinstance(argument, tuple) or len(argument) != 2:
                self.refuse(operation, "value", argument, "a pair: what it expects, and what it sets")
            expected, argument = argument
        label = (f, place, expected, argument)
        if not operation.known:
            if f == "get":
                return Action(same, None, label)
            attempt = _Change(place, f, expected, argument, None, None)
            return Action(attempt, attempt, label)
        answer = self._answer(operation)
        revision = self._number(operation, answer, "revision")
        if f == "get":
            mod = self._number(operation, answer, "mod") if answer.get("value") is not None else 0
            return Action(_Look(place, answer.get("value"), mod or None, revision), None, (f, place, operation.result))
        took = self._took(operation, answer)
        change = _Change(place, f, expected, argument, revision, took)
        if not took:
            return Action(change, None, label)
        return Action(change, _Change(place, f, expected, argument, None, True), label)

    def _took(self, operation: Operation, answer: Mapping[str, Hashable]) -> bool:
        if operation.f == "put":
            return True
        field = "deleted" if operation.f == "delete" else "succeeded"
        found = answer.get(field)
        if not isinstance(found, int):
            self.refuse(operation, field, found, "true or false" if field == "succeeded" else "a whole number")
        return bool(found)

    def _answer(self, operation: Operation) -> dict[str, Hashable]:
        if not isinstance(operation.result, frozenset):
            self.refuse(operation, "value", operation.result, f"an object as the answer: {self.functions[operation.f]}")
        return dict(operation.result)

    def _number(self, operation: Operation, answer: Mapping[str, Hashable], field: str) -> int:
        found = answer.get(field)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            self.refuse(operation, field, found, "a whole number, 0 or more")
        return found

    def show(self, state: State) -> str:
        assert isinstance(state, _Store)
        items = ", ".join("nothing" if item is None else f"{show(item.value)} of {item.mod}" for item in state.items)
        return f"{items} at revision {state.revision}"

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """None: each change has its place in the count of revisions, so that one fewer is another history."""
        return iter(())

    def accesses(self, history: Sequence[Operation]) -> list[Access] | None:
        """Values alone: below sequential consistency no one order is promised that revisions could count."""
        return [self._access(operation) for operation in history]

    def _access(self, operation: Operation) -> Access:
        key, argument = operation.key, operation.argument
        answer = self._answer(operation) if operation.known else {}
        if operation.f == "get":
            return Access(reads=((key, answer.get("value")),)) if operation.known else Access()
        if operation.known and not self._took(operation, answer):
            return Access(reads=((key, None),)) if operation.f == "delete" else Access()
        if operation.f == "cas":
            assert isinstance(argument, tuple)
            return Access(((key, argument[0]),), ((key, argument[1]),))
        return Access(writes=((key, None if operation.f == "delete" else argument),))


class _Look(msgspec.Struct, frozen=True):
    """The step of a get."""

    place: int
    value: Hashable
    mod: int | None
    revision: int

    def __call__(self, state: State) -> State:
        assert isinstance(state, _Store)
        if state.revision != self.revision:
            return IMPOSSIBLE
        item = state.items[self.place]
        if item is None:
            fits = self.value is None
        else:
            fits = item.value == self.value and item.mod == self.mod
        return state if fits else IMPOSSIBLE


class _Change(msgspec.Struct, frozen=True):
    """The step of a put, a delete or a cas. `took`: whether it changed the store; None if nobody knows."""

    place: int
    f: str
    expected: Hashable
    value: Hashable
    revision: int | None
    took: bool | None

    def __call__(self, state: State) -> State:
        assert isinstance(state, _Store)
        item = state.items[self.place]
        changes = self.f == "put" or (
            item is not None if self.f == "delete" else (item.value if item is not None else None) == self.expected
        )
        if self.took is not None and changes is not self.took:
            return IMPOSSIBLE
        revision = state.revision + changes
        if self.revision is not None and revision != self.revision:
            return IMPOSSIBLE
        if not changes:
            return state
        stored = None if self.f == "delete" else _Stored(self.value, revision)
        return _Store(revision, (*state.items[: self.place], stored, *state.items[self.place + 1 :]))
