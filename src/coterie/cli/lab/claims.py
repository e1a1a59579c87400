"""`coterie lab claims`: what papers assert, tried on the code that ships."""

from __future__ import annotations

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption


def claims(
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reproduce what nine sources assert: the source's figure, ours, and the verdict.

    Example: coterie lab claims --html claims.html
    """
    from coterie.lab.claims.experiment import claims as experiment

    title = "What papers assert, tried on Coterie"
    conduct(experiment, title, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv_file)
