"""Many seeds, on several cores, and what they come to together."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Iterable, Iterator
from statistics import median

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.types import Nanos
from coterie.sim.options import SECOND, choose
from coterie.sim.verdict import Figures, Result
from coterie.sim.world import simulate


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What each seed of a campaign runs."""

    nodes: int | None = None
    """Cluster size; None lets the seed choose."""
    duration: Nanos = 30 * SECOND
    faults: tuple[str, ...] | None = None
    """Fault classes; None lets the seed choose."""
    protocol: str = DEFAULT_PROTOCOL
    """What the members run."""


class Idle(msgspec.Struct, frozen=True):
    """A median below what a campaign needs in order to prove anything."""

    what: str
    median: float
    needed: float


def run_seed(seed: int, plan: Plan) -> Result:
    """One run. An exception that no law foresaw is the violation `exception`, with its traceback."""
    options = choose(seed, nodes=plan.nodes, duration=plan.duration, protocol=plan.protocol)
    if plan.faults is not None:
        options = msgspec.structs.replace(options, faults=plan.faults)
    try:
        return simulate(options)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}\n{options.replay()}"
        return Result(seed=seed, figures=Figures(), trace="", check="exception", detail=detail)


def _run(job: tuple[int, Plan]) -> Result:
    return run_seed(*job)


def run_seeds(seeds: Iterable[int], plan: Plan, jobs: int) -> Iterator[Result]:
    """Every seed's result, in the order of the seeds, from this many processes."""
    work = [(seed, plan) for seed in seeds]
    if jobs <= 1:
        yield from map(_run, work)
        return
    with multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn").Pool(jobs) as pool:
        yield from pool.imap(_run, work)


def idleness(results: list[Result], plan: Plan) -> list[Idle]:
    """Medians that are too low for the results to prove anything: under 300 operations, 3 elections, or, of the seeds
    that have the class, 2 crashes or 10 snapshots, in 30 simulated seconds;
    in proportion for shorter runs."""
    share = plan.duration / (30 * SECOND)

    def of(fault: str, figure: str) -> float:
        return float(median([getattr(r.figures, figure) for r in results if choose(r.seed).has(fault)] or [0]))

    busy = [r for r in results if choose(r.seed).faults]
    found = [
        Idle("operations", median([r.figures.completed for r in busy] or [0]), 300 * share),
        Idle("elections", median([r.figures.elections for r in busy] or [0]), 3 * share),
        Idle("crashes", of("crash", "crashes"), 2 * share),
        Idle("snapshots", of("snapshot", "snapshots_taken"), 10 * share),
    ]
    return [idle for idle in found if idle.median < idle.needed]
