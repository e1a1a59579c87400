"""All rows of the table, run side by side on every core."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from typing import Any, Final

from msgspec.structs import replace

from coterie.lab.claims import capacity, damage, entries, figure16, fsync, leases, liveness, quorums
from coterie.lab.claims.rows import Found, Row, Task
from coterie.lab.errors import LabError
from coterie.lab.experiment import Conditions, Part, Report, Table

ROWS: Final[tuple[Row, ...]] = (
    figure16.ROW,
    liveness.SETTLING,
    liveness.RECOVERY,
    capacity.ROW,
    quorums.ROW,
    entries.ROW,
    damage.ROW,
    fsync.ROW,
    leases.ROW,
)


def claims(conditions: Conditions, rows: Sequence[Row] = ROWS) -> Report:
    """Run every row. Raises `LabError` where a run does not come to where it leads, or a process dies."""
    tasks = [row.tasks(conditions) for row in rows]
    results = _run([task for of_row in tasks for task in of_row], conditions)
    found: list[Found] = []
    for row, of_row in zip(rows, tasks, strict=True):
        mine, results = results[: len(of_row)], results[len(of_row) :]
        found.append(row.judge(conditions, mine))
    every = [replace(c, explained=c.explained and not c.agrees) for f in found for c in f.claims]
    agree = sum(claim.agrees for claim in every)
    explained = sum(claim.explained for claim in every)
    parts: list[Part] = [_overview(rows, found)]
    for f in found:
        parts += f.parts
    return Report(
        experiment="claims",
        seed=conditions.seed,
        claims=every,
        summary=f"{len(every)} assertions of {len(rows)} sources: {agree} agree, {explained} differ for a reason "
        "that a run "
        f"shows, {len(every) - agree - explained} differ for none.",
        data={"quick": conditions.quick} | {key: value for f in found for key, value in f.data.items()},
        parts=parts,
    )


def _run(tasks: Sequence[Task], conditions: Conditions) -> list[Any]:
    """Results in the order of the tasks. Each has its own seed, so it does not matter which process ran it."""
    results: dict[int, Any] = {}
    # Not forked: the terminal's progress has a thread of its own, which would not survive it.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[Any], int] = {
            pool.submit(task.function, *task.arguments): number for number, task in enumerate(tasks)
        }
        try:
            for future in as_completed(waiting):
                results[waiting[future]] = future.result()
                conditions.progress(
                    len(results) / len(tasks), tasks[waiting[future]].function.__module__.split(".")[-1]
                )
        except BrokenExecutor as error:
            raise LabError(f"a process that ran trials died: {error}") from error
        finally:
            for future in waiting:
                future.cancel()
    return [results[number] for number in range(len(tasks))]


def _overview(rows: Sequence[Row], found: Sequence[Found]) -> Table:
    return Table(
        title="The sources",
        columns=("row", "source", "assertions", "agree", "differ, as shown"),
        rows=tuple(
            (
                row.id,
                row.source,
                len(f.claims),
                sum(claim.agrees for claim in f.claims),
                sum(claim.explained and not claim.agrees for claim in f.claims),
            )
            for row, f in zip(rows, found, strict=True)
        ),
    )
