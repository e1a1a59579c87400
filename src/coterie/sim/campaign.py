"""Many seeds, on several cores or a cluster of machines, and what they come to together."""

from __future__ import annotations

import gc
import multiprocessing
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from itertools import chain
from statistics import median
from typing import Final

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.types import Nanos
from coterie.sim.options import NATIVE, SECOND, Options, choose, with_faults
from coterie.sim.verdict import Figures, Result
from coterie.sim.world import simulate

EXCEPTION: Final = "exception"
"""The check of a run that ended with an exception that no law foresaw."""
WORKER_DIED: Final = "worker-died"
"""The check of a run whose process ended without an answer, and did so again when it ran alone."""
ENOUGH_SEEDS: Final = 20
"""Medians of fewer say nothing."""
COMPACTIONS: Final = 6
"""Times that a log forgets its beginning, because a snapshot or a store holds what it did: each of three members twice,
once from its first entry on, and once where it began later, so that a follower may need what its leader has no more.
How many there are hangs on how much a seed's faults let through, hardly on when members are told to take snapshots:
of the seeds 0 to 199 of Raft that have the class the median was 24, and of half as many seeds 12 at times; with
thresholds of a third it was 34, but no more seeds sent a snapshot (69 and 70 in a hundred)."""
MAX_WAITING: Final = 1000
"""Seeds that a cluster of machines is given at one time."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What each seed of a campaign runs."""

    nodes: int | None = None
    """Cluster size; None lets the seed choose."""
    duration: Nanos = 30 * SECOND
    clients: int | None = None
    """None lets the seed choose."""
    faults: tuple[str, ...] | None = None
    """Fault classes; None lets the seed choose."""
    protocol: str = DEFAULT_PROTOCOL
    """What the members run."""
    api: str = NATIVE
    """What clients speak: one of `options.APIS`."""

    def options(self, seed: int) -> Options:
        """What this seed runs."""
        options = choose(seed, nodes=self.nodes, duration=self.duration, protocol=self.protocol)
        options = msgspec.structs.replace(options, api=self.api)
        if self.clients is not None:
            options = msgspec.structs.replace(options, clients=self.clients)
        return options if self.faults is None else with_faults(options, self.faults)


class Idle(msgspec.Struct, frozen=True):
    """A median below what a campaign needs in order to prove anything."""

    what: str
    median: float
    needed: float


def run_options(options: Options) -> Result:
    """One run. An exception that no law foresaw is a failure, with its traceback."""
    try:
        return simulate(options)
    except Exception as error:
        detail = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-6)}\n{options.replay()}"
        return _failed(options.seed, EXCEPTION, detail)


def run_seed(seed: int, plan: Plan) -> Result:
    """One run of a campaign."""
    return run_options(plan.options(seed))


def _failed(seed: int, check: str, detail: str) -> Result:
    return Result(seed=seed, figures=Figures(), trace="", check=check, detail=detail)


def run_seeds(seeds: Iterable[int], plan: Plan, jobs: int) -> Iterator[Result]:
    """Every seed's result, as they come, from this many processes. When a process dies, those seeds that were under
    way run again, each alone: so it is known which of them it was."""
    left = iter(seeds)
    while True:
        suspects: list[int] = []
        with _processes(jobs) as pool:
            yield from _gather(pool, left, plan, 2 * jobs, suspects)
        if not suspects:
            return
        for seed in suspects:
            yield _run_alone(seed, plan)


def run_on(executor: Executor, seeds: Iterable[int], plan: Plan) -> Iterator[Result]:
    """Every seed's result, as they come, from an executor that brings workers of its own and replaces those that die,
    such as a Dask cluster's (`distributed.Client.get_executor`)."""
    suspects: list[int] = []
    yield from _gather(executor, iter(seeds), plan, MAX_WAITING, suspects)
    yield from (_died(seed, plan, "the executor was shut down") for seed in suspects)


def _processes(jobs: int) -> ProcessPoolExecutor:
    # Not forked: the terminal's progress has a thread of its own, which would not survive it.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=collect_seldom)


def collect_seldom() -> None:
    """For a process that runs nothing but seeds: most of a world lives as long as its seed, and looking for garbage
    in it again and again finds little and costs a twentieth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _gather(executor: Executor, seeds: Iterator[int], plan: Plan, window: int, suspects: list[int]) -> Iterator[Result]:
    """Results as they come, with at most `window` seeds under way. Ends early when the executor breaks, and tells in
    `suspects` which seeds have no result."""
    waiting: dict[Future[Result], int] = {}
    try:
        while not suspects or waiting:
            while len(waiting) < window and not suspects and (seed := next(seeds, None)) is not None:
                try:
                    waiting[executor.submit(run_seed, seed, plan)] = seed
                except BrokenExecutor:
                    suspects.append(seed)
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                seed = waiting.pop(future)
                error = future.exception()
                if error is None:
                    yield future.result()
                elif isinstance(error, BrokenExecutor):
                    suspects.append(seed)
                else:
                    yield _died(seed, plan, f"{type(error).__name__}: {error}")
    finally:
        for future in waiting:
            future.cancel()


def _run_alone(seed: int, plan: Plan) -> Result:
    suspects: list[int] = []
    with _processes(1) as pool:
        results = list(_gather(pool, iter([seed]), plan, 1, suspects))
    return results[0] if results else _died(seed, plan, "its process ended without an answer")


def _died(seed: int, plan: Plan, why: str) -> Result:
    return _failed(seed, WORKER_DIED, f"{why}\n{plan.options(seed).replay()}")


def idleness(results: Iterable[Result], plan: Plan) -> list[Idle]:
    """Medians that are too low for the results to prove anything: under 300 operations, 3 elections, or, of the seeds
    that have the class, 2 crashes or `COMPACTIONS`, in 30 simulated seconds; in proportion for shorter runs. Where the
    caller chose the classes, only these promise more than operations."""
    share = plan.duration / (30 * SECOND)
    runs = [(result.figures, plan.options(result.seed)) for result in results if result.trace]
    busy = [figures for figures, options in runs if options.faults or plan.faults is not None]

    def of(fault: str, figure: str) -> float:
        return float(median([getattr(figures, figure) for figures, options in runs if options.has(fault)] or [0]))

    found = [Idle("operations", median([f.completed for f in busy] or [0]), 300 * share)]
    if plan.faults is None:
        found.append(Idle("elections", median([f.elections for f in busy] or [0]), 3 * share))
    for fault, figure, needed in (("crash", "crashes", 2), ("snapshot", "compactions", COMPACTIONS)):
        if plan.faults is None or fault in plan.faults:
            found.append(Idle(figure.replace("_", " "), of(fault, figure), needed * share))
    return [idle for idle in found if idle.median < idle.needed]


def medians(results: Iterable[Result], names: Iterable[str]) -> dict[str, float]:
    """The median over the runs of each of these figures."""
    figures = [result.figures for result in results if result.trace]
    return {name: float(median([getattr(f, name) for f in figures] or [0])) for name in names}


def faults_of(seeds: Iterable[int], plan: Plan) -> dict[str, int]:
    """In how many of these seeds each fault class is on."""
    counts: dict[str, int] = {}
    for fault in chain.from_iterable(plan.options(seed).faults for seed in seeds):
        counts[fault] = counts.get(fault, 0) + 1
    return dict(sorted(counts.items()))
