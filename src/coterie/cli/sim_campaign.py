"""Running the seeds of `coterie sim`: on this machine or on a Dask cluster, with a bar that counts what they find."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coterie.cli.outcome import fail_usage
from coterie.sim.campaign import Plan, run_on, run_seeds
from coterie.sim.verdict import Result

if TYPE_CHECKING:
    from distributed import Client

DASK_TIMEOUT_S: Final = 5.0


class Cluster(NamedTuple):
    """Where seeds run."""

    jobs: int
    """Processes of this machine."""
    dask: str | None
    """Address of a Dask scheduler that is used instead."""


def progress_bar(quiet: bool) -> Progress:
    """A bar on standard error, with a `found` text behind it; none if it is quiet or nobody looks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)


def campaign(seeds: range, plan: Plan, cluster: Cluster, *, quiet: bool) -> tuple[list[Result], float]:
    """Every seed's result, in order, and the seconds that it took. Ends the process with USAGE if it cannot run."""
    began = time.monotonic()
    results: list[Result] = []
    operations = failures = 0
    with progress_bar(quiet) as progress:
        bar = progress.add_task(f"{plan.protocol}, seeds {seeds[0]}..{seeds[-1]}", total=len(seeds), found="")
        for result in _run(seeds, plan, cluster):
            results.append(result)
            operations += result.figures.completed
            failures += bool(result.check)
            progress.update(bar, advance=1, found=f"{operations:,} operations, {failures} failures")
            if result.check:
                progress.console.print(f"seed {result.seed}: {result.check}", markup=False, highlight=False)
    return sorted(results, key=lambda result: result.seed), time.monotonic() - began


def _run(seeds: range, plan: Plan, cluster: Cluster) -> Iterator[Result]:
    if cluster.dask is None:
        yield from run_seeds(seeds, plan, min(cluster.jobs, len(seeds)))
        return
    with _dask(cluster.dask) as client:
        yield from run_on(client.get_executor(pure=False), seeds, plan)


@contextmanager
def _dask(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError:
        fail_usage("--dask needs the library of that name: pip install 'coterie[dask]'")
    try:
        client = Client(address, timeout=DASK_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        fail_usage(f"--dask {address}: no scheduler answers there ({error}); `dask scheduler` starts one")
    with client:
        if not client.ncores():
            fail_usage(f"--dask {address}: the scheduler has no workers; `dask worker {address}` starts one")
        yield client
