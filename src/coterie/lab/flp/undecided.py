"""First part: bivalence found by exploration, and the adversary that keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from coterie.lab.experiment import Claim, Figure, Table, Text
from coterie.lab.flp.adversary import Replay, Walk, replay, walk
from coterie.lab.flp.drawing import draw_walk
from coterie.lab.flp.lemmas import VALUES, Beginning, Survey, beginnings, survey, within
from coterie.lab.flp.section import Section, Tell, share
from coterie.lab.flp.system import Configuration, System, Value
from coterie.lab.flp.valency import Graph, explored, futures
from coterie.lab.flp.wording import Step, schedule_text, steps

INPUTS: Final[tuple[Value | None, ...]] = (*VALUES, None)
"""Two propose, all three accept."""
REPLAYS: Final = 1000
DELAYS: Final = (0, 1, 2, 3, 4)
"""Events by which an adversary may delay a message: how strong it must be."""


class Bivalence(msgspec.Struct, kw_only=True):
    """What was found."""

    beginnings: Sequence[Beginning]
    graph: Graph
    """Every configuration in which each proposer makes attempts in two rounds at most: valencies are exact."""
    missed: int
    """Configurations with ballots of round 1 that are bivalent there, and to which no two runs were found."""
    compared: int
    survey: Survey
    flaw: str | None
    """What was broken in the survey's configurations."""
    rounds: int
    """The survey's ballots."""
    walk: Walk
    replay: Replay | None
    """None: there was nothing to play again."""
    weaker: Mapping[int, Walk]
    """By how many events an adversary may delay a message, what became of it."""


def look(tell: Tell, *, quick: bool, longest: int = 8) -> Bivalence:
    """Explore, search and play. `longest`: what the adversary may do. Raises `TooManyStates`, `LabError`."""
    tell(0.0, "every initial configuration")
    first = beginnings(1)
    tell(0.15, "every order of events, in two rounds of ballots")
    graph = explored(System(INPUTS, rounds=2))
    compared, missed = compare(graph)
    tell(0.5, "Lemma 3, everywhere")
    rounds = 1 if quick else 2
    system = System(INPUTS)
    configurations, flaw = within(system, rounds)
    found = survey(system, configurations)
    tell(0.9, "the adversary plays")
    walked = walk(System(INPUTS), longest=longest)
    return Bivalence(
        beginnings=first,
        graph=graph,
        missed=missed,
        compared=compared,
        survey=found,
        flaw=flaw,
        rounds=rounds,
        walk=walked,
        replay=None if walked.repeats_from is None else replay(walked, REPLAYS),
        weaker={delay: walk(System(INPUTS), longest=delay) for delay in DELAYS},
    )


def compare(graph: Graph) -> tuple[int, int]:
    """The two ways to know a valency beside each other: configurations that the exploration finds bivalent, and those
    of them to which the search for two runs finds none. Only where no attempt was forbidden yet, for the search knows
    no bound."""
    bounded, free = graph.system, System(graph.system.inputs)
    compared = missed = 0
    for configuration in graph.bivalent():
        if bounded.highest(configuration) <= 1:
            compared += 1
            same = Configuration(
                tuple(free.number(bounded.process(n)) for n in configuration.processes),
                tuple(free.number(bounded.letter(n)) for n in configuration.letters),
            )
            missed += len(futures(free, same)) < 2
    return compared, missed


# -- claims -----------------------------------------------------------------------------------------


def judge(found: Bivalence) -> tuple[Claim, ...]:
    """What the paper says beside what was found."""
    return (
        _lemma_2(found),
        _two_ways(found),
        _lemma_3(found),
        _for_ever(found),
        _fair(found),
        _safe(found),
        _power(found),
    )


def _lemma_2(found: Bivalence) -> Claim:
    both = [b for b in found.beginnings if len(b.valency) > 1]
    unanimous = [b for b in found.beginnings if len(set(filter(None, b.inputs))) == 1]
    obedient = [b for b in unanimous if b.valency == set(filter(None, b.inputs))]
    explored_in_all = sum(b.configurations for b in found.beginnings)
    return Claim(
        id="bivalent-beginning",
        expected="Lemma 2: some initial configuration is bivalent; with equal inputs only these can be decided",
        measured=f"{share(len(both), len(found.beginnings))} are bivalent; "
        f"{share(len(obedient), len(unanimous))} with equal inputs have that valency",
        agrees=bool(both) and len(obedient) == len(unanimous),
        why=f"every order of events from each initial configuration, {explored_in_all:,} configurations in all",
    )


def _two_ways(found: Bivalence) -> Claim:
    return Claim(
        id="two-ways-agree",
        expected="what exploration finds bivalent has a run to each value",
        measured=f"two runs are found for {share(found.compared - found.missed, found.compared)}",
        agrees=found.compared > 0 and not found.missed,
        why="valency computed backwards from the decisions of the whole graph, and by looking for two runs",
    )


def _lemma_3(found: Bivalence) -> Claim:
    seen = found.survey
    return Claim(
        id="bivalence-can-be-kept",
        expected="Lemma 3: from every bivalent configuration and for every event e, a bivalent configuration can be "
        "reached with e last",
        measured=f"{share(seen.found, seen.pairs)} pairs of {seen.bivalent:,} bivalent configurations and an event",
        agrees=seen.pairs > 0 and seen.found == seen.pairs,
        why=f"every configuration with ballots up to round {found.rounds} ({seen.configurations:,}), searched breadth "
        f"first: mostly e itself keeps it, at most {len(seen.lengths) - 1} events must go before it",
    )


def _for_ever(found: Bivalence) -> Claim:
    walked, again = found.walk, found.replay
    all_bivalent = all(stage.bivalent for stage in walked.stages)
    if again is None:
        measured = f"decided {', '.join(sorted(walked.decided)) or 'nothing'} after {len(walked.stages)} turns"
    else:
        measured = (
            f"but for the names of ballots a configuration comes again after {_events(walked)} events; its cycle of "
            f"{again.steps // again.times} events, {again.times:,} times, decides nothing in {again.undecided:,}"
        )
    return Claim(
        id="undecided-for-ever",
        expected="Theorem 1: there is an admissible run in which nothing is ever decided",
        measured=measured,
        agrees=again is not None and all_bivalent and again.same == again.undecided == again.times,
        why="each turn ends bivalent; after each cycle the configuration has the same shape, and the rules know of "
        "ballots only their order and the next round, so it goes on alike",
    )


def _fair(found: Bivalence) -> Claim:
    again = found.replay
    steps_of = {} if again is None else again.steps_of
    words = ", ".join(f"n{p} takes {n}" for p, n in steps_of.items())
    return Claim(
        id="nobody-is-wronged",
        expected="the run is admissible: every process takes steps for ever, every message arrives, nobody crashes",
        measured="there is no such run"
        if again is None
        else f"in each cycle {words} steps; no message waits longer than {again.oldest} cycle(s)",
        agrees=again is not None and all(steps_of.values()) and again.oldest <= 2,
        why="counted in the replay; all that is in the buffer at the end is younger than that",
    )


def _safe(found: Bivalence) -> Claim:
    flaws = [b.wrong for b in found.beginnings if b.wrong is not None]
    counterexample = found.graph.exploration.counterexample
    flaws += [] if counterexample is None else [counterexample.reason]
    flaws += [] if found.flaw is None else [found.flaw]
    configurations = sum(b.configurations for b in found.beginnings)
    configurations += found.graph.exploration.states + found.survey.configurations
    return Claim(
        id="safe-in-every-order",
        expected="agreement and validity hold in every configuration",
        measured=f"broken in {len(flaws)} of {len(found.beginnings) + 2} explorations, of {configurations:,} "
        "configurations" + (f": {flaws[0]}" if flaws else ""),
        agrees=not flaws,
        why="checked in every configuration that was visited",
    )


def _power(found: Bivalence) -> Claim:
    fails = found.weaker[0]
    return Claim(
        id="delay-is-the-weapon",
        expected="an adversary that must deliver each message in its turn cannot keep the decision open",
        measured=f"without delay {_fate(fails)}; {_least(found.weaker)}",
        agrees=fails.repeats_from is None and bool(fails.decided),
        why="the same adversary, allowed to let fewer events go first",
    )


def _least(weaker: Mapping[int, Walk]) -> str:
    enough = [delay for delay, walked in weaker.items() if walked.repeats_from is not None]
    return f"delaying a message by {min(enough)} events is enough" if enough else "no delay that was tried is enough"


def _fate(walked: Walk) -> str:
    if walked.repeats_from is not None:
        return f"never decides; cycle of {sum(len(s.schedule) for s in walked.cycle)} events"
    if walked.decided:
        return f"{', '.join(sorted(walked.decided))} is decided after {_events(walked)} events"
    return f"nothing decided or repeated in {_events(walked)} events"


def _events(walked: Walk) -> int:
    return walked.events(len(walked.stages))


# -- what is shown ------------------------------------------------------------------------------------


def section(found: Bivalence) -> Section:
    """Claims, data, tables, the schedule and its picture."""
    listed = steps(found.walk)
    walked, first = found.walk, found.walk.first_repeated
    data = {
        "beginnings": [
            {"inputs": b.inputs, "valency": sorted(b.valency), "configurations": b.configurations}
            for b in found.beginnings
        ],
        "valencies": found.graph.count(),
        "lemma3": msgspec.to_builtins(found.survey),
        "schedule": [
            {"event": s.words, "turn": f"n{s.turn}", "owed": s.owed, "instead": s.instead, "bivalent": s.bivalent}
            for s in listed
        ],
        "repeats_from": first,
        "replay": None if found.replay is None else msgspec.to_builtins(found.replay, str_keys=True),
        "delays": {str(delay): _fate(each) for delay, each in found.weaker.items()},
    }
    return Section(
        claims=judge(found), data={"undecided": data}, parts=(*_tables(found), *_walk_parts(walked, listed, first))
    )


def _tables(found: Bivalence) -> tuple[Table, ...]:
    rows = tuple((" ".join(x or "-" for x in b.inputs), _word(b.valency), b.configurations) for b in found.beginnings)
    counts = found.graph.count()
    valencies = tuple(
        (_word(values), counts[values], counts[values] / sum(counts.values())) for values in sorted(counts)
    )
    seen = found.survey
    lengths = tuple((before, count, count / max(1, seen.pairs)) for before, count in enumerate(seen.lengths))
    powers = tuple((delay, _fate(each)) for delay, each in found.weaker.items())
    return (
        Table(
            title="Lemma 2: initial configurations of three processes, of which two propose",
            columns=("inputs", "what can be decided", "configurations"),
            rows=rows,
        ),
        Table(
            title="Valency of every configuration with at most two rounds of ballots",
            columns=("what can be decided", "configurations", "share"),
            rows=valencies,
        ),
        Table(
            title="Lemma 3: events that must go before e so that both values stay possible",
            columns=("events before e", "pairs of a bivalent configuration and an event e", "share"),
            rows=lengths,
        ),
        Table(
            title="How strong the adversary must be",
            columns=("events by which it may delay a message", "what becomes of it"),
            rows=powers,
        ),
    )


def _word(values: frozenset[Value] | str) -> str:
    return " or ".join(sorted(values)) or "nothing any more"


def _walk_parts(walked: Walk, listed: list[Step], first: int | None) -> tuple[Figure | Text, ...]:
    values = (VALUES[0], VALUES[1])
    return (
        Figure(
            title="The walk between the decisions",
            draw=lambda: draw_walk(listed, values, first),
            note="Each circle is a configuration; the event beside the line below it is the adversary's choice. To "
            "the sides: events that were possible as well, after which no run to the other value is found. A broken "
            "line is the message whose turn it was.",
        ),
        Text(title="The schedule", body=schedule_text(walked, listed)),
    )
