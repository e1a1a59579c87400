"""The whole experiment: what keeps consensus undecided for ever, and what ends it."""

from __future__ import annotations

from typing import Final

from coterie.lab.experiment import Conditions, Report
from coterie.lab.flp import coins, decided, timers, undecided
from coterie.lab.flp.ben_or import Rules
from coterie.lab.flp.section import Tell
from coterie.sim.chance import stream

TITLE: Final = "FLP: what keeps consensus undecided, and what ends it"
EQUAL_RUNS: Final = 100


def flp(conditions: Conditions) -> Report:
    """Run all parts. Raises `CoterieError` if one could not be run."""
    seed, quick = conditions.seed, conditions.quick

    def within(begin: float, end: float) -> Tell:
        return lambda done, what: conditions.progress(begin + (end - begin) * done, what)

    found = undecided.look(within(0.0, 0.3), quick=quick)
    ending = decided.look(found.walk, stream(seed, "random order"), within(0.3, 0.45), quick=quick)
    rng = stream(seed, "coins")
    tossed = coins.look(rng, within(0.45, 0.65), quick=quick)
    equal = coins.unanimous(Rules(processes=5, crashes=2), rng, EQUAL_RUNS)
    timing = timers.look(seed, within(0.65, 1.0), quick=quick)
    sections = (undecided.section(found), decided.section(ending), coins.section(tossed, equal), timers.section(timing))
    claims = [claim for section in sections for claim in section.claims]
    data = {key: value for section in sections for key, value in section.data.items()}
    return Report(
        experiment="flp",
        seed=seed,
        claims=claims,
        summary=_summary(found, len([c for c in claims if c.agrees]), len(claims)),
        data=data,
        parts=[part for section in sections for part in section.parts],
    )


def _summary(found: undecided.Bivalence, agree: int, total: int) -> str:
    again = found.replay
    fate = (
        "decides" if again is None else f"is kept undecided by a cycle of {again.steps // again.times} events for ever"
    )
    ends = "Coins, timers that are right about delay, and a detector that names a leader each end it. "
    return (
        f"The deterministic synod of two proposers {fate}. {ends if agree == total else ''}"
        f"{agree} of {total} claims agree."
    )
