"""The interface of a sequential specification: which results an object may give, one operation after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple, NoReturn

from coterie.check.history import HistoryError, Operation, show
from coterie.check.models.cells import Access
from coterie.check.zones import Touch

State = Hashable


class _Impossible:
    """Only one: compare with `is`."""

    def __repr__(self) -> str:
        return "IMPOSSIBLE"


IMPOSSIBLE: Final = _Impossible()
"""What a step gives where the operation could not have had its result."""

Step = Callable[[State], State]
"""From the state before to the state after, or IMPOSSIBLE."""


class Action(NamedTuple):
    """What an operation does to a state."""

    step: Step
    """With the result that it had; with any, if its outcome is unknown."""
    effect: Step | None
    """The same for one who does not see the result; None if it never changes a state (it is *pure*)."""
    label: Hashable
    """Equal for operations that do the same: of those with unknown outcomes only the earliest need be tried."""


class Model(ABC):
    """An object. States are immutable and hashable."""

    name: ClassVar[str]
    functions: ClassVar[Mapping[str, str]]
    """The operations that it has, and what each takes and answers, for messages."""

    @abstractmethod
    def initials(self, history: Sequence[Operation]) -> Sequence[State]:
        """The states in which the object may have been before these operations, which are all that will come."""

    @abstractmethod
    def actions(self, history: Sequence[Operation]) -> list[Action]:
        """What each operation does. Raises `HistoryError` for one that the object has not, or that is malformed."""

    def keys(self, operation: Operation) -> tuple[Hashable, ...]:
        """The parts of the object that it touches. Operations that share none, even through others, are independent:
        linearizability is local (Herlihy and Wing 1990, theorem 1)."""
        return (operation.key,)

    def weaker(self, operation: Operation) -> Operation | None:
        """The operation with less said about it: whatever history was right with it is right with this one, too."""
        return None

    def looser(self) -> Model | None:
        """A model that allows all that this one allows, and more, of which more may be taken out: also all operations
        of a key, whatever the others are."""
        return None

    @abstractmethod
    def removals(self, history: Sequence[Operation]) -> Iterator[tuple[int, ...]]:
        """Groups of operations, by position, each of which may be taken out *soundly*: if the whole was right, so is
        the rest. Pure operations need not be named: they always may."""

    def accesses(self, history: Sequence[Operation]) -> list[Access] | None:
        """Each operation as reads and writes of cells that begin with `blank`; None if the object is not made of cells.
        What an operation did not see, and a comparison that failed, are left out."""
        return None

    def touch(self, operation: Operation) -> Touch | None:
        """The operation as a plain read or write of one register that begins with `blank`; None if it is neither."""
        return None

    def show(self, state: State) -> str:
        """A state in words, for people."""
        return show(state)

    blank: ClassVar[Hashable] = None
    """What a cell holds before it is written."""

    def accepts(self, history: Sequence[Operation]) -> bool:
        """Whether these are operations of this object, by their names and shapes; for `--model auto`."""
        return all(operation.f in self.functions for operation in history)

    def refuse(self, operation: Operation, field: str, found: object, allowed: str) -> NoReturn:
        """Raises `HistoryError` that names line, field, what stands there and what is allowed."""
        where = f"line {operation.line}: " if operation.line else ""
        raise HistoryError(f"{where}{operation.f}: field '{field}' is {found!r}; a {self.name} allows {allowed}")

    def known(self, operation: Operation) -> str:
        """The operation's name, if the object has it. Raises `HistoryError`."""
        if operation.f not in self.functions:
            where = f"line {operation.line}: " if operation.line else ""
            raise HistoryError(
                f"{where}field 'f' is {operation.f!r}; a {self.name} allows {', '.join(sorted(self.functions))}"
            )
        return operation.f


def same(state: State) -> State:
    """The step of an operation that tells nothing and does nothing."""
    return state
