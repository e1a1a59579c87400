"""Lemmas 2 and 3 of the paper, as searches: what the proof says exists is looked for, everywhere.

*Lemma 2.* Some initial configuration is bivalent. *Lemma 3.* Let C be bivalent and e an event that is possible in it.
Among the configurations that are reached from C by schedules whose last event is e, and which have no e before, one is
bivalent. (So whoever chooses the order can grant every message its turn, and nothing is ever decided.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final

import msgspec

from coterie.lab.flp.system import Configuration, Number, System, Value
from coterie.lab.flp.valency import LIMIT_CONFIGURATIONS, Schedule, explored, futures
from coterie.sim.explorer import explore

VALUES: Final[tuple[Value, Value]] = ("a", "b")
DETOUR_EVENTS: Final = 8
"""How far Lemma 3 is looked for: events before e."""


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """An initial configuration, and what it can lead to."""

    inputs: tuple[Value | None, ...]
    configurations: int
    """That can be reached from it."""
    valency: frozenset[Value]
    wrong: str | None
    """How agreement or validity is broken, if it is."""


def beginnings(rounds: int, *, proposers: int = 2, processes: int = 3, quorum: int | None = None) -> list[Beginning]:
    """Lemma 2: every initial configuration, each explored in every order of events. Raises `TooManyStates`."""
    found = []
    for chosen in product(VALUES, repeat=proposers):
        inputs = (*chosen, *[None] * (processes - proposers))
        system = System(inputs, rounds=rounds, quorum=quorum)
        graph = explored(system)
        first = system.canonical(system.initial)
        flaw = graph.exploration.counterexample
        found.append(
            Beginning(
                inputs=inputs,
                configurations=graph.exploration.states,
                valency=graph.valency.get(first, frozenset()),
                wrong=None if flaw is None else flaw.reason,
            )
        )
    return found


class Valencies:
    """Which configurations of a system are bivalent, found once."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._known: dict[Configuration, bool] = {}

    def bivalent(self, configuration: Configuration) -> bool:
        """Whether a run to each of two values is found (no: nothing is known)."""
        like = self.system.canonical(configuration)
        if like not in self._known:
            self._known[like] = len(futures(self.system, like)) > 1
        return self._known[like]


def detour(
    valencies: Valencies, configuration: Configuration, event: Number, *, longest: int = DETOUR_EVENTS
) -> Schedule | None:
    """Lemma 3: the shortest schedule that ends with `event`, has it nowhere before, and leads to a bivalent
    configuration; None: there is none with at most `longest` events before it."""
    system = valencies.system
    seen = {system.canonical(configuration)}
    fresh: deque[tuple[Configuration, Schedule]] = deque([(configuration, ())])
    while fresh:
        here, before = fresh.popleft()
        if valencies.bivalent(system.apply(here, event)):
            return (*before, event)
        if len(before) == longest:
            continue
        for other in system.events(here):
            if other != event:
                after = system.apply(here, other)
                like = system.canonical(after)
                if like not in seen:
                    seen.add(like)
                    fresh.append((after, (*before, other)))
    return None


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Lemma 3 in every bivalent configuration of a set, with every event that is possible there."""

    configurations: int
    """That were looked at."""
    bivalent: int
    chosen: int
    """In which a quorum has accepted one proposal: univalent, for what is chosen stays chosen."""
    pairs: int
    """Of a bivalent configuration and an event."""
    found: int
    """Pairs for which the bivalent configuration of the lemma is found."""
    lengths: tuple[int, ...]
    """How often it took so many events before e."""


def within(system: System, rounds: int) -> tuple[list[Configuration], str | None]:
    """Every configuration of an unbounded system in which no ballot is above this round, and how agreement or validity
    is broken: if so, only those that were met before. Raises `TooManyStates`."""
    inside: list[Configuration] = []

    def successors(configuration: Configuration) -> Iterator[tuple[object, Configuration]]:
        if system.highest(configuration) <= rounds:
            inside.append(configuration)
            for event in system.events(configuration):
                yield event, system.canonical(system.apply(configuration, event))

    seen = explore(system.canonical(system.initial), successors, system.wrong, limit=LIMIT_CONFIGURATIONS)
    return inside, None if seen.counterexample is None else seen.counterexample.reason


def survey(system: System, configurations: Iterable[Configuration], *, longest: int = DETOUR_EVENTS) -> Survey:
    """Look for Lemma 3 everywhere."""
    valencies = Valencies(system)
    seen = bivalent = chosen = pairs = 0
    lengths = [0] * (longest + 1)
    for configuration in configurations:
        seen += 1
        chosen += system.chosen(configuration) is not None
        if not valencies.bivalent(configuration):
            continue
        bivalent += 1
        for event in system.events(configuration):
            pairs += 1
            schedule = detour(valencies, configuration, event, longest=longest)
            if schedule is not None:
                lengths[len(schedule) - 1] += 1
    return Survey(
        configurations=seen, bivalent=bivalent, chosen=chosen, pairs=pairs, found=sum(lengths), lengths=_cut(lengths)
    )


def _cut(lengths: Sequence[int]) -> tuple[int, ...]:
    last = max((n for n, count in enumerate(lengths) if count), default=0)
    return tuple(lengths[: last + 1])
