"""The whole comparison."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from coterie.lab.compare.capacity import capacities
from coterie.lab.compare.costs import costs
from coterie.lab.compare.distance import distances
from coterie.lab.compare.given_up import given_up
from coterie.lab.compare.outage import outages
from coterie.lab.compare.partial import partials
from coterie.lab.compare.processes import processes
from coterie.lab.compare.section import Extent, Section
from coterie.lab.compare.variations import variations
from coterie.lab.experiment import Claim, Conditions, Part, Progress, Report

SECTIONS: Final[dict[str, tuple[float, Callable[[Extent], Section]]]] = {
    "messages, bytes and round trips": (1.0, costs),
    "latency by geography": (1.0, distances),
    "value size, loss, conflicts": (1.5, variations),
    "capacity, batch and window": (3.0, capacities),
    "crashes of the leader": (3.0, outages),
    "partial partitions": (3.0, partials),
    "what is given up": (1.0, given_up),
}
"""What it does, about how long that takes beside the others, and how."""
PROCESSES_SHARE: Final = 8.0
_IN_SHORT: Final = (
    "The two protocols cost the same in steady state and differ in elections; a register without a leader pays a "
    "second round trip and has no outage; the stores that answer sooner lose or misorder what they acknowledged."
)
"""What follows if every claim agrees, and is said only then."""


def compare(conditions: Conditions, *, real: bool = True) -> Report:
    """Run every section. `real`: with real processes, too. Raises `LabError`."""
    extent = Extent(seed=conditions.seed, quick=conditions.quick)
    whole = sum(share for share, _ in SECTIONS.values()) + (PROCESSES_SHARE if real else 0.0)
    done = 0.0
    sections = []
    for what, (share, measure) in SECTIONS.items():
        conditions.progress(done / whole, what)
        sections.append(measure(extent))
        done += share
    if real:
        tell = partial(_onward, conditions.progress, done / whole, PROCESSES_SHARE / whole)
        sections.append(processes(extent, tell))
    conditions.progress(1.0, "done")
    return report(conditions.seed, sections)


def _onward(progress: Progress, from_: float, share: float, done: float, what: str) -> None:
    progress(from_ + share * done, what)


def report(seed: int, sections: list[Section]) -> Report:
    """What the sections found, as one report."""
    claims: list[Claim] = [claim for section in sections for claim in section.claims]
    parts: list[Part] = [part for section in sections for part in section.parts]
    data: dict[str, Any] = {section.name: section.data for section in sections}
    agreed = sum(claim.agrees for claim in claims)
    summary = (
        f"Raft, Multi-Paxos, and three stores that give something up for less: {agreed} of {len(claims)} claims agree. "
        + (_IN_SHORT if agreed == len(claims) else f"Not: {', '.join(c.id for c in claims if not c.agrees)}.")
    )
    return Report(experiment="compare", seed=seed, claims=claims, summary=summary, data=data, parts=parts)
