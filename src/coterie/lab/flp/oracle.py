"""What ends it without clocks: a failure detector, or a network that does not take sides.

*Omega* names, from some time on, the same process to all, one that lives. It is the weakest detector with which
consensus can be had (Chandra, Hadzilacos, Toueg 1996), and as strong as their <>S (1996: the detector with which a
majority's rotating coordinator decides). Here the deterministic protocol of `system` asks it one thing: may I begin a
ballot? Then it decides in every order of messages, whoever else crashes and whenever. That is shown by exploring them
all, from a configuration into which the adversary has brought the group while the detector named everybody.

*Random order*: the adversary's schedule is one of many. If the next message is drawn, each as likely as any other, the
protocol decides with probability 1, and soon.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from coterie.core.types import MemberId
from coterie.lab.flp.system import Configuration, Number, System, Value
from coterie.lab.flp.valency import LIMIT_CONFIGURATIONS, Graph, explored

MAX_EVENTS: Final = 10_000
"""Of a random run: it is given up then, and counts as undecided."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a configuration once the detector names one process for ever."""

    leader: MemberId
    configurations: int
    """In every order of messages."""
    longest: int | None
    """Events of the longest run; None: there is one without end, or something is wrong."""
    undecided: int
    """Configurations in which a run ends, every message to a living process having arrived, and nothing is decided."""
    values: frozenset[Value]
    """What is decided in some run."""
    wrong: str | None


def settle(
    walked: System,
    configuration: Configuration,
    named: Callable[[MemberId], bool],
    leader: MemberId,
    *,
    limit: int = LIMIT_CONFIGURATIONS,
) -> Settled:
    """Explore what follows a configuration of `walked` when only those may begin a ballot that are `named`, and anybody
    but `leader` may crash at any time. Raises `TooManyStates`."""
    system = System(walked.inputs, may_try=named)
    origin = Configuration(
        tuple(system.number(walked.process(number)) for number in configuration.processes),
        tuple(system.number(walked.letter(number)) for number in configuration.letters),
    )
    graph = explored(system, origin, limit=limit)
    flaw = graph.exploration.counterexample
    ends = [c for c in graph.edges if _may_end(system, c, leader)]
    return Settled(
        leader=leader,
        configurations=graph.exploration.states,
        longest=_longest(graph) if flaw is None else None,
        undecided=sum(not system.decided(c) for c in ends),
        values=frozenset().union(*(system.decided(c) for c in ends)),
        wrong=None if flaw is None else flaw.reason,
    )


def _may_end(system: System, configuration: Configuration, leader: MemberId) -> bool:
    """Whether a run with one crash may end here: all messages that are left are to one process, which may be down."""
    return len({system.letter(x).to for x in configuration.letters} - {leader}) <= 1 and not any(
        system.letter(x).to == leader for x in configuration.letters
    )


def _longest(graph: Graph) -> int | None:
    """The number of events of the longest run; None if a configuration comes again, so that there is no longest."""
    ways_in = dict.fromkeys(graph.edges, 0)
    for steps in graph.edges.values():
        for _, after in steps:
            ways_in[after] += 1
    free = [c for c, ways in ways_in.items() if not ways]
    longest = dict.fromkeys(graph.edges, 0)
    visited = 0
    while free:
        here = free.pop()
        visited += 1
        for _, after in graph.edges[here]:
            longest[after] = max(longest[after], longest[here] + 1)
            ways_in[after] -= 1
            if not ways_in[after]:
                free.append(after)
    return max(longest.values()) if visited == len(graph.edges) else None


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """Runs in which the next message is drawn."""

    events: tuple[int, ...]
    """Until something was decided, in each run that decided."""
    undecided: int
    """Runs that were given up."""
    wrong: int
    """Runs in which agreement or validity broke."""
    values: dict[Value, int]


def draw_runs(system: System, trials: int, rng: random.Random) -> Drawn:
    """So many runs from the beginning, to the end of the buffer or of patience."""
    lengths: list[int] = []
    values: dict[Value, int] = dict.fromkeys(sorted(set(filter(None, system.inputs))), 0)
    undecided = wrong = 0
    for _ in range(trials):
        decided_at, last = _draw_run(system, rng)
        wrong += system.wrong(last) is not None
        if decided_at is None:
            undecided += 1
            continue
        lengths.append(decided_at)
        for value in system.decided(last):
            values[value] += 1
    return Drawn(events=tuple(lengths), undecided=undecided, wrong=wrong, values=values)


def _draw_run(system: System, rng: random.Random) -> tuple[int | None, Configuration]:
    here, decided_at = system.initial, None
    for event in range(1, MAX_EVENTS + 1):
        if not here.letters:
            break
        here = system.apply(here, _any(here.letters, rng))
        if decided_at is None and system.decided(here):
            decided_at = event
    return decided_at, here


def _any(letters: Sequence[Number], rng: random.Random) -> Number:
    return letters[rng.randrange(len(letters))]
