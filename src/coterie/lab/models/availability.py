"""Which models can be had while two sides of a partition do not hear each other: found by playing it through.

Each side must answer at once (available, as in Gilbert and Lynch 2002), and knows only what it was asked itself. So a
read on a side can be answered with what was written on that side, or with nothing; no other answer is possible that
would not be invented. A *program* says which process does what on which side, one operation after the other.

- A program for which every choice of answers breaks the model refutes it: no system gives it and stays available.
- A *rule* is a way to answer. If one gives right answers to all programs of a size, nothing was refuted up to it.

A model is *total* available if processes may go from side to side, *sticky* if only those that stay with one side are
served rightly (Bailis et al., "Highly Available Transactions", VLDB 2013, section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import msgspec

from coterie.lab.errors import LabError
from coterie.lab.models import transactions
from coterie.lab.models.small import KEYS, PROCESSES, Small, Step
from coterie.lab.models.witnesses import Holds

NONE, STICKY, TOTAL = "none", "sticky", "total"
SIDES: Final = ("left", "right")
MOST: Final = 4
"""Operations of a program."""


class Move(NamedTuple):
    """One operation of a program; what a read finds is for the sides to say."""

    process: int
    side: int
    key: int
    write: bool
    value: int
    """What is written; 0 of a read."""


Program = tuple[Move, ...]
Rule = Callable[[Sequence[int]], int]
"""Chooses the answer among those that are possible: nothing (0) first, then what this side was told, in order."""
RULES: Final[dict[str, Rule]] = {
    "only what both sides have": lambda options: options[0],
    "the newest of one's own side": lambda options: options[-1],
}


class Available(msgspec.Struct, frozen=True):
    """What was found for one model."""

    kind: str
    """`none`, `sticky` or `total`."""
    rule: str
    """By which it can be had, in every program that was tried; empty if it cannot."""
    refuted: str
    """The smallest program that no answers save, with the only answers there are, for people: for `none` one whose
    processes stay where they are, for `sticky` one that moves. Empty if there is none."""
    programs: int
    """That were played."""


def programs(size: int, *, roaming: bool, processes: int = 2) -> Iterator[Program]:
    """Every program of a size, up to names."""
    yield from _continued((), size, roaming, processes)


def _continued(begun: Program, size: int, roaming: bool, processes: int) -> Iterator[Program]:
    if len(begun) == size:
        yield begun
        return
    homes = {move.process: move.side for move in begun}
    seen_keys = 1 + max((move.key for move in begun), default=-1)
    written = sum(move.write for move in begun)
    for process in range(min(processes, len(homes) + 1)):
        sides = (0, 1) if roaming or process not in homes else (homes[process],)
        for side, key in product(sides if begun else (0,), range(min(len(KEYS), seen_keys + 1))):
            for write in (True, False):
                move = Move(process, side, key, write, written + 1 if write else 0)
                yield from _continued((*begun, move), size, roaming, processes)


def played(program: Program, choices: Sequence[int]) -> Small:
    """The history that a program makes if each read is answered so."""
    answers = iter(choices)
    return tuple(Step(m.process, m.key, m.write, m.value if m.write else next(answers)) for m in program)


def options(program: Program) -> list[tuple[int, ...]]:
    """For each read what its side can answer."""
    return [
        (0, *(m.value for m in program[:place] if m.write and (m.side, m.key) == (read.side, read.key)))
        for place, read in enumerate(program)
        if not read.write
    ]


def refuted(program: Program, model: str, holds: Holds) -> Small | None:
    """A history of the program, if no choice of answers satisfies the model; None if one does."""
    histories = [played(program, choices) for choices in product(*options(program))]
    return None if any(holds(history, model) for history in histories) else histories[-1]


def available(model: str, holds: Holds, most: int = MOST) -> Available:
    """Play every program of up to so many operations."""
    count = 0
    refutations: dict[bool, tuple[Program, Small] | None] = {}
    for roaming in (False, True):
        refutations[roaming] = None
        for size in range(1, most + 1):
            for program in programs(size, roaming=roaming):
                count += 1
                history = refuted(program, model, holds)
                if history is not None:
                    refutations[roaming] = program, history
                    break
            if refutations[roaming] is not None:
                break
    stays, roams = refutations[False], refutations[True]
    if stays is not None:
        return Available(NONE, "", told(*stays), count)
    rule = _rule(model, holds, roams is None, most)
    if not rule:
        raise LabError(f"{model} was not refuted up to {most} operations, and no rule of {', '.join(RULES)} gives it")
    return Available(TOTAL if roams is None else STICKY, rule, told(*roams) if roams is not None else "", count)


def _rule(model: str, holds: Holds, roaming: bool, most: int) -> str:
    for name, rule in RULES.items():
        if all(
            holds(played(program, [rule(found) for found in options(program)]), model)
            for size in range(1, most + 1)
            for program in programs(size, roaming=roaming)
        ):
            return name
    return ""


def told(program: Program, history: Small) -> str:
    """For people: what is asked on which side, and what must be answered."""
    lines = []
    for move, step in zip(program, history, strict=True):
        key = KEYS[move.key]
        done = f"write({key}, {step.value})" if move.write else f"read({key}): {step.value or 'nothing'}"
        lines.append(f"{PROCESSES[move.process]} on the {SIDES[move.side]:<5}  {done}")
    return "\n".join(lines)


def available_transactions(
    model: str, holds: Callable[[transactions.Transactions, str], bool] = transactions.holds, most: int = MOST
) -> Available:
    """Play two transactions, one on each side. `Available.kind` is `none`, or `sticky` if nothing was refuted."""
    count = 0
    for size in range(2, most + 1):
        saved: dict[tuple[tuple[Step, ...], ...], bool] = {}
        example: dict[tuple[tuple[Step, ...], ...], transactions.Transactions] = {}
        for history in transactions.histories(size):
            if len(history) != len(SIDES) or not _apart(history):
                continue
            asked = tuple(tuple(s._replace(value=s.value if s.write else 0) for s in part) for part in history)
            saved[asked] = saved.get(asked, False) or holds(history, model)
            example[asked] = history
        count += len(saved)
        lost = next((asked for asked, is_saved in saved.items() if not is_saved), None)
        if lost is not None:
            lines = transactions.told(example[lost]).splitlines()
            words = (f"{line}   ({side})" for line, side in zip(lines, SIDES, strict=True))
            return Available(NONE, "", "\n".join(words), count)
    return Available(STICKY, "some answers", "", count)


def _apart(history: transactions.Transactions) -> bool:
    """Whether each transaction finds only what it wrote itself: all that its side knows."""
    return all(
        s.write or not s.value or any(o.write and o.value == s.value for o in part) for part in history for s in part
    )
