"""Who checks the checker: plants one wrong change into a copy of the package, and lets the world judge the copy.

The product has no switches for this: a mutant is a text of the shipped source and what to put in its place. The text
must be there exactly once, so a mutant cannot quietly come to mean nothing. Which there are is told by the source
checkout's `tests/mutants/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median
from threading import Timer
from typing import Final

import msgspec

import coterie
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.sim.campaign import Plan
from coterie.sim.options import NATIVE, SECOND
from coterie.sim.verdict import Result
from coterie.sim.worker import Order

PACKAGE: Final = Path(coterie.__file__).parent
CONTROL_SEEDS: Final = 12
"""Seeds that a correct variant must pass."""
BUSY: Final = 100
"""Operations a seed that a correct variant must complete, or it has shown nothing."""


class StaleMutant(CoterieError):
    """A text that a mutant replaces is not in the source exactly once: the source has changed, so must the mutant."""

    advice = "Change the mutant's text in tests/mutants/ to what the source says now."


class Change(msgspec.Struct, frozen=True):
    """Replace `old`, which stands exactly once in `file` (below the package), by `new`."""

    file: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A known bug, or a correct variant, as changes of the shipped source."""

    row: str
    """Its id; a `K` row is a correct variant, which must not be flagged."""
    name: str
    changes: tuple[Change, ...]
    killers: frozenset[str] = frozenset()
    """The checks that name this fault; any other failure does not count."""
    faults: str = ""
    """Fault classes of the campaign, with commas; empty: each seed chooses."""
    nodes: int = 0
    """Cluster size; 0: each seed chooses."""
    first: int = 0
    """Seed to begin with: near one that is known to kill it."""
    by_command: bool = False
    """Hunted by the command, not in the test suite: it takes many seeds, or is named by a check that others show."""
    protocol: str = DEFAULT_PROTOCOL
    """What the members of its worlds run."""
    api: str = NATIVE
    """What the clients of its worlds speak: one of `options.APIS`."""


class Verdict(msgspec.Struct, kw_only=True):
    """What a campaign made of a mutant."""

    row: str
    killed_by: str = ""
    """The check that named the fault; empty if the mutant lived."""
    seed: int = -1
    """The one that killed it."""
    seeds: int = 0
    """How many ran."""
    seconds: float = 0.0
    others: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    """Failures that do not name it: seed, check, beginning of the detail."""
    early_commits: int = 0
    crashes: int = 0
    completed: int = 0

    @property
    def passes(self) -> bool:
        """Of a correct variant: nothing was flagged, and there was something to flag."""
        return self.seeds >= CONTROL_SEEDS and not self.others and self.completed > BUSY * self.seeds


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How far one mutant is hunted."""

    seeds: int = 500
    wall_seconds: float = 120.0
    simulated_seconds: float = 8.0
    """Of each seed."""


class Kill(msgspec.Struct, frozen=True):
    """A mutant that a check named."""

    id: str
    check: str
    seed: int
    seconds: float


class NotApplicable(msgspec.Struct, frozen=True):
    """A known bug that this design cannot express, and why."""

    id: str
    why: str


class Catalogue(msgspec.Struct, frozen=True):
    """All that is known of known bugs."""

    mutants: tuple[Mutant, ...]
    controls: tuple[Mutant, ...]
    not_applicable: tuple[NotApplicable, ...]


class Controls(msgspec.Struct, frozen=True):
    """How many correct variants were tried, and not flagged."""

    tried: int
    passed: int


class MutationReport(msgspec.Struct, frozen=True):
    """What became of all of them, as `coterie sim mutants --json` prints it."""

    tried: int
    killed: int
    survived: list[str]
    kills: list[Kill]
    not_applicable: list[NotApplicable]
    controls: Controls
    median_seconds_to_kill: float | None
    flagged: list[str]
    """Correct variants that were flagged, or idle."""


def plant(mutant: Mutant, directory: Path) -> Path:
    """Copy the package below `directory` and change it. Returns what to put on the module path.

    Raises `StaleMutant` if a text is not there exactly once.
    """
    copy = directory / "coterie"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for change in mutant.changes:
        path = copy / change.file
        source = path.read_text(encoding="utf-8")
        if source.count(change.old) != 1:
            count = source.count(change.old)
            raise StaleMutant(f"{mutant.row}: {change.old!r} stands {count} times in {change.file}")
        path.write_text(source.replace(change.old, change.new), encoding="utf-8")
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
    return directory


def hunt(mutant: Mutant, directory: Path, budget: Budget) -> Verdict:
    """Run seeds on the planted copy until a check names the fault, or the budget is spent."""
    plan = Plan(
        nodes=mutant.nodes or None,
        duration=round(budget.simulated_seconds * 1000) * SECOND // 1000,
        faults=tuple(mutant.faults.split(",")) if mutant.faults else None,
        protocol=mutant.protocol,
        api=mutant.api,
    )
    order = Order(mutant.first, mutant.first + budget.seeds, plan)
    command = [sys.executable, "-m", "coterie.sim.worker"]
    environment = {**os.environ, "PYTHONPATH": str(plant(mutant, directory)), "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    verdict = Verdict(row=mutant.row)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=directory
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.close()
        # A planted bug may also make a run endless.
        alarm = Timer(budget.wall_seconds, process.kill)
        alarm.start()
        try:
            for line in process.stdout:
                _judge(mutant, verdict, msgspec.json.decode(line, type=Result))
                if verdict.killed_by:
                    break
        except msgspec.DecodeError:
            pass  # The alarm cut a line off.
        finally:
            alarm.cancel()
            process.kill()
    verdict.seconds = round(time.monotonic() - began, 3)
    return verdict


def _judge(mutant: Mutant, verdict: Verdict, result: Result) -> None:
    verdict.seeds += 1
    verdict.early_commits += result.figures.early_commits
    verdict.crashes += result.figures.crashes
    verdict.completed += result.figures.completed
    if result.check in mutant.killers:
        verdict.killed_by, verdict.seed = result.check, result.seed
    elif result.check:
        verdict.others.append((result.seed, result.check, result.detail[:300]))


def hunt_all(mutants: Iterable[Mutant], budget: Budget, jobs: int) -> Iterator[tuple[Mutant, Verdict]]:
    """Hunt them all, so many at a time; verdicts as they come. Raises `StaleMutant`."""

    def hunt_one(mutant: Mutant) -> Verdict:
        with tempfile.TemporaryDirectory(prefix="coterie-mutant-") as directory:
            return hunt(mutant, Path(directory), budget)

    with ThreadPoolExecutor(jobs) as pool:
        hunted = {pool.submit(hunt_one, mutant): mutant for mutant in mutants}
        try:
            for done in as_completed(hunted):
                yield hunted[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def report(catalogue: Catalogue, verdicts: Callable[[str], Verdict | None]) -> MutationReport:
    """Add it up; `verdicts` gives that of a row, or None if it was not tried."""
    tried = [verdict for mutant in catalogue.mutants if (verdict := verdicts(mutant.row)) is not None]
    controls = [verdict for mutant in catalogue.controls if (verdict := verdicts(mutant.row)) is not None]
    kills = [Kill(v.row, v.killed_by, v.seed, v.seconds) for v in tried if v.killed_by]
    return MutationReport(
        tried=len(tried),
        killed=len(kills),
        survived=[verdict.row for verdict in tried if not verdict.killed_by],
        kills=kills,
        not_applicable=list(catalogue.not_applicable),
        controls=Controls(len(controls), sum(verdict.passes for verdict in controls)),
        median_seconds_to_kill=round(median(kill.seconds for kill in kills), 3) if kills else None,
        flagged=[verdict.row for verdict in controls if not verdict.passes],
    )
