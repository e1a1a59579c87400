"""A key-value store whose operations may append, and whose transactions touch several keys at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import ClassVar

import msgspec

from coterie.check.history import FOREVER, Operation, show
from coterie.check.models.cells import Access
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State, same
from coterie.check.zones import Touch

_State = tuple[Hashable, ...]
_Part = tuple[str, int, Hashable]
"""What a part of a transaction does (`r`, `w`, `append`), the key's place in the state, and the value."""


class KeyValue(Model):
    """Keys with values, at first "". The state has one place a key."""

    name: ClassVar[str] = "key-value"
    functions: ClassVar[Mapping[str, str]] = {
        "get": "a key; answers its value, or the empty string",
        "put": "a key and a value; answers nothing",
        "append": "a key and a string, put behind the value; answers nothing",
        "txn": 'a list of ["r", key, null], ["w", key, value], ["append", key, string]; answers it with what was read',
    }
    blank: ClassVar[Hashable] = ""

    def keys(self, operation: Operation) -> tuple[Hashable, ...]:
        if operation.f == "txn":
            return tuple(dict.fromkeys(key for _, key, _ in self._parts(operation)))
        return (operation.key,)

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return ((self.blank,) * len(self._places(history)),)

    def _places(self, history: Sequence[Operation]) -> dict[Hashable, int]:
        keys = dict.fromkeys(key for operation in history for key in self.keys(operation))
        return {key: place for place, key in enumerate(keys)}

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        places = self._places(history)
        return [self._action(operation, places) for operation in history]

    def _action(self, operation: Operation, places: dict[Hashable, int]) -> Action:
        parts = [(f, places[key], value) for f, key, value in self._parts(operation)]
        label = (operation.f, *parts)
        changes = [part for part in parts if part[0] != "r"]
        if not operation.known:
            effect = _transaction(changes)
            return Action(effect, effect, label) if changes else Action(same, None, label)
        return Action(_transaction(parts), _transaction(changes) if changes else None, label)

    def _parts(self, operation: Operation) -> list[tuple[str, Hashable, Hashable]]:
        """The operation as a transaction, with what it read."""
        f = self.known(operation)
        if f == "get":
            found = operation.result if operation.result is not None else self.blank
            return [("r", operation.key, found)]
        if f == "put":
            return [("w", operation.key, operation.argument)]
        if f == "append":
            if not isinstance(operation.argument, str):
                self.refuse(operation, "value", operation.argument, "a string to append")
            return [("append", operation.key, operation.argument)]
        return self._transaction_parts(operation)

    def _transaction_parts(self, operation: Operation) -> list[tuple[str, Hashable, Hashable]]:
        listed = operation.result if operation.known else operation.argument
        if not isinstance(listed, tuple):
            self.refuse(operation, "value", listed, self.functions["txn"])
        parts: list[tuple[str, Hashable, Hashable]] = []
        for part in listed:
            if not isinstance(part, tuple) or len(part) != 3 or str(part[0]) not in ("r", "w", "append"):
                self.refuse(operation, "value", part, self.functions["txn"])
            f, key, value = part
            if str(f) == "append" and not isinstance(value, str):
                self.refuse(operation, "value", value, "a string to append")
            parts.append((str(f), key, self.blank if value is None else value))
        if operation.known and isinstance(operation.argument, tuple):
            self._check_called(operation, parts)
        return parts

    def _check_called(self, operation: Operation, answered: Sequence[tuple[str, Hashable, Hashable]]) -> None:
        """The answer repeats the call, but for what was read."""
        called = self._transaction_parts(msgspec.structs.replace(operation, result=None, end=FOREVER))
        same = [(f, key, f == "r" or value) for f, key, value in called]
        if same != [(f, key, f == "r" or value) for f, key, value in answered]:
            self.refuse(operation, "value", operation.result, "as the answer to a txn the parts that were called")

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """What a put or an append wrote, and no read of the key has within its value, was there for no read."""
        seen: dict[Hashable, list[Hashable]] = {}
        for operation in history:
            for f, key, value in self._parts(operation):
                if f == "r" and operation.known:
                    seen.setdefault(key, []).append(value)
        for place, operation in enumerate(history):
            changes = [part for part in self._parts(operation) if part[0] != "r"]
            if changes and not any(_within(value, found) for _, key, value in changes for found in seen.get(key, ())):
                yield (place,)

    def show(self, state: State) -> str:
        return ", ".join(show(value) for value in _values(state))

    def touch(self, operation: Operation) -> Touch | None:
        if operation.f not in ("put", "get"):
            return None
        ((f, _, value),) = self._parts(operation)
        return Touch(f == "w", value, operation)

    def accesses(self, history: Sequence[Operation]) -> list[Access] | None:
        found: list[Access] = []
        for operation in history:
            parts = self._parts(operation)
            if any(f == "append" for f, _, _ in parts):
                return None
            written: dict[Hashable, Hashable] = {}
            reads: list[tuple[Hashable, Hashable]] = []
            for f, key, value in parts:
                if f == "w":
                    written[key] = value
                elif operation.known and key not in written:
                    reads.append((key, value))
            found.append(Access(tuple(reads), tuple(written.items())))
        return found


def _within(written: Hashable, found: Hashable) -> bool:
    if isinstance(written, str) and isinstance(found, str):
        return written in found
    return written == found


def _transaction(parts: Sequence[_Part]) -> Callable[[State], State]:
    """One step for all parts, one after the other."""
    if len(parts) == 1:
        f, place, value = parts[0]
        if f == "r":
            return lambda state: state if _values(state)[place] == value else IMPOSSIBLE

    def step(state: State) -> State:
        values = list(_values(state))
        for f, place, value in parts:
            if f == "w":
                values[place] = value
            elif f == "append":
                before = values[place]
                if not isinstance(before, str) or not isinstance(value, str):
                    return IMPOSSIBLE
                values[place] = before + value
            elif values[place] != value:
                return IMPOSSIBLE
        return tuple(values)

    return step


def _values(state: State) -> _State:
    assert isinstance(state, tuple)
    return state
