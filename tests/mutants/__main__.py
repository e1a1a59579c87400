"""`python -m tests.mutants [--seeds N] [--seconds S] [ROW ...]`: hunt mutants for longer than the suite does."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutants.catalogue import MUTANTS
from tests.mutants.planting import hunt


def main() -> int:
    """Exit code 1 if a mutant lived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows of the catalogue (default: all)")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    lived = 0
    for mutant in MUTANTS:
        if chosen.rows and mutant.row not in chosen.rows:
            continue
        with tempfile.TemporaryDirectory() as directory:
            seeds = range(mutant.first, mutant.first + chosen.seeds)
            verdict = hunt(mutant, Path(directory), seeds, chosen.seconds)
        lived += not verdict.killed_by
        found = f"{verdict.killed_by} at seed {verdict.seed}" if verdict.killed_by else "LIVED"
        print(f"{mutant.row} {mutant.name}: {found}, {verdict.seeds} seeds, others {verdict.others[:2]}", flush=True)
    return 1 if lived else 0


if __name__ == "__main__":
    sys.exit(main())
