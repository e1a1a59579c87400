"""`coterie lab pacelc`: latency against consistency, and what a partition leaves."""

from __future__ import annotations

from typing import Annotated

import typer

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.experiment import Conditions, Report
from coterie.lab.network.files import read_network, shipped
from coterie.lab.pacelc.experiment import DEFAULT_NETWORK
from coterie.lab.pacelc.experiment import pacelc as compare

TITLE = "PACELC: latency against consistency"


def pacelc(
    network: Annotated[
        str, typer.Option(metavar="FILE", help=f"TOML, or one of {', '.join(shipped())}.")
    ] = DEFAULT_NETWORK,
    leader: Annotated[str | None, typer.Option(metavar="SITE", help="Where it stands; else where it is best.")] = None,
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure writes and reads of each mode from each region, and what is refused or stale; Coterie and references.

    Example: coterie lab pacelc --network aws --html pacelc.html
    """

    def run(conditions: Conditions) -> Report:
        return compare(read_network(network), conditions, leader)

    conduct(run, TITLE, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv)
