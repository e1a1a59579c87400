"""`coterie disk`: how quickly a disk makes writes durable, and whether that is good enough."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from coterie.core.errors import ConfigurationError, CoterieError
from coterie.storage.probe import BYTES_PER_ROUND, ROUNDS, DiskReport, probe_disk

EXIT_USAGE = 2
EXIT_NOT_DONE = 3


def disk(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A directory on the disk to measure.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    rounds: Annotated[int, typer.Option(help="Writes, each synced before the next.")] = ROUNDS,
    bytes_per_round: Annotated[int, typer.Option("--bytes", help="Bytes a write.")] = BYTES_PER_ROUND,
) -> None:
    """Measure how long a write and its sync take in DIR, as a member's log does it."""
    try:
        report = probe_disk(directory, rounds=rounds, bytes_per_round=bytes_per_round)
    except CoterieError as error:
        advice = f" ({error.advice})" if error.advice else ""
        print(f"coterie: {error}{advice}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_NOT_DONE) from None
    print(msgspec.json.encode(report).decode() if json else _told(report))


def _told(report: DiskReport) -> str:
    figures = (("p50", report.p50_us), ("p99", report.p99_us), ("p99.9", report.p999_us), ("slowest", report.max_us))
    lines = [f"{report.rounds} writes of {report.bytes_per_round} bytes, each synced:"]
    lines += [f"  {label:<8}{micros / 1000:>9.2f} ms" for label, micros in figures]
    return "\n".join([*lines, report.sentence])
