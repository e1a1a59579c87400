"""`coterie lab flp`: the impossibility of consensus as an experiment, and the three ways around it."""

from __future__ import annotations

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.flp.experiment import TITLE
from coterie.lab.flp.experiment import flp as experiment


def flp(
    seed: SeedOption = 1,
    quick: QuickOption = False,
    as_json: JsonOption = False,
    html: HtmlOption = None,
    csv: CsvOption = None,
) -> None:
    """Find the schedule that keeps a deterministic consensus undecided for ever (Fischer, Lynch, Paterson), and what
    ends it: coins (Ben-Or), timers (Dwork, Lynch, Stockmeyer; Raft and Multi-Paxos), a failure detector. Exit code 0:
    every claim agrees; 1: one does not.

    Example: coterie lab flp --html flp.html
    """
    conduct(experiment, TITLE, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv)
