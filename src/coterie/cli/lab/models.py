"""`coterie lab models`: consistency models told apart by search, and which of them Coterie's reads give."""

from __future__ import annotations

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.models.experiment import models as experiment


def models(
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """The lattice of consistency models: the smallest histories that tell them apart, and what Coterie's reads give.

    Example: coterie lab models --html models.html
    """
    conduct(
        experiment,
        "Consistency models",
        seed=seed,
        quick=quick,
        as_json=as_json,
        html=html,
        csv_file=csv_file,
    )
