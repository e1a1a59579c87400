"""What `coterie sim` says at the end: one JSON object for scripts, or lines for people."""

from __future__ import annotations

import msgspec
from rich.console import Console

from coterie.cli.sim_failures import Failure, Failures
from coterie.sim.campaign import ENOUGH_SEEDS, Idle, Plan, faults_of, idleness, medians
from coterie.sim.options import SECOND
from coterie.sim.verdict import Result

LIVENESS = "liveness"
MAX_TOLD = 20
"""Failing seeds that are told one by one; `--json` has all."""
MAX_DETAIL = 600
"""Characters of what a failure says."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's outcome, as `--json` prints it."""

    protocol: str
    api: str
    """What clients spoke."""
    seeds: int
    simulated_seconds: float
    """Of all seeds together, the healing at the end included."""
    wall_seconds: float
    events: int
    ops: float
    """Median over the seeds: operations that ended with a certain outcome."""
    unknown: float
    """Median: operations whose outcome stayed unknown."""
    elections: float
    """Median: epochs in which a leader spoke."""
    crashes: float
    """Median: processes that ended."""
    violations: int
    """Seeds in which a law was broken, or whose run did not come to its end."""
    liveness_failures: int
    """Seeds in which all was not well in time after healing."""
    faults: dict[str, int]
    """In how many seeds each class of faults was on."""
    idle: list[Idle]
    """Medians that are too low for the campaign to prove anything."""
    failing: list[Failure]


def report(results: list[Result], plan: Plan, failures: Failures, wall_seconds: float) -> Report:
    """Add it all up."""
    middle = medians(results, ("completed", "unknown", "elections", "crashes"))
    liveness = sum(result.check == LIVENESS for result in results)
    return Report(
        protocol=plan.protocol,
        api=plan.api,
        seeds=len(results),
        simulated_seconds=round(sum(result.ended_at for result in results) / SECOND, 3),
        wall_seconds=round(wall_seconds, 3),
        events=sum(result.figures.events for result in results),
        ops=middle["completed"],
        unknown=middle["unknown"],
        elections=middle["elections"],
        crashes=middle["crashes"],
        violations=sum(bool(result.check) for result in results) - liveness,
        liveness_failures=liveness,
        faults=faults_of((result.seed for result in results), plan),
        idle=idleness(results, plan) if len(results) >= ENOUGH_SEEDS else [],
        failing=failures.failing,
    )


def show(summary: Report, results: list[Result], failures: Failures) -> None:
    """Print it for people."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for failure in summary.failing[:MAX_TOLD]:
        _show_failure(console, failure, failures)
    if len(summary.failing) > MAX_TOLD:
        console.print(f"and {len(summary.failing) - MAX_TOLD} more seeds that fail; --json has all of them\n")
    if failures.drawing is not None:
        console.print(failures.drawing)
    if len(results) == 1 and not failures.failing:
        figures = msgspec.structs.asdict(results[0].figures)
        console.print(f"seed {results[0].seed}: " + ", ".join(f"{figures[name]} {name}" for name in figures))
        console.print(f"trace {results[0].trace}")
    ratio = summary.simulated_seconds / summary.wall_seconds if summary.wall_seconds else 0.0
    console.print(
        f"{summary.protocol}: {summary.seeds} seeds, {summary.simulated_seconds:,.0f} simulated seconds in "
        f"{summary.wall_seconds:,.1f} s (x{ratio:.0f}), {summary.events:,} events"
    )
    console.print(
        f"medians of a seed: {summary.ops:g} operations, {summary.unknown:g} with unknown outcome, "
        f"{summary.elections:g} elections, {summary.crashes:g} crashes"
    )
    for idle in summary.idle:
        console.print(
            f"idle: the median is {idle.median:g} {idle.what}, and {idle.needed:g} are needed to prove anything"
        )
    verdict = f"{summary.violations} violations, {summary.liveness_failures} liveness failures"
    console.print(verdict, style="bold red" if summary.failing else "bold green")


def _show_failure(console: Console, failure: Failure, failures: Failures) -> None:
    console.print(f"seed {failure.seed}: {failure.check}", style="bold red")
    detail = failure.detail if len(failure.detail) <= MAX_DETAIL else f"{failure.detail[:MAX_DETAIL]}…"
    console.print(detail)
    smaller = failures.shrunk.get(failure.seed)
    if smaller is not None:
        end = "" if smaller.complete else "; time was up, there may be a smaller one"
        console.print(f"smallest run that fails so, of {smaller.attempts} tried{end}:")
    console.print(f"  {failure.replay}\n", style="bold")
