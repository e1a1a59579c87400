"""What all experiments have in common on the command line: options, progress, and how a report is shown."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from coterie.check import HistoryError
from coterie.cli.outcome import Exit, fail_usage, print_json
from coterie.cli.tables import plain_table, table_console
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.lab.experiment import AGREES, Conditions, Report, Table, Text
from coterie.lab.experiment import Progress as Told
from coterie.lab.reports.page import page, shown

AGREED, DIFFERED = 0, 1
"""Exit codes beside those of usage (2) and of an experiment that could not run (3)."""
MAX_SEED: Final = (1 << 63) - 1

SeedOption = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="The same seed is the same experiment.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Fewer trials: under a minute.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs nothing else.")
]
CsvOption = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the tables.")]

Experiment = Callable[[Conditions], Report]


def conduct(
    experiment: Experiment,
    title: str,
    *,
    seed: int,
    quick: bool,
    as_json: bool,
    html: Path | None,
    csv_file: Path | None = None,
    before_claims: Callable[[Report], None] | None = None,
) -> NoReturn:
    """Run an experiment, show what it found, and end with its exit code.

    0: every claim agrees, or differs for a reason that was shown; 1: one does not; 2: wrong usage; 3: it could not run.
    `before_claims`: prints what a person wants to see first.
    """
    try:
        with _progress(title) as tell:
            report = experiment(Conditions(seed=seed, quick=quick, progress=tell))
        if html is not None:
            write_file(html, page(report, title))
        if csv_file is not None:
            write_file(csv_file, tables_as_csv(report))
    except (ConfigurationError, HistoryError) as error:
        fail_usage(str(error))
    except CoterieError as error:
        _could_not(str(error), as_json)
    except KeyboardInterrupt:
        _could_not("interrupted", as_json)
    if as_json:
        print_json(report.to_json())
    else:
        show(report, title, before_claims)
    raise typer.Exit(DIFFERED if report.unexplained else AGREED)


@contextmanager
def _progress(title: str) -> Iterator[Told]:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[what]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=1.0, what="")

        def tell(done: float, what: str) -> None:
            bar.update(task, completed=done, what=what)

        yield tell


def show(report: Report, title: str, before_claims: Callable[[Report], None] | None = None) -> None:
    """Print a report for people."""
    console = table_console()
    console.print(f"{title} (seed {report.seed})", style="bold", markup=False, highlight=False)
    console.print(report.summary, markup=False, highlight=False)
    if before_claims is not None:
        before_claims(report)
    for part in report.parts:
        if isinstance(part, Table):
            show_table(part)
        elif isinstance(part, Text):
            console.print(f"\n{part.title}", style="bold", markup=False, highlight=False)
            console.print(part.body, markup=False, highlight=False, soft_wrap=True)
    table = plain_table("Claims")
    for column in ("claim", "expected", "measured", "", "why"):
        table.add_column(column, overflow="fold")
    for claim in report.claims:
        word = "agrees" if claim.agrees else "differs (shown)" if claim.explained else "DIFFERS"
        table.add_row(claim.id, claim.expected, claim.measured, word, claim.why)
    console.print(table, markup=False)


def show_table(part: Table) -> None:
    """Print one table for people."""
    table = plain_table(part.title)
    for place, column in enumerate(part.columns):
        numbers = all(isinstance(row[place], int | float) or row[place] is None for row in part.rows)
        table.add_column(column, justify="right" if numbers and part.rows else "left", overflow="fold")
    for row in part.rows:
        table.add_row(*map(shown, row))
    table_console().print(table, markup=False)


def tables_as_csv(report: Report) -> str:
    """Every table of a report, one under the other: title, header, rows, an empty line. Claims come first."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    claims = tuple((c.id, c.expected, c.measured, AGREES if c.agrees else "differs", c.why) for c in report.claims)
    first = Table(title="claims", columns=("claim", "expected", "measured", "verdict", "why"), rows=claims)
    for table in (first, *(part for part in report.parts if isinstance(part, Table))):
        writer.writerow([table.title])
        writer.writerow(table.columns)
        writer.writerows(table.rows)
        writer.writerow([])
    return sink.getvalue()


def write_file(path: Path, text: str) -> None:
    """Write what was asked for; if that cannot be, say so and end."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"coterie: {path} cannot be written: {error.strerror}", file=sys.stderr)
        raise typer.Exit(Exit.DID_NOT_HAPPEN) from None


def _could_not(why: str, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": why})
    print(f"coterie: {why}", file=sys.stderr)
    raise typer.Exit(Exit.DID_NOT_HAPPEN)
