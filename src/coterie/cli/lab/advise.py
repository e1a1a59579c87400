"""`coterie lab advise`: which protocol, placement, quorums and timeouts for a network; expected, and tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.lab.showing import CsvOption, HtmlOption, QuickOption, SeedOption, conduct
from coterie.cli.outcome import JsonOption
from coterie.core.protocols import PROTOCOLS
from coterie.lab.advise.demands import Demands, parse_clients
from coterie.lab.advise.experiment import advise as give_advice
from coterie.lab.experiment import Conditions, Report
from coterie.lab.latency.deployment import LINEARIZABLE, MODES
from coterie.lab.measure.machine import this_machine
from coterie.lab.network.files import read_network, shipped

TITLE = "Advice for a network"


def advise(
    network: Annotated[
        str | None, typer.Option(metavar="FILE", help=f"TOML, or one of {', '.join(shipped())}; else this machine.")
    ] = None,
    survive: Annotated[int, typer.Option(metavar="N", help="Machines that may fail at once.")] = 1,
    survive_site: Annotated[bool, typer.Option("--survive-site", help="A whole site may fail.")] = False,
    reads: Annotated[float, typer.Option(metavar="SHARE", help="Share of reads, 0 to 1.")] = 0.5,
    value: Annotated[int, typer.Option(metavar="BYTES", help="Size of a value.")] = 256,
    model: Annotated[
        str, typer.Option(metavar="NAME", help=f"What reads guarantee: {', '.join(MODES)}.")
    ] = LINEARIZABLE,
    clients: Annotated[
        str | None, typer.Option(metavar="SITE=SHARE,...", help="Where calls come from; else from all sites alike.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(metavar="N", help="So many replicas; else as few as will do.")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{' or '.join(PROTOCOLS)}; else chosen.")
    ] = None,
    write_within: Annotated[
        float | None, typer.Option(metavar="MS", help="Mean of writes, at most, for every site of clients.")
    ] = None,
    read_within: Annotated[float | None, typer.Option(metavar="MS", help="The same of reads.")] = None,
    clock_drift: Annotated[
        int | None, typer.Option(metavar="PERMILLE", help="Clocks differ by no more in rate: leases may be trusted.")
    ] = None,
    in_flight: Annotated[int, typer.Option(metavar="N", help="Calls under way at once.")] = 64,
    write: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a configuration for each node.")] = None,
    seed: SeedOption = 1,
    quick: QuickOption = False,
    html: HtmlOption = None,
    csv: CsvOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the best placement, quorums, timeouts and limits, explain them, and try them in the simulator.

    Example: coterie lab advise --network epaxos --survive-site --reads 0.8 --write conf
    """

    def run(conditions: Conditions) -> Report:
        found = read_network(network) if network is not None else this_machine()
        demands = Demands(
            survive=survive,
            survive_site=survive_site,
            reads=reads,
            value_bytes=value,
            model=model,
            clients=parse_clients(clients, found),
            nodes=nodes,
            protocol=protocol,
            write_within_ms=write_within,
            read_within_ms=read_within,
            clock_drift_permille=clock_drift,
            in_flight=in_flight,
        )
        return give_advice(found, demands, conditions, write)

    conduct(run, TITLE, seed=seed, quick=quick, as_json=as_json, html=html, csv_file=csv)
