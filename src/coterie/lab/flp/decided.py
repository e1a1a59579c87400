"""Second part: the same deterministic protocol decides when a detector names a leader, or nobody chooses the order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from coterie.lab.experiment import Claim, Table
from coterie.lab.flp.adversary import Walk
from coterie.lab.flp.oracle import Drawn, Settled, draw_runs, settle
from coterie.lab.flp.section import Section, Tell, share
from coterie.lab.flp.system import System


class Ending(msgspec.Struct, kw_only=True):
    """What was found."""

    settled: Sequence[tuple[int, Settled]]
    """The adversary's stage in which the detector became right, and what followed."""
    drawn: Drawn


def look(walked: Walk, rng: random.Random, tell: Tell, *, quick: bool) -> Ending:
    """Let the detector become right at several points of the adversary's cycle, and draw schedules. Raises
    `TooManyStates`."""
    first = len(walked.stages) if walked.repeats_from is None else walked.repeats_from
    cycle = len(walked.stages) - first
    points = [0, first] if quick else [0, first, first + cycle // 4, first + cycle // 2, first + 3 * cycle // 4]
    found = []
    for place, point in enumerate(dict.fromkeys(points)):
        tell(place / len(points), "a detector names a leader, in every order of events")
        found += [(point, only_leader(walked, point, leader)) for leader in proposers(walked.system)]
    return Ending(settled=found, drawn=draw_runs(System(walked.system.inputs), 500 if quick else 2000, rng))


def proposers(system: System) -> list[int]:
    """Who may be named: who has a value to propose."""
    return [p for p, own in zip(system.members, system.inputs, strict=True) if own is not None]


def only_leader(walked: Walk, stage: int, leader: int) -> Settled:
    """From this stage of the walk on all are told that `leader` leads."""
    return settle(walked.system, walked.before(stage), lambda process: process == leader, leader)


def judge(found: Ending) -> tuple[Claim, ...]:
    """Both claims."""
    settled = [each for _, each in found.settled]
    ended = [s for s in settled if s.longest is not None and not s.undecided and s.wrong is None]
    longest = max((s.longest for s in settled if s.longest is not None), default=0)
    explored = sum(s.configurations for s in settled)
    drawn = found.drawn
    runs = len(drawn.events) + drawn.undecided
    middle = sorted(drawn.events)[len(drawn.events) // 2] if drawn.events else 0
    return (
        Claim(
            id="omega-decides",
            expected="with an Omega detector the same protocol decides in every order of messages, in spite of a crash",
            measured=f"from {share(len(ended), len(settled))} configurations all runs decide, within {longest} events",
            agrees=bool(settled) and len(ended) == len(settled),
            why=f"all {explored:,} configurations that can follow, once the detector names one process, were visited: "
            "none comes again, and none without a decision is the last, even if all that is left is for a process "
            "that is down",
        ),
        Claim(
            id="chance-decides",
            expected="if each message is as likely to be the next, the protocol decides with probability 1",
            measured=f"{share(len(drawn.events), runs)} runs decide, half of them within {middle} events; "
            f"agreement or validity broke in {drawn.wrong}",
            agrees=runs > 0 and not drawn.undecided and not drawn.wrong,
            why="from every configuration some schedule decides, and chance finds it: the adversary's is one of many",
        ),
    )


def section(found: Ending) -> Section:
    """Claims, data and tables."""
    events = sorted(found.drawn.events)
    parts = (0.5, 0.9, 0.99, 1.0)
    quantiles = tuple((f"{q:.0%}", events[min(len(events) - 1, int(q * len(events)))]) for q in parts if events)
    rows = tuple(
        (f"turn {stage}", f"n{s.leader}", s.configurations, s.longest, s.undecided, " or ".join(sorted(s.values)))
        for stage, s in found.settled
    )
    return Section(
        claims=judge(found),
        data={
            "omega": [{"turn": stage} | msgspec.to_builtins(s) for stage, s in found.settled],
            "random_order": {
                "runs": len(events) + found.drawn.undecided,
                "undecided": found.drawn.undecided,
                "events": dict(quantiles),
                "decided": found.drawn.values,
            },
        },
        parts=(
            Table(
                title="Omega: the adversary plays until some turn, then all are told who leads",
                columns=("from", "leader", "configurations", "longest run, events", "ends undecided", "decided"),
                rows=rows,
            ),
            Table(
                title="Random order: events until a decision",
                columns=("share of runs", "events at most"),
                rows=quantiles,
            ),
        ),
    )
