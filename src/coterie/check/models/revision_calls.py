"""Operations on a key-value machine with revisions, and their answers, as its models look at them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from coterie.check.history import Operation
from coterie.check.models.cells import Access
from coterie.check.models.model import Action, Model

Record = frozenset[tuple[str, Hashable]]
"""Fields with names, as an answer has them."""


def record(**fields: Hashable) -> Record:
    """An answer with these fields: `record(revision=7, value="x", mod=5)`."""
    return frozenset(fields.items())


class Call(NamedTuple):
    """An operation, and what was answered."""

    place: int
    """Of its key among all keys of the history."""
    f: str
    expected: Hashable
    value: Hashable
    """What it writes, or what was read."""
    mod: int | None
    """Of what was read: the revision of the last change."""
    revision: int | None
    """None if the outcome is unknown."""
    took: bool | None
    """Whether it changed the store; None if nobody knows, or if it only looks."""

    def changes(self, found: Hashable) -> bool:
        """Whether it changes the store where it finds this value."""
        if self.f == "delete":
            return found is not None
        return self.f == "put" or (self.f == "cas" and found == self.expected)


class KeyedRevisions(Model):
    """What a strict and a loose view of revisions share: how operations and their answers are read."""

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

    def places(self, history: Sequence[Operation]) -> dict[Hashable, int]:
        """The place of each key in a state."""
        return {key: place for place, key in enumerate(dict.fromkeys(operation.key for operation in history))}

    def calls(self, history: Sequence[Operation]) -> list[Call]:
        """The operations as they are judged. Raises `HistoryError`."""
        places = self.places(history)
        return [self._call(operation, places[operation.key]) for operation in history]

    def _call(self, operation: Operation, place: int) -> Call:
        f, value = self.known(operation), operation.argument
        expected: Hashable = None
        if f == "cas":
            if not isinstance(value, tuple) or len(value) != 2:
                self.refuse(operation, "value", value, "a pair: what it expects, and what it sets")
            expected, value = value
        if f in ("put", "cas") and value is None:
            self.refuse(operation, "value", value, "any value but null, which stands for no value")
        if not operation.known:
            return Call(place, f, expected, value, None, None, None)
        answer = self._answer(operation)
        revision = self._number(operation, answer, "revision")
        if f == "get":
            value = answer.get("value")
            mod = self._number(operation, answer, "mod") if value is not None else None
            return Call(place, f, None, value, mod, revision, None)
        return Call(place, f, expected, value, None, revision, self._took(operation, answer))

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        return [self.action(call) for call in self.calls(history)]

    @abstractmethod
    def action(self, call: Call) -> Action:
        """What a call does."""

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
