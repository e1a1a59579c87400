"""Every small history of registers, each once, in the order of size.

The enumeration leaves out what differs only by names: processes and keys are numbered in the order in which they first
appear, and the n-th write writes n. Operations come one after the other in real time, and a read finds nothing, or what
an earlier write wrote. Nothing is lost by that. Take any history in which no read returns what is not being written
yet: let each write take effect at its beginning and each read at its end. That is such a sequence; it keeps the order
of each process, so the models that know no other order judge it as they judge the history; and it keeps real time and
adds to it, so what was not linearizable is not linearizable still.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from coterie.check import Operation

KEYS: Final = ("x", "y")
PROCESSES: Final = ("A", "B", "C")


class Step(NamedTuple):
    """One operation, by numbers."""

    process: int
    key: int
    write: bool
    value: int
    """What is written or was read; 0: nothing was there."""


Small = tuple[Step, ...]


def histories(size: int, processes: int = len(PROCESSES), keys: int = len(KEYS)) -> Iterator[Small]:
    """All of so many operations, processes and keys at most."""
    yield from _continued((), size, processes, keys)


def _continued(begun: Small, size: int, processes: int, keys: int) -> Iterator[Small]:
    if len(begun) == size:
        yield begun
        return
    seen_processes = 1 + max((step.process for step in begun), default=-1)
    seen_keys = 1 + max((step.key for step in begun), default=-1)
    written = sum(step.write for step in begun)
    for process in range(min(processes, seen_processes + 1)):
        for key in range(min(keys, seen_keys + 1)):
            found = (0, *(step.value for step in begun if step.write and step.key == key))
            steps = [Step(process, key, True, written + 1), *(Step(process, key, False, value) for value in found)]
            for step in steps:
                yield from _continued((*begun, step), size, processes, keys)


def operations(small: Small) -> list[Operation]:
    """As `coterie.check` takes it."""
    return [_operation(step, place) for place, step in enumerate(small)]


@cache
def _operation(step: Step, place: int) -> Operation:
    value = str(step.value) if step.value else None
    return Operation(
        process=PROCESSES[step.process],
        f="write" if step.write else "read",
        key=KEYS[step.key],
        argument=value if step.write else None,
        result=None if step.write else value,
        start=2 * place,
        end=2 * place + 1,
    )


def of_key(small: Small, key: int) -> Small:
    """What was done with one key."""
    return tuple(step for step in small if step.key == key)


def told(small: Small, forever: frozenset[int] = frozenset()) -> str:
    """The history for people: a line a process, time to the right. `forever`: processes whose last read goes on being
    made and answered alike."""
    words = [_words(step) for step in small]
    lanes = []
    for process in sorted({step.process for step in small}):
        mine = [word if step.process == process else " " * len(word) for step, word in zip(small, words, strict=True)]
        end = " ..." if process in forever else ""
        lanes.append(f"{PROCESSES[process]}  " + ("  ".join(mine)).rstrip() + end)
    return "\n".join(lanes)


def _words(step: Step) -> str:
    key = KEYS[step.key]
    if step.write:
        return f"write({key}, {step.value})"
    return f"read({key}): {step.value or 'nothing'}"
