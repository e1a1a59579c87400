"""`coterie up`: a cluster of processes on this machine."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.live import Live

from coterie.cli.cluster_file import LocalClusterError, client_tls
from coterie.cli.live_view import cluster_table
from coterie.cli.local_cluster import Started, Wanted, start_cluster, stop_cluster
from coterie.client.one_status import ask_status
from coterie.client.tls import ClientTls
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS

EXIT_USAGE = 2
EXIT_DID_NOT_HAPPEN = 3
DEFAULT_DIRECTORY = Path(".coterie")
VIEW_INTERVAL_S = 0.5
STATUS_TIMEOUT_S = 0.2


def up(
    nodes: Annotated[int | None, typer.Option(help="How many nodes; 3 if the cluster is new.")] = None,
    protocol: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"{' or '.join(PROTOCOLS)}; {DEFAULT_PROTOCOL} if the cluster is new."),
    ] = None,
    data: Annotated[Path, typer.Option(help="The cluster's directory.")] = DEFAULT_DIRECTORY,
    client_port: Annotated[
        int | None, typer.Option(help="The first client port (2379); each node takes two ports.")
    ] = None,
    machine: Annotated[
        str | None, typer.Option(help="The state machine, package.module:Class; a key-value store if it is new.")
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="With TLS; makes certificates in the cluster's directory if it is new."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the cluster is up; `down` stops it.")] = False,
) -> None:
    """Start a cluster on this machine, or start again what is down of it; without --detach, watch it until Ctrl-C."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGINT, _as_interrupt)  # a shell that starts us in the background has it ignored
    wanted = Wanted(nodes=nodes, protocol=protocol, client_port=client_port, machine=machine, tls=tls)
    try:
        started = start_cluster(data, wanted)
    except CoterieError as error:
        fail(error)
    except KeyboardInterrupt:
        print("coterie: interrupted; nothing is left running", file=sys.stderr)
        raise typer.Exit(EXIT_DID_NOT_HAPPEN) from None
    if detach or not started.processes:
        _tell(started, data)
        if not detach:
            print("It was started by another `coterie up`, which goes on; `coterie down` stops it.")
        return
    if not _watch(started, data):
        print("All nodes have ended.")
        return
    try:
        for name, became in stop_cluster(data).items():
            print(f"{name} {became}")
    except LocalClusterError as error:
        fail(error)


def fail(error: CoterieError) -> NoReturn:
    """Say what is wrong and what to do, and end with the code that fits."""
    advice = f" ({error.advice})" if error.advice else ""
    print(f"coterie: {error}{advice}", file=sys.stderr)
    raise typer.Exit(EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_DID_NOT_HAPPEN)


def _as_interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _tell(started: Started, data: Path) -> None:
    cluster = started.cluster
    for name in started.removed:
        print(f"{name} was removed from the cluster: it is left out from now on.")
    if not started.processes:
        print(f"Already up: {len(cluster.present)} nodes, {cluster.protocol}, leader {started.leader}.")
    elif len(started.processes) < len(cluster.present):
        print(f"Started {', '.join(started.processes)} again; the others were up. Leader {started.leader}.")
    else:
        print(f"{len(cluster.present)} nodes are up, {cluster.protocol}, leader {started.leader}.")
    print(f"Clients: {cluster.endpoints}   Data and logs: {data}")
    if (tls := client_tls(data, cluster)) is not None:
        print(f"They speak TLS: --cacert {tls.ca} --cert {tls.cert} --key {tls.key}")


def _watch(started: Started, data: Path) -> bool:
    """Tell of the cluster, and show it until Ctrl-C (True) or until every node has ended, by `down` say (False).

    On what is not a terminal, just wait.
    """
    console = Console()
    try:
        _tell(started, data)
        if not console.is_terminal:
            while _lives(started):
                time.sleep(VIEW_INTERVAL_S)
            return False
        config = client_tls(data, started.cluster)
        tls = ClientTls(config) if config is not None else None
        print("Try in another terminal: coterie put greeting hello; coterie status. Ctrl-C stops all nodes.")
        with Live(console=console, auto_refresh=False) as live:
            while _lives(started):
                statuses = [ask_status(node.client, STATUS_TIMEOUT_S, tls) for node in started.cluster.present]
                live.update(cluster_table(started.cluster, statuses), refresh=True)
                time.sleep(VIEW_INTERVAL_S)
        return False
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from here on the nodes are being stopped, with a bound
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return True


def _lives(started: Started) -> bool:
    """Some node that we started lives. Takes the exit codes of those that do not: their pids are free then."""
    return None in [process.poll() for process in started.processes.values()]
