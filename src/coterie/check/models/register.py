"""A register, and one that also compares and sets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import ClassVar, Final

import msgspec

from coterie.check.history import FOREVER, Operation
from coterie.check.models.cells import Access
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State, same
from coterie.check.zones import Touch


class _Any:
    """Only one: compare with `is`."""

    def __repr__(self) -> str:
        return "any"


ANY: Final = _Any()
"""Stands for what a comparison expected, where that does not matter."""


class Register(Model):
    """Holds a value, at first None. With keys, each key is a register of its own."""

    name: ClassVar[str] = "register"
    functions: ClassVar[Mapping[str, str]] = {
        "write": "a value; answers nothing",
        "read": "nothing; answers the value",
    }

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return (None,)

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        return [self._action(operation) for operation in history]

    def _action(self, operation: Operation) -> Action:
        f = self.known(operation)
        if f == "write":
            return writing(operation.argument)
        if f == "cas":
            return comparing(*self._compared(operation), operation.result if operation.known else None)
        return reading(operation.result) if operation.known else Action(same, None, "read")

    def _compared(self, operation: Operation) -> tuple[Hashable, Hashable]:
        """What a `cas` expects, and what it sets."""
        if not isinstance(operation.argument, tuple) or len(operation.argument) != 2:
            self.refuse(operation, "value", operation.argument, "a pair: what it expects, and what it sets")
        if operation.known and not isinstance(operation.result, bool):
            self.refuse(operation, "value", operation.result, "true or false as the answer to a cas")
        expected, new = operation.argument
        return expected, new

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """A write can go if nobody can have looked at the register between it and the next change: nobody looked for
        its value, or only before it began, or only after another write that came after it. (Where several go, think of
        the earliest as the first to go.) A failed comparison may owe its failure to any value. The last write of a
        value that was looked for stays: without it one would ask where the value came from."""
        if any(o.f == "cas" and o.known and o.result is False for o in history):
            return
        lookers = self._lookers(history)
        sure = sorted((o for o in history if o.known and self._leaves(o)), key=lambda operation: operation.start)
        starts = [operation.start for operation in sure]
        gone_by = [*accumulate((o.end for o in reversed(sure)), min, initial=FOREVER)][::-1]
        last = {self._leaves(operation): place for place, operation in enumerate(history)}
        for place, operation in enumerate(history):
            left = self._leaves(operation)
            if left is None or (operation.known and self._expects(operation)):
                continue
            begun, latest_end = lookers.get(left[0], ((), ()))
            if begun and place == last[left]:
                continue
            gone = gone_by[bisect_right(starts, operation.end)]
            before = bisect_right(begun, gone)
            if not before or latest_end[before - 1] < operation.start:
                yield (place,)

    def _expects(self, operation: Operation) -> bool:
        """Whether it compares."""
        return operation.f == "cas" and self._compared(operation)[0] is not ANY

    def _leaves(self, operation: Operation) -> tuple[Hashable] | None:
        """The value that it leaves in the register if it takes effect."""
        if operation.f == "write":
            return (operation.argument,)
        if operation.f == "cas" and not (operation.known and operation.result is False):
            return (self._compared(operation)[1],)
        return None

    def _lookers(self, history: Sequence[Operation]) -> dict[Hashable, tuple[Sequence[int], Sequence[int]]]:
        """For each value the starts of operations that look for it, in order, and the latest end up to each."""
        looks: dict[Hashable, list[tuple[int, int]]] = {}
        for operation in history:
            if operation.f == "cas":
                looks.setdefault(self._compared(operation)[0], []).append((operation.start, operation.end))
            elif operation.f == "read" and operation.known:
                looks.setdefault(operation.result, []).append((operation.start, operation.end))
        return {
            value: ([start for start, _ in sorted(spans)], [*accumulate((end for _, end in sorted(spans)), max)])
            for value, spans in looks.items()
        }

    def weaker(self, operation: Operation) -> Operation | None:
        """Of a comparison that held, that it set the new value."""
        if (
            operation.f != "cas"
            or not operation.known
            or operation.result is not True
            or self._compared(operation)[0] is ANY
        ):
            return None
        return msgspec.structs.replace(operation, argument=(ANY, self._compared(operation)[1]))

    def touch(self, operation: Operation) -> Touch | None:
        if operation.f == "write":
            return Touch(True, operation.argument, operation)
        return Touch(False, operation.result, operation) if operation.f == "read" else None

    def accesses(self, history: Sequence[Operation]) -> list[Access] | None:
        return [self._access(operation) for operation in history]

    def _access(self, operation: Operation) -> Access:
        key = operation.key
        if operation.f == "write":
            return Access(writes=((key, operation.argument),))
        if operation.f == "cas":
            expected, new = self._compared(operation)
            if not operation.known or operation.result is True:
                return Access(((key, expected),), ((key, new),))
            return Access()
        return Access(reads=((key, operation.result),)) if operation.known else Access()


class CasRegister(Register):
    """A register with `cas`, which sets a new value exactly if it finds the one that it expects."""

    name: ClassVar[str] = "cas-register"
    functions: ClassVar[Mapping[str, str]] = {
        **Register.functions,
        "cas": "[expected, new]; answers true if it found what it expects",
    }


def reading(value: Hashable) -> Action:
    """Found this value."""
    return Action(lambda state: state if state == value else IMPOSSIBLE, None, ("read", value))


def writing(value: Hashable) -> Action:
    """Leaves this value, whatever was there."""

    def step(_: State) -> State:
        return value

    return Action(step, step, ("write", value))


def comparing(expected: Hashable, new: Hashable, took: object) -> Action:
    """`took`: whether it found what it expects; None if nobody knows."""
    if took is None:

        def attempt(state: State) -> State:
            return new if state == expected else state

        return Action(attempt, attempt, ("cas", expected, new))
    if took and expected is ANY:
        return writing(new)
    if took:
        return Action(
            lambda state: new if state == expected else IMPOSSIBLE, lambda _: new, ("cas", expected, new, True)
        )
    return Action(lambda state: state if state != expected else IMPOSSIBLE, None, ("cas", expected, new, False))
