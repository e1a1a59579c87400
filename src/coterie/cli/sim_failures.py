"""What `coterie sim` makes of failures: the smallest run that still fails, how to see it again, and a drawing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.text import Text

from coterie.cli.outcome import Exit
from coterie.cli.sim_campaign import progress_bar
from coterie.lab.drawing.svg import draw_svg
from coterie.lab.drawing.text import draw_text
from coterie.lab.film import film
from coterie.sim.campaign import EXCEPTION, WORKER_DIED, Plan, run_options
from coterie.sim.options import NO_FAULTS, SECOND, Options
from coterie.sim.shrinking import Shrunk, shrink
from coterie.sim.verdict import Result

SHRINKING_S: Final = 60.0
"""Time for making one failure smaller."""
MAX_SHRUNK: Final = 5
"""Failures that are made smaller: the first seed of each of so many checks."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that failed."""

    seed: int
    check: str
    """The law that was broken; or `liveness`, `exception`, `worker-died`."""
    detail: str
    replay: str
    """The command that shows it again: of the smallest run that was found, if it was made smaller."""


class Failures(msgspec.Struct, frozen=True):
    """All of them."""

    failing: list[Failure]
    shrunk: dict[int, Shrunk]
    """By seed: those that were made smaller."""
    drawing: Text | None = None
    """The last stretch of the first one, for the terminal."""


def explain(results: list[Result], plan: Plan, *, shrinking: bool, draw: Path | None, quiet: bool) -> Failures:
    """Make failures small and draw the first one; of a single seed that holds, its end is drawn if a file is named."""
    failed = [result for result in results if result.check]
    shrunk = _shrink(failed, plan, quiet) if shrinking else {}
    failing = []
    for result in failed:
        smaller = shrunk.get(result.seed)
        options = smaller.options if smaller is not None else plan.options(result.seed)
        seen = smaller.result if smaller is not None else result
        detail = seen.detail.partition("\nreplay: ")[0].removeprefix(f"[{result.check}] ")
        failing.append(Failure(seed=result.seed, check=result.check, detail=detail, replay=options.command()))
    drawable = next((result for result in failed if result.check not in (EXCEPTION, WORKER_DIED)), None)
    drawing = None
    if drawable is not None:
        smaller = shrunk.get(drawable.seed)
        drawing = _draw(smaller.options if smaller is not None else plan.options(drawable.seed), draw, quiet)
    elif draw is not None and len(results) == 1 and not failed:
        drawing = _draw(plan.options(results[0].seed), draw, quiet)
    return Failures(failing, shrunk, drawing)


def _shrink(failed: list[Result], plan: Plan, quiet: bool) -> dict[int, Shrunk]:
    firsts: dict[str, Result] = {}
    for result in failed:
        if result.check != WORKER_DIED:
            firsts.setdefault(result.check, result)
    chosen = list(firsts.values())[:MAX_SHRUNK]
    return {result.seed: _shrink_one(plan.options(result.seed), result, quiet) for result in chosen}


def _shrink_one(options: Options, result: Result, quiet: bool) -> Shrunk:
    until = time.monotonic() + SHRINKING_S
    with progress_bar(quiet) as progress:
        bar = progress.add_task(f"seed {result.seed}, {result.check}: making it smaller", total=None, found="")

        def may_go_on(best: Options, attempts: int) -> bool:
            size = f"{best.duration / SECOND:g} s, {best.nodes} members, faults {','.join(best.faults) or NO_FAULTS}"
            progress.update(bar, completed=attempts, found=size)
            return time.monotonic() < until

        return shrink(options, result, run_options, may_go_on)


def _draw(options: Options, path: Path | None, quiet: bool) -> Text | None:
    if path is None and quiet:
        return None
    _, recording = film(options)
    if path is not None:
        try:
            path.write_text(draw_svg(recording), encoding="utf-8")
        except OSError as error:
            print(f"coterie: {path} cannot be written: {error.strerror}", file=sys.stderr)
            raise typer.Exit(Exit.USAGE) from None
    return draw_text(recording)
