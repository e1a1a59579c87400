"""Which consistency models a history satisfies: all of them, from the strongest down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from coterie.check.counterexample import Counterexample, minimised, shrink
from coterie.check.history import FOREVER, KeepGoing, Operation, always, checked
from coterie.check.linearizability import linearizable, parts
from coterie.check.models.model import Model
from coterie.check.sequential import sequential
from coterie.check.views import Breach, Execution, Guarantee, Read, breach, needs_all

LINEARIZABLE: Final = "linearizable"
SEQUENTIAL: Final = "sequential"
STRONGEST_FIRST: Final = (LINEARIZABLE, SEQUENTIAL, *(guarantee.value for guarantee in Guarantee))
IMPLIES: Final[dict[str, tuple[str, ...]]] = {
    LINEARIZABLE: (SEQUENTIAL,),
    SEQUENTIAL: ("causal",),
    "causal": ("pram", "writes-follow-reads"),
    "pram": ("monotonic-reads", "monotonic-writes", "read-your-writes"),
}
"""What holds with each: the lattice's edges."""
DEFAULT_STEPS: Final = 50_000
"""For each model below linearizability."""


class Verdict(Enum):
    """On linearizability."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not-linearizable"
    UNKNOWN = "unknown"


class Judgement(msgspec.Struct, frozen=True):
    """All that is known of a history."""

    verdict: Verdict
    model: str
    """The object: `register`, `queue` ..."""
    operations: int
    holds: tuple[str, ...]
    """Consistency models, the strongest first."""
    fails: tuple[str, ...]
    undecided: tuple[str, ...]
    """Those for which the steps did not suffice, or that are not defined for the object."""
    counterexamples: tuple[Counterexample, ...]
    """One for each model that fails, in the order of `fails`."""

    @property
    def strongest(self) -> str | None:
        """The strongest that holds; of several that cannot be compared the first of `STRONGEST_FIRST`."""
        return self.holds[0] if self.holds else None


def judge(
    history: Sequence[Operation], model: Model, keep_going: KeepGoing = always, steps: int = DEFAULT_STEPS
) -> Judgement:
    """Linearizability, and if that fails or is not known, each weaker model, with a small counterexample for each that
    fails. Raises `HistoryError` if an operation is none of the model's."""
    ordered = checked(history)
    found: dict[str, bool | None] = {}
    examples: dict[str, Counterexample] = {}
    linear = linearizable(ordered, model, keep_going)
    _settle(found, LINEARIZABLE, linear.holds)
    if linear.holds is False:
        examples[LINEARIZABLE] = minimised(linear, model, keep_going)
    if linear.holds is not True:
        # Sequential consistency brings all others; else the weakest that fails takes others with it.
        for name in (SEQUENTIAL, *reversed(STRONGEST_FIRST[2:])):
            if found.get(name) is not None:
                continue
            weaker = _Weaker(name, model, steps, keep_going)
            holds = weaker.holds(ordered)
            if holds is False:
                examples[name] = weaker.example(ordered)
            _settle(found, name, holds)
    failing = [name for name in STRONGEST_FIRST if found.get(name) is False]
    return Judgement(
        {True: Verdict.LINEARIZABLE, False: Verdict.NOT_LINEARIZABLE, None: Verdict.UNKNOWN}[found[LINEARIZABLE]],
        model.name,
        len(ordered),
        tuple(name for name in STRONGEST_FIRST if found.get(name) is True),
        tuple(failing),
        tuple(name for name in STRONGEST_FIRST if found.get(name) is None),
        tuple(_example_for(name, examples) for name in failing),
    )


def satisfies(
    history: Sequence[Operation],
    model: Model,
    name: str,
    keep_going: KeepGoing = always,
    steps: int = DEFAULT_STEPS,
) -> bool | None:
    """One consistency model of `STRONGEST_FIRST` by itself, with nothing taken from what others imply; None if it gave
    up, or the model is not defined for the object. Raises `HistoryError` if an operation is none of the model's."""
    ordered = checked(history)
    if name == LINEARIZABLE:
        return linearizable(ordered, model, keep_going).holds
    return _Weaker(name, model, steps, keep_going).holds(ordered)


def weaker_than(name: str) -> set[str]:
    """All that a model implies."""
    direct = set(IMPLIES.get(name, ()))
    return direct.union(*(weaker_than(one) for one in direct))


def _settle(found: dict[str, bool | None], name: str, holds: bool | None) -> None:
    """A model that holds brings all weaker ones; one that fails takes all stronger ones with it."""
    found[name] = holds
    if holds is None:
        return
    for other in STRONGEST_FIRST:
        if other in weaker_than(name) if holds else name in weaker_than(other):
            found[other] = holds


def _example_for(name: str, examples: dict[str, Counterexample]) -> Counterexample:
    """Its own, or that of the weakest model whose failure it shares."""
    if name in examples:
        return examples[name]
    weakest = next(one for one in reversed(STRONGEST_FIRST) if one in examples and one in weaker_than(name))
    return msgspec.structs.replace(examples[weakest], model=name)


class _Outcome(NamedTuple):
    holds: bool | None
    breach: Breach | None = None


class _Weaker:
    """One model below linearizability."""

    def __init__(self, name: str, model: Model, steps: int, keep_going: KeepGoing) -> None:
        self._name = name
        self._model = model
        self._steps = steps
        self._keep_going = keep_going

    def holds(self, history: Sequence[Operation]) -> bool | None:
        return self._decide(history).holds

    def example(self, history: Sequence[Operation]) -> Counterexample:
        """A small part of a history for which the model fails."""
        small = shrink(history, self._groups, lambda part: self.holds(part) is False, self._keep_going)
        found = self._decide(small).breach
        if found is None:
            reason = "no one order of the operations keeps the order in which each process called, and every answer"
            return Counterexample(self._name, tuple(small), None, reason)
        return Counterexample(self._name, tuple(small), small[found.culprit], found.reason)

    def _decide(self, history: Sequence[Operation]) -> _Outcome:
        budget = _Budget(self._steps, self._keep_going)
        if self._name == SEQUENTIAL:
            return _Outcome(sequential(history, self._model, budget.spend))
        accesses = self._model.accesses(history)
        if accesses is None:
            return _Outcome(None)
        execution = Execution(history, accesses, self._model.blank)
        return _decide(execution, Guarantee(self._name), budget)

    def _groups(self, history: Sequence[Operation]) -> list[tuple[int, ...]]:
        """What may be taken out soundly: whatever leaves nothing that an answer shows."""
        if self._name == SEQUENTIAL:
            place = {id(operation): number for number, operation in enumerate(history)}
            split = parts(history, self._model)
            return [tuple(place[id(part[one])] for one in group) for part in split for group in self._timeless(part)]
        accesses = self._model.accesses(history)
        assert accesses is not None
        shown = {read for access, operation in zip(accesses, history, strict=True) for read in access.reads}
        return [(place,) for place, access in enumerate(accesses) if not shown.intersection(access.writes)]

    def _timeless(self, part: Sequence[Operation]) -> list[tuple[int, ...]]:
        """What may be taken out of one part where real time is no argument."""
        pure = [(place,) for place, action in enumerate(self._model.actions(part)) if action.effect is None]
        together = [msgspec.structs.replace(o, start=0, end=1 if o.known else FOREVER) for o in part]
        return [*pure, *(group for group in self._model.removals(together) if group not in pure)]


class _Budget:
    def __init__(self, steps: int, keep_going: KeepGoing) -> None:
        self._left = steps
        self._keep_going = keep_going

    def spend(self, steps: int = 1) -> bool:
        """False when it is used up."""
        self._left -= steps
        return self._left > 0 and self._keep_going()


def _decide(execution: Execution, guarantee: Guarantee, budget: _Budget) -> _Outcome:
    """Try who may have read from whom; each process on its own, where the others' reads do not matter."""
    reads = [(read, execution.candidates(read, value)) for read, value in execution.reads()]
    for read, sources in reads:
        if not sources:
            reason = f"{execution.tell(read.reader)} answered what nobody wrote"
            return _Outcome(False, Breach(read.reader, reason))
    groups: list[tuple[list[int | str], list[tuple[Read, list[int | None]]]]] = []
    if needs_all(guarantee):
        groups.append((list(execution.processes), reads))
    else:
        for process in execution.processes:
            mine = [one for one in reads if execution.history[one[0].reader].process == process]
            groups.append(([process], mine))
    undecided = False
    for processes, theirs in groups:

        def check(sources: dict[Read, int | None], processes: list[int | str] = processes) -> Breach | None:
            found = (breach(execution, guarantee, process, sources) for process in processes)
            return next((one for one in found if one is not None), None)

        outcome = _assign(theirs, check, budget, len(execution.history))
        if outcome.holds is False:
            return outcome
        undecided = undecided or outcome.holds is None
    return _Outcome(None if undecided else True)


def _assign(
    reads: list[tuple[Read, list[int | None]]],
    check: Callable[[dict[Read, int | None]], Breach | None],
    budget: _Budget,
    cost: int,
) -> _Outcome:
    """Search for sources that break nothing. What a part of the reads breaks, all break: so certain ones come first,
    and a doubtful one is tried only on top of what has stood so far."""
    sources: dict[Read, int | None] = {read: found[0] for read, found in reads if len(found) == 1}
    first = check(sources)
    doubtful = [(read, found) for read, found in reads if len(found) > 1]
    if first is not None or not doubtful:
        return _Outcome(first is None, first)
    tried = [0] * len(doubtful)
    depth = 0
    last: Breach | None = None
    while depth >= 0:
        read, found = doubtful[depth]
        if tried[depth] == len(found):
            tried[depth] = 0
            sources.pop(read, None)
            depth -= 1
            continue
        if not budget.spend(cost):
            return _Outcome(None)
        sources[read] = found[tried[depth]]
        tried[depth] += 1
        broken = check(sources)
        if broken is not None:
            last = broken
        elif depth + 1 == len(doubtful):
            return _Outcome(True)
        else:
            depth += 1
    return _Outcome(False, last)
