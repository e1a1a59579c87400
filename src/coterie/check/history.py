"""What a history is: operations of processes, each with the time in which it may have taken effect.

Herlihy and Wing, "Linearizability: A Correctness Condition for Concurrent Objects" (TOPLAS 12(3), 1990),
section 2: a history is a sequence of invocations and responses. Here each pair is one `Operation`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

import msgspec

from coterie.core.errors import CoterieError

FOREVER: Final = 1 << 62
"""Stands as the end of an operation whose outcome is unknown: it takes effect at any later time, or never."""

KeepGoing = Callable[[], bool]
"""Asked now and then by a long check; when it says False, the check gives up with the verdict `unknown`."""


def always() -> bool:
    """The check may take as long as it takes."""
    return True


class HistoryError(CoterieError):
    """A history that cannot be read, or is none: the message names the line, the field and what is allowed."""

    advice = "mend the file; docs/check.md says what a history looks like"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of one process. Times are whole numbers of one clock, nanoseconds or positions in a file.

    A comes before B in real time exactly if `A.end < B.start`.
    """

    process: int | str
    """Who called it: one caller at a time, for the models that follow processes."""
    f: str
    """What was called, as the model names it: `read`, `write`, `cas` ..."""
    key: Hashable = None
    """On which of several objects; None where there is one."""
    argument: Hashable = None
    result: Hashable = None
    """What was answered; says nothing if the outcome is unknown."""
    start: int
    end: int = FOREVER
    """`FOREVER` if the outcome is unknown."""
    line: int = 0
    """Where it begins in the file that it was read from; 0 if it was not."""

    @property
    def known(self) -> bool:
        """Whether it was answered."""
        return self.end != FOREVER


History = Sequence[Operation]


def by_process(history: Iterable[Operation]) -> dict[int | str, list[Operation]]:
    """Each process's operations in the order in which it called them.

    Raises `HistoryError` if a process called two at a time: then its order would be a guess. A call whose outcome
    stayed unknown ends, for its process, when the process calls again.
    """
    processes: dict[int | str, list[Operation]] = {}
    for operation in sorted(history, key=lambda operation: operation.start):
        mine = processes.setdefault(operation.process, [])
        if mine and mine[-1].known and mine[-1].end > operation.start:
            raise HistoryError(
                f"process {operation.process} calls {operation.f} at {operation.start}, before its {mine[-1].f} that "
                f"began at {mine[-1].start} has ended at {mine[-1].end}: a process calls one operation at a time"
            )
        mine.append(operation)
    return processes


def checked(history: Iterable[Operation]) -> list[Operation]:
    """The history, in the order of starts; raises `HistoryError` if an operation ends before it starts."""
    ordered = sorted(history, key=lambda operation: operation.start)
    for operation in ordered:
        if operation.end < operation.start:
            raise HistoryError(f"{operation} ends before it starts")
    return ordered


def show(value: Hashable) -> str:
    """A value as people read it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        pairs = [item for item in value if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)]
        if pairs and len(pairs) == len(value):
            return ", ".join(f"{name} {show(item)}" for name, item in sorted(pairs, key=lambda pair: str(pair[0])))
        return "{" + ", ".join(sorted(show(item) for item in value)) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    return repr(value) if isinstance(value, str | bytes) else str(value)


def describe(operation: Operation) -> str:
    """An operation in one short line: what was called, and what was answered."""
    argument = operation.argument if isinstance(operation.argument, tuple) else (operation.argument,)
    given = [show(operation.key), *map(show, argument)] if operation.key is not None else [*map(show, argument)]
    if operation.argument is None:
        given.pop()
    called = f"{operation.f}({', '.join(given)})"
    if not operation.known:
        return f"{called} ..."
    if operation.argument is not None and operation.result in (None, operation.argument):
        return called
    return f"{called}: {show(operation.result)}"
