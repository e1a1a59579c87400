"""The smallest histories that tell models apart, and whether a stronger model is stronger: found by looking at all.

For every pair of models, either one is said to imply the other, and then no history may satisfy the first and not the
second; or it is not, and then there must be a history that does. Each model is decided by itself, by `coterie.check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import permutations
from typing import Final

import msgspec

from coterie.check import REGISTER, satisfies
from coterie.check.lattice import LINEARIZABLE, STRONGEST_FIRST, weaker_than
from coterie.lab.errors import LabError
from coterie.lab.models.small import KEYS, Small, Step, histories, of_key, operations

EXHAUSTIVE_SIZE: Final = 4
"""Every history of up to so many operations is judged by every model."""
MOST: Final = 5
"""The size up to which what is missing by then is looked for."""

Holds = Callable[[Small, str], bool]
"""Whether a history satisfies a model."""
Pair = tuple[str, str]
"""A history was allowed by the first and forbidden by the second."""


class Search(msgspec.Struct):
    """What the enumeration showed."""

    judged: int = 0
    """Histories that were judged by all models."""
    looked: int = 0
    """Larger ones that were looked at for what was missing still."""
    witnesses: dict[Pair, Small] = msgspec.field(default_factory=dict)
    """The smallest for each pair of which the first does not imply the second."""
    breaches: dict[Pair, Small] = msgspec.field(default_factory=dict)
    """Against what the lattice says: allowed by the stronger, forbidden by the weaker."""
    not_composable: dict[str, Small] = msgspec.field(default_factory=dict)
    """For each model the smallest history of which each key alone satisfies it and the whole does not."""


class Judge:
    """`coterie.check` on small histories; what differs only by names, or for all but linearizability by when processes
    did what, is judged once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Small, str], bool] = {}
        self._last: tuple[Small, Small] = ((), ())
        """A history, and what stands for it."""

    def __call__(self, small: Small, model: str) -> bool:
        """See `Holds`. Raises `LabError` if the checker cannot tell."""
        shape = small if model == LINEARIZABLE else self._shape(small)
        found = self._known.get((shape, model))
        if found is None:
            verdict = satisfies(operations(shape), REGISTER, model)
            if verdict is None:
                raise LabError(f"the checker cannot tell whether this is {model}: {small}")
            found = self._known[shape, model] = verdict
        return found

    def _shape(self, small: Small) -> Small:
        if self._last[0] is not small:
            self._last = small, timeless(small)
        return self._last[1]


def timeless(small: Small) -> Small:
    """The one history that stands for all with the same processes, whatever their names and those of keys and values,
    and whoever came first."""
    lanes = [[s for s in small if s.process == process] for process in sorted({s.process for s in small})]
    return min(_renamed([step for lane in order for step in lane]) for order in permutations(lanes))


def _renamed(steps: Iterable[Step]) -> Small:
    steps = list(steps)
    processes: dict[int, int] = {}
    keys: dict[int, int] = {}
    values = {0: 0}
    for step in steps:
        processes.setdefault(step.process, len(processes))
        keys.setdefault(step.key, len(keys))
        if step.write:
            values[step.value] = len(values)
    return tuple(Step(processes[s.process], keys[s.key], s.write, values[s.value]) for s in steps)


def search(
    holds: Holds,
    *,
    models: Iterable[str] = STRONGEST_FIRST,
    implied: Callable[[str], set[str]] = weaker_than,
    exhaustive: int = EXHAUSTIVE_SIZE,
    most: int = MOST,
    tell: Callable[[float], None] = lambda share: None,
) -> Search:
    """Judge every history up to the size `exhaustive`, then look on up to `most` for pairs that are missing still."""
    models = tuple(models)
    found = Search()
    stronger = {(a, b) for a in models for b in implied(a)}
    wanted = {(a, b) for a in models for b in models if a != b} - stronger
    for size in range(1, exhaustive + 1):
        for small in histories(size):
            found.judged += 1
            if found.judged % 256 == 0:
                tell(min(1.0, found.judged / 3700))
            verdicts = {model: holds(small, model) for model in models}
            _compare(found, small, verdicts, wanted, stronger)
            _compose(found, small, verdicts, holds)
    for size in range(exhaustive + 1, most + 1):
        _look_on(found, size, wanted - found.witnesses.keys(), models, holds)
    return found


def _look_on(found: Search, size: int, missing: set[Pair], models: Iterable[str], holds: Holds) -> None:
    """Until every pair has its witness, and after that no further: what does not compose beyond that is not sought."""
    for small in histories(size):
        if not missing:
            return
        found.looked += 1
        for pair in [pair for pair in missing if holds(small, pair[0]) and not holds(small, pair[1])]:
            found.witnesses[pair] = small
            missing.remove(pair)
            _compose(found, small, {model: holds(small, model) for model in models}, holds)


def _compare(found: Search, small: Small, verdicts: Mapping[str, bool], wanted: set[Pair], stronger: set[Pair]) -> None:
    allowed = [model for model, holds in verdicts.items() if holds]
    forbidden = [model for model, holds in verdicts.items() if not holds]
    for pair in ((a, b) for a in allowed for b in forbidden):
        if pair in wanted:
            found.witnesses.setdefault(pair, small)
        elif pair in stronger:
            found.breaches.setdefault(pair, small)


def _compose(found: Search, small: Small, verdicts: Mapping[str, bool], holds: Holds) -> None:
    if len({step.key for step in small}) < len(KEYS):
        return
    for model, whole in verdicts.items():
        if not whole and model not in found.not_composable:
            parts = (_renamed(of_key(small, key)) for key in range(len(KEYS)))
            if all(holds(part, model) for part in parts):
                found.not_composable[model] = small
