"""`coterie torture`: a cluster of real processes under real faults, and a verdict on what its clients saw."""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from coterie.check import HistoryError, write_json_lines
from coterie.cli.outcome import JsonOption, fail_usage
from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.torture.page import page
from coterie.torture.report import LINEARIZABLE, NOT_LINEARIZABLE, Report
from coterie.torture.run import Progress as Told
from coterie.torture.run import Wanted
from coterie.torture.run import torture as run_torture
from coterie.torture.schedule import FAULTS, chosen

PEERS = ("etcd",)
MAX_MINUTES = 24 * 60.0
MIN_MINUTES = 0.05
MAX_WORDS = 160
"""Characters that are shown of one line of a member's log."""
CLEAN, FOUND, COULD_NOT_RUN, UNKNOWN = 0, 1, 2, 4
"""Exit codes: linearizable and whole again; not; could not run; nobody knows."""


def torture(
    minutes: Annotated[
        float, typer.Option("--minutes", min=MIN_MINUTES, max=MAX_MINUTES, metavar="N", help="How long harm is done.")
    ] = 1.0,
    protocol: Annotated[str, typer.Option("--protocol", help=f"One of {', '.join(PROTOCOLS)}.")] = DEFAULT_PROTOCOL,
    peer: Annotated[str | None, typer.Option("--peer", help="Torture etcd instead.")] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=7, help="Members.")] = 3,
    faults: Annotated[str | None, typer.Option("--faults", metavar="A,B", help=f"Of {', '.join(FAULTS)}.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed plans the same faults.")] = None,
    as_json: JsonOption = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with a timeline.")] = None,
    history: Annotated[
        Path | None, typer.Option("--history", metavar="FILE", help="Write what clients saw, as JSON lines.")
    ] = None,
) -> None:
    """Kill, stop, cut, slow and fill a cluster of real processes, and check what its clients saw.

    Example: coterie torture --minutes 20 --html torture.html
    """
    if protocol not in PROTOCOLS:
        fail_usage(f"--protocol {protocol!r}: one of {', '.join(PROTOCOLS)}")
    if peer is not None and peer not in PEERS:
        fail_usage(f"--peer {peer!r}: there is {', '.join(PEERS)}")
    try:
        wanted = Wanted(
            seconds=minutes * 60,
            seed=secrets.randbelow(1 << 31) if seed is None else seed,
            system=peer or "coterie",
            protocol="" if peer else protocol,
            nodes=nodes,
            kinds=chosen(faults),
        )
    except ConfigurationError as error:
        fail_usage(str(error))
    try:
        with _ended_in_order(), _shown(wanted) as show:
            finished = run_torture(wanted, show)
        if history is not None:
            history.write_text("".join(f"{line}\n" for line in write_json_lines(finished.history)), encoding="utf-8")
        if html is not None:
            html.write_text(page(finished.report), encoding="utf-8")
    except KeyboardInterrupt:
        print("coterie: interrupted; nothing is left running", file=sys.stderr)
        raise typer.Exit(COULD_NOT_RUN) from None
    except (CoterieError, HistoryError, TimeoutError, OSError) as error:
        print(f"coterie: could not run: {error}", file=sys.stderr)
        raise typer.Exit(COULD_NOT_RUN) from None
    if as_json:
        print(msgspec.json.encode(finished.report).decode())
    else:
        _tell(finished.report)
    raise typer.Exit(exit_code(finished.report))


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM is as Ctrl-C: processes are ended, and file systems unmounted."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def exit_code(report: Report) -> int:
    """How the command ends."""
    if report.verdict == NOT_LINEARIZABLE or not report.whole:
        return FOUND
    return CLEAN if report.verdict == LINEARIZABLE else UNKNOWN


@contextmanager
def _shown(wanted: Wanted) -> Iterator[Callable[[Told], None]]:
    """A bar that lives as long as the run."""
    seed, words = TextColumn("seed {task.fields[seed]}"), TextColumn("{task.description}")
    with Progress(
        seed, BarColumn(), TimeRemainingColumn(), words, console=Console(stderr=True), transient=True
    ) as progress:
        bar = progress.add_task("starting", total=wanted.seconds, seed=wanted.seed)

        def show(told: Told) -> None:
            text = (
                f"{told.operations} operations, {told.unknown} unknown, {told.elections} changes of leader, "
                f"{told.faults} faults {told.now}"
            )
            progress.update(bar, completed=min(told.seconds, wanted.seconds), description=text)

        yield show


def _tell(report: Report) -> None:
    """For people."""
    system = f"{report.system} ({report.protocol})" if report.protocol else report.system
    print(f"{system}: {report.verdict}" + (f": {report.reason}" if report.reason else ""))
    print(
        f"{report.seconds:g} s, seed {report.seed}: {report.operations} operations, {report.unknown} of unknown "
        f"outcome, {report.refused} refused; {report.elections} changes of leader; members joined by {report.network}"
    )
    for kind, figures in report.faults.items():
        print(f"  {kind:10} {figures.count:4} times, longest {figures.longest_gap_s:g} s without an acknowledged write")
    for each in report.ended_by_themselves:
        words = " / ".join(line[:MAX_WORDS] for line in each.last_words.splitlines()[-2:])
        print(f"  {each.member} ended by itself at {each.at:g} s: {words}")
    for kind, reason in report.skipped.items():
        print(f"  {kind:10} not done: {reason}")
    if not report.whole:
        print(f"After the last fault the cluster did not become whole again: {report.trouble}")
