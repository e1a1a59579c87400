"""Which decisions a configuration can still lead to: its valency (section 3 of the paper).

Two ways to know it. `explored` visits every configuration of a system whose ballots end, in every order of events, and
goes back from the decisions: exact for that system. `futures` looks for one run to each value, in which a proposer
hears one acceptor and nobody else: what it finds is a proof (two runs, two values: bivalent, whatever else may
happen), and what it does not find proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from coterie.core.multipaxos.synod import Accept, Prepare
from coterie.core.types import MemberId
from coterie.lab.flp.system import Configuration, Letter, Number, System, Value
from coterie.sim.explorer import Exploration, explore

Schedule: TypeAlias = tuple[Number, ...]
LIMIT_CONFIGURATIONS: Final = 400_000
ALONE_EVENTS: Final = 40
"""A proposer that one acceptor alone answers needs two ballots at most: the second is above all that both know of."""


class Graph(msgspec.Struct):
    """Every configuration of a system, and what each event makes of it. All are canonical."""

    system: System
    exploration: Exploration[Configuration]
    edges: dict[Configuration, list[tuple[Number, Configuration]]]
    valency: dict[Configuration, frozenset[Value]]
    """The values decided in any configuration that can be reached."""

    def bivalent(self) -> list[Configuration]:
        """Those that can still come to either decision, in the order in which they were found."""
        return [c for c, values in self.valency.items() if len(values) > 1]

    def count(self) -> dict[str, int]:
        """How many there are of each valency: by the values; '' if nothing is decided any more."""
        found: dict[str, int] = defaultdict(int)
        for values in self.valency.values():
            found["".join(sorted(values))] += 1
        return dict(found)


def explored(system: System, origin: Configuration | None = None, *, limit: int = LIMIT_CONFIGURATIONS) -> Graph:
    """Visit all that can be reached from `origin` (the beginning). Stops where agreement or validity is broken: see
    the exploration's counterexample. Raises `TooManyStates`."""
    edges: dict[Configuration, list[tuple[Number, Configuration]]] = {}

    def successors(configuration: Configuration) -> Iterable[tuple[object, Configuration]]:
        found = [(e, system.canonical(system.apply(configuration, e))) for e in system.events(configuration)]
        edges[configuration] = found
        return found

    first = system.canonical(system.initial if origin is None else origin)
    seen = explore(first, successors, system.wrong, limit=limit)
    valency = {} if seen.counterexample is not None else _valency(system, edges)
    return Graph(system, seen, edges, valency)


def _valency(
    system: System, edges: Mapping[Configuration, list[tuple[Number, Configuration]]]
) -> dict[Configuration, frozenset[Value]]:
    before = backward(edges, lambda event: True)
    reached: dict[Configuration, set[Value]] = {c: set() for c in edges}
    for value in sorted(set(filter(None, system.inputs))):
        for configuration in closure((c for c in edges if value in system.decided(c)), before):
            reached[configuration].add(value)
    return {c: frozenset(values) for c, values in reached.items()}


def backward(
    edges: Mapping[Configuration, list[tuple[Number, Configuration]]], through: Callable[[Number], bool]
) -> dict[Configuration, list[Configuration]]:
    """From where each configuration is reached in one event; by such events alone."""
    before: dict[Configuration, list[Configuration]] = {c: [] for c in edges}
    for configuration, steps in edges.items():
        for event, after in steps:
            if through(event):
                before[after].append(configuration)
    return before


def closure(
    origin: Iterable[Configuration], neighbours: Mapping[Configuration, list[Configuration]]
) -> set[Configuration]:
    """All that is connected with the origin, step by step, and the origin itself."""
    found = set(origin)
    fresh = list(found)
    while fresh:
        for other in neighbours[fresh.pop()]:
            if other not in found:
                found.add(other)
                fresh.append(other)
    return found


# -- one run to each value ------------------------------------------------------------------------


def futures(system: System, configuration: Configuration) -> dict[Value, Schedule]:
    """For each value that some proposer decides when it hears one acceptor and nobody else: the run. And the values
    that are decided already, by no run at all."""
    found: dict[Value, Schedule] = dict.fromkeys(sorted(system.decided(configuration)), ())
    for proposer, own in zip(system.members, system.inputs, strict=True):
        for acceptor in system.members:
            if own is not None and acceptor != proposer:
                run = alone(system, configuration, proposer, acceptor)
                if run is not None:
                    found.setdefault(*run)
    return found


def alone(
    system: System, configuration: Configuration, proposer: MemberId, acceptor: MemberId
) -> tuple[Value, Schedule] | None:
    """What is decided if from now on nothing arrives but what these two, in these roles, say to each other, the oldest
    first; and that run. None: nothing is, for the proposer heard from others what it will not hear again."""
    schedule: list[Number] = []
    while not (values := system.decided(configuration)):
        event = next((x for x in configuration.letters if _is_theirs(system.letter(x), proposer, acceptor)), None)
        if event is None or len(schedule) == ALONE_EVENTS:
            return None
        schedule.append(event)
        configuration = system.apply(configuration, event)
    return min(values), tuple(schedule)


def _is_theirs(letter: Letter, proposer: MemberId, acceptor: MemberId) -> bool:
    if isinstance(letter.body, Prepare | Accept):
        return (letter.sender, letter.to) == (proposer, acceptor)
    return letter.to == proposer and letter.sender in (proposer, acceptor)
