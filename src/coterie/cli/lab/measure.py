"""`coterie lab measure`: a network as a file, from round trips and the disk of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.lab.experiment import Conditions, Report
from coterie.lab.measure.experiment import Order, measure_network, parse_hosts
from coterie.lab.measure.machine import HERE

TITLE = "A network, measured"


def measure(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST[:PORT]...", help="Or SITE=HOST:PORT; members, or any port that listens."),
    ] = None,
    site: Annotated[str, typer.Option(metavar="NAME", help="What this machine's site is called.")] = HERE,
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where clients reach this site's member.")] = "",
    data: Annotated[str, typer.Option(metavar="DIR", help="A directory on the disk that a member is to use.")] = ".",
    write: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the network; what other sites measured there is kept.")
    ] = None,
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure round trips to hosts and the disk here; run it at each site with the same file to complete the matrix.

    Example: coterie lab measure --site paris tokyo=10.1.0.4:2379 lima=10.2.0.4:22 --write network.toml
    """

    def run(conditions: Conditions) -> Report:
        order = Order(hosts=parse_hosts(hosts or []), site=site, address=address, directory=data, file=write)
        return measure_network(order, conditions)

    conduct(run, TITLE, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv)
