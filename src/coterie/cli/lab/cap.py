"""`coterie lab cap`: a partition, and what each way to read and write gives up on each side of it."""

from __future__ import annotations

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.cap.experiment import cap as experiment


def cap(
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv_file: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """The CAP theorem by measurement: part the network, simulated and real, and see what each mode gives up.

    Example: coterie lab cap --html cap.html
    """
    conduct(
        experiment,
        "CAP: consistency or availability, when the network parts",
        seed=seed,
        quick=quick,
        as_json=as_json,
        html=html,
        csv_file=csv_file,
    )
