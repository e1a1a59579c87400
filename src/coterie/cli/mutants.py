"""`coterie sim mutants`: are known bugs, put in on purpose, found?"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

import coterie
from coterie.cli.outcome import Exit, JsonOption, fail_usage, print_json
from coterie.cli.sim_campaign import progress_bar
from coterie.cli.tables import plain_table, table_console
from coterie.sim.mutants import CONTROL_SEEDS, Budget, Catalogue, Mutant, MutationReport, StaleMutant, Verdict, hunt_all
from coterie.sim.mutants import report as report_of

CHECKOUT = Path(coterie.__file__).parents[2]
"""Where the package was installed from, if it was installed from a source checkout."""
LIST = "tests.mutants.catalogue"
"""The module of the checkout that lists them."""


def mutants(
    only: Annotated[
        str | None, typer.Option(metavar="ID,...", help="These alone; correct variants begin with K.")
    ] = None,
    budget: Annotated[float, typer.Option(min=1, metavar="S", help="Seconds for each, at most.")] = 120.0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for each, at most.")] = 500,
    untuned: Annotated[
        bool, typer.Option("--untuned", help="Each seed chooses faults and members, from seed 0 on.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=1024, help="Hunted at a time (default: one a core).", show_default=False)
    ] = (os.cpu_count() or 1),
    as_json: JsonOption = False,
) -> None:
    """Plant known bugs of real systems into copies of the package, one by one, and see that a campaign kills each by a
    check that names it; and that correct variants pass. Exit code 0: all as it should be; 1: not; 2: it could not run.

    Example: coterie sim mutants --only R09,L01
    """
    catalogue = _catalogue()
    chosen = _chosen(catalogue, only)
    if untuned:
        chosen = [msgspec.structs.replace(mutant, faults="", nodes=0, first=0) for mutant in chosen]
    verdicts = _hunt(chosen, catalogue, Budget(seeds=seeds, wall_seconds=budget), jobs, as_json)
    outcome = report_of(catalogue, verdicts.get)
    if as_json:
        print_json(outcome)
    else:
        _show(outcome, verdicts)
    if outcome.survived or outcome.flagged:
        raise typer.Exit(Exit.NOT_FOUND)


def _catalogue() -> Catalogue:
    if not (CHECKOUT / "tests" / "mutants" / "catalogue.py").is_file():
        fail_usage(
            "the planted bugs belong to the project's tests, which are not installed: "
            "run this from a source checkout, after `make dev`"
        )
    sys.path.insert(0, str(CHECKOUT))
    found = importlib.import_module(LIST).CATALOGUE
    assert isinstance(found, Catalogue)
    return found


def _chosen(catalogue: Catalogue, only: str | None) -> list[Mutant]:
    known = {mutant.row: mutant for mutant in (*catalogue.mutants, *catalogue.controls)}
    if only is None:
        return list(known.values())
    rows = [row.strip() for row in only.split(",")]
    reasons = {row.id: row.why for row in catalogue.not_applicable}
    for row in rows:
        if row in reasons:
            fail_usage(f"--only: {row} is not applicable: {reasons[row]}")
        if row not in known:
            fail_usage(f"--only: there is no {row!r}; there are {', '.join(known)}")
    return [known[row] for row in dict.fromkeys(rows)]


def _hunt(chosen: Iterable[Mutant], catalogue: Catalogue, budget: Budget, jobs: int, quiet: bool) -> dict[str, Verdict]:
    controls = {mutant.row for mutant in catalogue.controls}
    bugs = [mutant for mutant in chosen if mutant.row not in controls]
    variants = [mutant for mutant in chosen if mutant.row in controls]
    # A correct variant runs a fixed number of seeds, however long that takes.
    passing = msgspec.structs.replace(budget, seeds=CONTROL_SEEDS, wall_seconds=max(budget.wall_seconds, 600.0))
    verdicts: dict[str, Verdict] = {}
    with progress_bar(quiet) as progress:
        bar = progress.add_task("planted bugs", total=len(bugs) + len(variants), found="")
        try:
            for group, limits in ((bugs, budget), (variants, passing)):
                for mutant, verdict in hunt_all(group, limits, jobs):
                    verdicts[mutant.row] = verdict
                    killed = sum(bool(v.killed_by) for row, v in verdicts.items() if row not in controls)
                    progress.update(bar, advance=1, found=f"{killed} killed, the last one was {mutant.row}")
        except StaleMutant as stale:
            fail_usage(f"{stale}. {stale.advice}")
    return verdicts


def _show(outcome: MutationReport, verdicts: dict[str, Verdict]) -> None:
    table = plain_table()
    for column in ("id", "killed by", "seed", "seconds"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("seed", "seconds") else "left")
    for kill in outcome.kills:
        table.add_row(kill.id, kill.check, str(kill.seed), f"{kill.seconds:.1f}")
    console = table_console()
    console.print(table)
    for row in outcome.survived:
        verdict = verdicts[row]
        others = ", ".join(f"{check} at seed {seed}" for seed, check, _ in verdict.others[:3]) or "nothing"
        console.print(f"{row} LIVED through {verdict.seeds} seeds; what else was seen: {others}", markup=False)
    for row in outcome.flagged:
        verdict = verdicts[row]
        flags = ", ".join(f"{check} at seed {seed}" for seed, check, _ in verdict.others[:3])
        told = flags or f"{verdict.completed} operations in {verdict.seeds} seeds are too few"
        console.print(f"{row} is correct, and did not pass: {told}", markup=False)
    middle = f", half of them within {outcome.median_seconds_to_kill:.1f} s" if outcome.kills else ""
    print(
        f"{outcome.killed} of {outcome.tried} killed{middle}; {outcome.controls.passed} of {outcome.controls.tried} "
        f"correct variants pass; {len(outcome.not_applicable)} are not applicable"
    )
