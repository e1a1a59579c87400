"""Eventual consistency says something only of what goes on for ever; so do the models that imply it.

Here the last operation of some processes, a read, is made again and again for ever, and always answered alike. Such a
history is judged by trying every order:

- *eventual* (Vogels 2009; Burckhardt 2014): every write is seen by all but finitely many operations, and one order of
  writes is the same for all. So the reads that go on for ever agree on each key, on something that was
  written, if anything was.
- *sequential*, *causal*: as in coterie.check, but an operation has a place in an order only if finitely many come
  before it: so what goes on for ever sees every write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, permutations
from typing import Final

import msgspec

from coterie.lab.models.small import Small, Step, histories

EVENTUAL: Final = "eventual"
MOST: Final = 4
Endless = frozenset[int]
"""The processes whose last read goes on."""


class Endings(msgspec.Struct):
    """What the histories that go on for ever showed."""

    judged: int = 0
    below: tuple[Small, Endless] | None = None
    """The smallest that is eventual and not sequential."""
    apart: tuple[Small, Endless] | None = None
    """The smallest that is causal and never becomes one."""
    breach: tuple[Small, Endless] | None = None
    """One that is sequential and not eventual: against the lattice."""
    loose: dict[str, tuple[Small, Endless]] = msgspec.field(default_factory=dict)
    """For each session guarantee one that is eventual and breaks it."""


def search(holds: Callable[[Small, str], bool], broken: Mapping[str, Small], most: int = MOST) -> Endings:
    """Every history of two processes up to a size, with every choice of what goes on. `holds`: whether what happened so
    far satisfies a session guarantee; `broken`: for each a small history that does not."""
    found = Endings()
    for size in range(1, most + 1):
        for small, endless in _endless(size):
            found.judged += 1
            eventually = eventual(small, endless)
            in_order = sequential(small, endless)
            if in_order and not eventually:
                found.breach = found.breach or (small, endless)
            if eventually and not in_order:
                found.below = found.below or (small, endless)
            if not eventually and found.apart is None and causal(small, endless):
                found.apart = small, endless
    for guarantee, small in broken.items():
        continued, endless = _agreeing(small)
        if eventual(continued, endless) and not holds(continued, guarantee):
            found.loose[guarantee] = continued, endless
    return found


def _agreeing(small: Small) -> tuple[Small, Endless]:
    """The history, after which every process reads for ever what was written last of the first key."""
    processes = sorted({step.process for step in small})
    value = max((step.value for step in small if step.write and step.key == 0), default=0)
    return (*small, *(Step(process, 0, False, value) for process in processes)), frozenset(processes)


def _endless(size: int) -> Iterator[tuple[Small, Endless]]:
    for small in histories(size, processes=2):
        last = {step.process: step for step in small}
        able = [process for process, step in last.items() if not step.write]
        for chosen in chain.from_iterable(combinations(able, count) for count in range(1, len(able) + 1)):
            yield small, frozenset(chosen)


def _endings(small: Small, endless: Endless) -> list[Step]:
    last = {step.process: step for step in small}
    return [last[process] for process in sorted(endless)]


def eventual(small: Small, endless: Endless) -> bool:
    """Whether there is one order of writes on which all agree in the end."""
    written = {step.key for step in small if step.write}
    agreed: dict[int, int] = {}
    for read in _endings(small, endless):
        if agreed.setdefault(read.key, read.value) != read.value or (read.key in written and not read.value):
            return False
    return True


def sequential(small: Small, endless: Endless) -> bool:
    """Whether there is one order of all operations, each process's own kept, in which what goes on comes last."""
    lanes = [[step for step in small if step.process == p] for p in sorted({s.process for s in small})]
    ends = set(map(id, _endings(small, endless)))
    return any(legal(order) and _nothing_after(order, ends) for order in _merges([[*lane] for lane in lanes]))


def causal(small: Small, endless: Endless) -> bool:
    """Causal memory (Ahamad et al. 1995): for each process an order of all writes and its own operations."""
    return all(_view(small, endless, process, _causes(small)) for process in {step.process for step in small})


def _causes(small: Small) -> set[tuple[int, int]]:
    """Pairs of places, the first of which comes before the second: (so + rf)⁺."""
    direct = {
        (a, b)
        for b, later in enumerate(small)
        for a, earlier in enumerate(small[:b])
        if earlier.process == later.process
        or (earlier.write and not later.write and (earlier.key, earlier.value) == (later.key, later.value))
    }
    while True:
        wider = direct | {(a, d) for a, b in direct for c, d in direct if b == c}
        if wider == direct:
            return direct
        direct = wider


def _view(small: Small, endless: Endless, process: int, causes: set[tuple[int, int]]) -> bool:
    seen = [place for place, step in enumerate(small) if step.write or step.process == process]
    mine = [step for step in _endings(small, endless) if step.process == process]
    ends = set(map(id, mine))
    for order in permutations(seen):
        rank = {place: number for number, place in enumerate(order)}
        if any(a in rank and b in rank and rank[a] > rank[b] for a, b in causes):
            continue
        steps = [small[place] for place in order]
        if legal(steps) and _nothing_after(steps, ends):
            return True
    return False


def _merges(lanes: list[list[Step]]) -> Iterator[list[Step]]:
    if not any(lanes):
        yield []
    for number, lane in enumerate(lanes):
        if lane:
            for rest in _merges([*lanes[:number], lane[1:], *lanes[number + 1 :]]):
                yield [lane[0], *rest]


def legal(order: Sequence[Step]) -> bool:
    """Whether every read finds what was written last."""
    held: dict[int, int] = {}
    for step in order:
        if step.write:
            held[step.key] = step.value
        elif held.get(step.key, 0) != step.value:
            return False
    return True


def _nothing_after(order: Sequence[Step], ends: set[int]) -> bool:
    """Whether nothing that happens once comes after what goes on for ever."""
    kinds = [id(step) in ends for step in order]
    return kinds == sorted(kinds)
