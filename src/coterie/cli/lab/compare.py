"""`coterie lab compare`: protocols beside each other."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.compare.comparison import compare as run

TITLE = "Protocols compared"


def compare(
    processes: Annotated[
        bool, typer.Option("--processes/--no-processes", help="Real processes on this machine, too.")
    ] = True,
    seed: SeedOption = 1,
    quick: QuickOption = False,
    as_json: JsonOption = False,
    html: HtmlOption = None,
    csv_file: CsvOption = None,
) -> None:
    """Raft, Multi-Paxos, an ABD register, a Dynamo-style store and an early primary: cost, capacity, outages, faults.

    Example: coterie lab compare --html compare.html
    """
    conduct(partial(run, real=processes), TITLE, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv_file)
