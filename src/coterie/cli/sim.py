"""`coterie sim`: whole clusters of the shipped code in a simulated world, seed by seed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from coterie.cli.explore import explore
from coterie.cli.groups import group
from coterie.cli.mutants import mutants
from coterie.cli.outcome import Exit, JsonOption, fail_usage, print_json
from coterie.cli.sim_campaign import Cluster, campaign
from coterie.cli.sim_failures import explain
from coterie.cli.sim_report import report, show
from coterie.core.protocols import PROTOCOLS
from coterie.sim.campaign import Plan
from coterie.sim.options import APIS, FAULTS, NATIVE, NO_FAULTS, SECOND

MAX_SECONDS: Final = 86_400.0
MAX_NODES: Final = 7
MAX_CLIENTS: Final = 64
MAX_SEED: Final = (1 << 63) - 1
CORES: Final = os.cpu_count() or 1

app = group("Prove it: whole clusters of the shipped code in a simulated world.", "coterie sim --seeds 0..199")
app.command("mutants")(mutants)
app.command("explore")(explore)


@app.callback(invoke_without_command=True, no_args_is_help=True)
def sim(
    context: typer.Context,
    seeds: Annotated[str | None, typer.Option(metavar="A..B", help="All seeds from A to B, both included.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=MAX_SEED, help="This seed alone.")] = None,
    protocol: Annotated[str, typer.Option(metavar="NAME", help=f"{' or '.join(PROTOCOLS)}.")] = PROTOCOLS[0],
    nodes: Annotated[int | None, typer.Option(min=1, max=MAX_NODES, help="Members (default: the seed's).")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=MAX_SECONDS, help="Simulated time with faults; healing comes on top.")
    ] = 30.0,
    faults: Annotated[
        str | None,
        typer.Option(metavar="A,B", help=f"Fault classes, or {NO_FAULTS} (default: the seed's): {', '.join(FAULTS)}."),
    ] = None,
    api: Annotated[str, typer.Option(metavar="NAME", help=f"What clients speak: {', '.join(APIS)}.")] = NATIVE,
    clients: Annotated[int | None, typer.Option(min=1, max=MAX_CLIENTS, help="How many (default: the seed's).")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Processes (default: one a core).", show_default=False)] = (
        CORES
    ),
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run the seeds on this Dask cluster instead.")
    ] = None,
    no_shrink: Annotated[bool, typer.Option("--no-shrink", help="Tell failures as they were found.")] = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the first failure (of one seed: its end) as an SVG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run seeds of the simulated world: the shipped engine, log and machine, on a network, disks and clocks that fail.
    Every law is checked after every step. Exit code 0: no law was broken; 1: one was, or the campaign was idle, which
    proves nothing; 2: it could not run.

    Example: coterie sim --seeds 0..199 --protocol multipaxos --json
    """
    if context.invoked_subcommand is not None:
        return
    chosen = _chosen_seeds(seed, seeds)
    plan = Plan(
        nodes=nodes,
        duration=round(seconds * 1000) * SECOND // 1000,
        clients=clients,
        faults=_chosen_faults(faults),
        protocol=_chosen_protocol(protocol),
        api=_chosen_api(api),
    )
    if draw is not None and not draw.absolute().parent.is_dir():
        fail_usage(f"--draw {draw}: there is no directory {draw.absolute().parent}")
    results, wall_seconds = campaign(chosen, plan, Cluster(jobs, dask), quiet=as_json)
    failures = explain(results, plan, shrinking=not no_shrink, draw=draw, quiet=as_json)
    summary = report(results, plan, failures, wall_seconds)
    if as_json:
        print_json(summary)
    else:
        show(summary, results, failures)
    if summary.violations or summary.liveness_failures or summary.idle:
        raise typer.Exit(Exit.NOT_FOUND)


def _chosen_seeds(seed: int | None, seeds: str | None) -> range:
    if (seed is None) == (seeds is None):
        fail_usage("say which seeds: --seed N for one, or --seeds A..B for all from A to B")
    if seed is not None:
        return range(seed, seed + 1)
    first, separator, last = (seeds or "").partition("..")
    if not separator or not (first.isdecimal() and last.isdecimal()) or len(first + last) > 2 * len(str(MAX_SEED)):
        fail_usage(f"--seeds {seeds}: write A..B, two whole numbers, such as 0..199")
    chosen = range(int(first), int(last) + 1)
    if not chosen:
        fail_usage(f"--seeds {seeds}: {first} is larger than {last}")
    if chosen[-1] > MAX_SEED:
        fail_usage(f"--seeds {seeds}: a seed is at most {MAX_SEED}")
    return chosen


def _chosen_faults(faults: str | None) -> tuple[str, ...] | None:
    if faults is None:
        return None
    if faults == NO_FAULTS:
        return ()
    named = [fault.strip() for fault in faults.split(",")]
    for fault in named:
        if fault not in FAULTS:
            fail_usage(f"--faults: there is no class {fault!r}; there are {', '.join(FAULTS)}; or {NO_FAULTS}")
    return tuple(named)


def _chosen_protocol(protocol: str) -> str:
    if protocol not in PROTOCOLS:
        fail_usage(f"--protocol {protocol}: it must be one of {', '.join(PROTOCOLS)}")
    return protocol


def _chosen_api(api: str) -> str:
    if api not in APIS:
        fail_usage(f"--api {api}: it must be one of {', '.join(APIS)}")
    return api
