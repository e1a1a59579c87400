"""A queue, a set and a lock."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from coterie.check.history import Operation
from coterie.check.models.cells import Access
from coterie.check.models.model import IMPOSSIBLE, Action, Model, State, same


class Queue(Model):
    """First in, first out. Herlihy and Wing 1990, section 2.1."""

    name: ClassVar[str] = "queue"
    functions: ClassVar[Mapping[str, str]] = {
        "enqueue": "a value; answers nothing",
        "dequeue": "nothing; answers the oldest value, or null if there is none",
    }

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return ((),)

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        return [self._action(operation) for operation in history]

    def _action(self, operation: Operation) -> Action:
        if self.known(operation) == "enqueue":
            if operation.argument is None:
                self.refuse(operation, "value", None, "any value but null, which is the answer of an empty queue")
            return _enqueuing(operation.argument)
        return _dequeuing(operation.result) if operation.known else Action(_take, _take, "dequeue")

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """What nobody took stayed at the end; a value's one enqueue and the one dequeue of it may go together."""
        if any(o.f == "dequeue" and not o.known for o in history):
            return
        puts: dict[Hashable, list[int]] = {}
        takes: dict[Hashable, list[int]] = {}
        for place, operation in enumerate(history):
            if operation.f == "enqueue":
                puts.setdefault(operation.argument, []).append(place)
            else:
                takes.setdefault(operation.result, []).append(place)
        for value, places in puts.items():
            if value not in takes:
                yield from ((place,) for place in places)
            elif len(places) == len(takes[value]) == 1:
                yield (places[0], takes[value][0])


def _enqueuing(value: Hashable) -> Action:
    def step(state: State) -> State:
        assert isinstance(state, tuple)
        return (*state, value)

    return Action(step, step, ("enqueue", value))


def _take(state: State) -> State:
    assert isinstance(state, tuple)
    return state[1:]


def _dequeuing(value: Hashable) -> Action:
    if value is None:
        return Action(lambda state: state if state == () else IMPOSSIBLE, None, ("dequeue", None))

    def step(state: State) -> State:
        assert isinstance(state, tuple)
        return state[1:] if state and state[0] == value else IMPOSSIBLE

    return Action(step, _take, ("dequeue", value))


class SetModel(Model):
    """Elements, each in or out."""

    name: ClassVar[str] = "set"
    functions: ClassVar[Mapping[str, str]] = {
        "add": "an element; answers nothing",
        "remove": "an element; answers nothing",
        "contains": "an element; answers true or false",
        "read": "nothing; answers a list of all elements",
    }
    blank: ClassVar[Hashable] = False

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return (frozenset(),)

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        return [self._action(operation) for operation in history]

    def _action(self, operation: Operation) -> Action:
        f, element = self.known(operation), operation.argument
        if f in ("add", "remove"):
            return _changing(frozenset({element}), f == "add")
        if not operation.known:
            return Action(same, None, f)
        if f == "contains":
            expected = self._answer(operation)
            return Action(
                lambda state: state if (element in _elements(state)) is expected else IMPOSSIBLE,
                None,
                (f, element, expected),
            )
        whole = self._whole(operation)
        return Action(lambda state: state if state == whole else IMPOSSIBLE, None, (f, whole))

    def _answer(self, operation: Operation) -> bool:
        if not isinstance(operation.result, bool):
            self.refuse(operation, "value", operation.result, "true or false as the answer to contains")
        return operation.result

    def _whole(self, operation: Operation) -> frozenset[Hashable]:
        if operation.result is None:
            return frozenset()
        if not isinstance(operation.result, tuple | frozenset):
            self.refuse(operation, "value", operation.result, "a list of elements as the answer to read")
        return frozenset(operation.result)

    def accepts(self, history: Sequence[Operation]) -> bool:
        return super().accepts(history) and all(
            o.result is None or isinstance(o.result, tuple | frozenset) for o in history if o.f == "read" and o.known
        )

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """An element that no answer names as present need not have been added; to take out a removal, all that looked
        at the set must be gone, or have seen the element."""
        looks = [o for o in history if o.known and o.f in ("contains", "read")]
        for place, operation in enumerate(history):
            shows = operation.f == "add"
            if operation.f in ("add", "remove") and all(
                self._sees(look, operation.argument) is not shows for look in looks
            ):
                yield (place,)

    def _sees(self, look: Operation, element: Hashable) -> bool | None:
        """Whether an answer has the element in it; None if it says nothing about it."""
        if look.f == "contains":
            return self._answer(look) if look.argument == element else None
        return element in self._whole(look)

    def accesses(self, history: Sequence[Operation]) -> list[Access] | None:
        changed = dict.fromkeys((o.key, o.argument) for o in history if o.f in ("add", "remove"))
        named = dict.fromkeys(
            (o.key, element) for o in history if o.f == "read" and o.known for element in self._whole(o)
        )
        cells = [*changed, *(cell for cell in named if cell not in changed)]
        return [self._access(operation, cells) for operation in history]

    def _access(self, operation: Operation, cells: Sequence[tuple[Hashable, Hashable]]) -> Access:
        cell = (operation.key, operation.argument)
        if operation.f in ("add", "remove"):
            return Access(writes=((cell, operation.f == "add"),))
        if not operation.known:
            return Access()
        if operation.f == "contains":
            return Access(reads=((cell, self._answer(operation)),))
        whole = self._whole(operation)
        return Access(tuple(((key, element), element in whole) for key, element in cells if key == operation.key))


def _changing(one: frozenset[Hashable], add: bool) -> Action:
    def step(state: State) -> State:
        return _elements(state) | one if add else _elements(state) - one

    return Action(step, step, ("add" if add else "remove", one))


def _elements(state: State) -> frozenset[Hashable]:
    assert isinstance(state, frozenset)
    return state


class Lock(Model):
    """Held by one process at a time; only its holder can release it. The state is the holder, or None."""

    name: ClassVar[str] = "lock"
    functions: ClassVar[Mapping[str, str]] = {
        "acquire": "nothing; answers true, or false if another holds it",
        "release": "nothing; answers true, or false if the caller does not hold it",
    }

    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        return (None,)

    def actions(self, history: Sequence[Operation]) -> list[Action]:
        return [self._action(operation) for operation in history]

    def _action(self, operation: Operation) -> Action:
        f, who = self.known(operation), operation.process
        before, after = (None, who) if f == "acquire" else (who, None)

        def attempt(state: State) -> State:
            return after if state == before else state

        if not operation.known:
            return Action(attempt, attempt, (f, who))
        if self._took(operation):
            return Action(lambda state: after if state == before else IMPOSSIBLE, attempt, (f, who, True))
        return Action(lambda state: state if state != before else IMPOSSIBLE, None, (f, who, False))

    def _took(self, operation: Operation) -> bool:
        if operation.result is not None and not isinstance(operation.result, bool):
            self.refuse(operation, "value", operation.result, "true or false")
        return operation.result is not False

    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """A holder's stay, from its acquire to its release, may be taken out whole, if it is certain and nobody was
        refused for it: nothing else happened in it."""
        if any(o.known and not self._took(o) for o in history):
            return
        mine: dict[int | str, list[int]] = {}
        for place, operation in enumerate(history):
            mine.setdefault(operation.process, []).append(place)
        for places in mine.values():
            if any(not history[place].known for place in places):
                continue
            for one, two in pairwise(places):
                apart = history[one].end < history[two].start
                if apart and (history[one].f, history[two].f) == ("acquire", "release"):
                    yield (one, two)
