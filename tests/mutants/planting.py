"""Plants one wrong change into a copy of the package, and lets the simulated world judge the copy.

The product has no switches for this: a mutant is a text of the shipped source and what to put in
its place. The text must be there exactly once, so a mutant cannot quietly come to mean nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

import coterie
from coterie.sim.statute import MULTIPAXOS
from coterie.sim.verdict import Result

PACKAGE = Path(coterie.__file__).parent

SAFETY: Final = frozenset(
    {
        "one-leader",
        "one-vote",
        "vote-quorum",
        "log-matching",
        "leader-completeness",
        "chosen-stays",
        "chosen-truncated",
        "commit-quorum",
        "same-applied",
        "alarm",
    }
)
"""Checks that name a broken election, replication or commit rule. `alarm`: the product's own assertion."""

PAXOS_SAFETY: Final = frozenset(MULTIPAXOS) | {
    "one-leader",
    "leader-completeness",
    "chosen-stays",
    "commit-quorum",
    "same-applied",
    "alarm",
}
"""The same of Multi-Paxos."""


class Change(msgspec.Struct, frozen=True):
    """Replace `old`, which stands exactly once in `file` (below the package), by `new`."""

    file: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the bug catalogue, as changes of the shipped source."""

    row: str
    """The row's name in the catalogue; a `K` row is a correct variant, which must not be flagged."""
    name: str
    changes: tuple[Change, ...]
    killers: frozenset[str] = frozenset()
    """The checks that name this fault; any other failure does not count."""
    faults: str = ""
    """Fault classes of the campaign; empty: each seed chooses."""
    nodes: int = 0
    """Cluster size; 0: each seed chooses."""
    first: int = 0
    """Seed to begin with: near one that is known to kill it."""
    rare: bool = False
    """It takes hundreds of seeds: hunted by `python -m tests.mutants`, not in the test suite."""
    protocol: str = "raft"
    """What the members of its worlds run."""


def planted(
    row: str,
    name: str,
    changes: list[tuple[str, str, str]],
    killers: frozenset[str],
    *,
    faults: str = "",
    nodes: int = 0,
    first: int = 0,
    rare: bool = False,
    protocol: str = "raft",
) -> Mutant:
    """A row; `changes`: file, old text, new text."""
    texts = tuple(Change(*change) for change in changes)
    return Mutant(
        row=row,
        name=name,
        changes=texts,
        killers=killers,
        faults=faults,
        nodes=nodes,
        first=first,
        rare=rare,
        protocol=protocol,
    )


class Verdict(msgspec.Struct):
    """What a campaign made of a mutant."""

    killed_by: str
    """The check that named the fault; empty if the mutant lived."""
    seed: int
    seeds: int
    others: list[tuple[int, str, str]]
    """Failures that do not name it: seed, check, beginning of the detail."""
    early_commits: int = 0
    crashes: int = 0
    completed: int = 0


def plant(mutant: Mutant, directory: Path) -> Path:
    """Copy the package below `directory` and change it. Returns what to put on the module path.

    Raises `ValueError` if a text is not there exactly once: the source has changed, so must the mutant.
    """
    copy = directory / "coterie"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for change in mutant.changes:
        path = copy / change.file
        source = path.read_text()
        if source.count(change.old) != 1:
            raise ValueError(f"{mutant.row}: {change.old!r} stands {source.count(change.old)} times in {change.file}")
        path.write_text(source.replace(change.old, change.new))
        compile(path.read_text(), str(path), "exec")
    return directory


def hunt(mutant: Mutant, directory: Path, seeds: range, seconds: float) -> Verdict:
    """Run seeds on the planted copy until a check names the fault."""
    command = [sys.executable, "-m", "coterie.sim", "--json", "--jobs", "1", "--seconds", f"{seconds:g}"]
    command += ["--seeds", f"{seeds.start}..{seeds.stop}", "--protocol", mutant.protocol]
    if mutant.faults:
        command += ["--faults", mutant.faults]
    if mutant.nodes:
        command += ["--nodes", str(mutant.nodes)]
    environment = {**os.environ, "PYTHONPATH": str(plant(mutant, directory)), "PYTHONDONTWRITEBYTECODE": "1"}
    verdict = Verdict("", -1, 0, [])
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=directory) as process:
        assert process.stdout is not None
        for line in process.stdout:
            result = msgspec.json.decode(line, type=Result)
            verdict.seeds += 1
            verdict.early_commits += result.figures.early_commits
            verdict.crashes += result.figures.crashes
            verdict.completed += result.figures.completed
            if result.check in mutant.killers:
                verdict.killed_by, verdict.seed = result.check, result.seed
                process.kill()
                break
            if result.check:
                verdict.others.append((result.seed, result.check, result.detail[:300]))
    return verdict
