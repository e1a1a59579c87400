"""Which of several Pythons `make` takes: the first that will do, unless another is faster by more than a tenth.

Builds of the same version differ by a quarter (one compiled at home without optimisations beside a distribution's), and
a put or a simulated seed follows. A machine's speed changes while it is measured, so the candidates take turns.

`python bench/pick_python.py CANDIDATE ...` prints the path of the one to take; exit code 1 if none will do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

ROUNDS = 5
GAIN = 0.9
"""Of the first one's time: what another must stay under to be preferred."""
PROBE = """
import ensurepip, sys, timeit, venv
assert sys.version_info >= (3, 11)
loop = "for i in numbers: each = pair(i, x); table[i & 255] = each; x = each[0] + len(table)"
begin = "numbers = range(4000); table = {}; x = 0; pair = lambda *both: both"
print(min(timeit.repeat(loop, begin, number=5, repeat=3)))
"""
"""How many seconds a loop takes, in a Python of ours that can make virtual environments; else it fails."""


def timed(python: str) -> float | None:
    """Seconds; None if it will not do."""
    try:
        run = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
        return float(run.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def pick(candidates: list[str]) -> str | None:
    """The one to take, out of `candidates` in the order of preference; None if none will do."""
    paths = dict.fromkeys(path for path in map(shutil.which, candidates) if path is not None)
    least = {path: took for path in paths if (took := timed(path)) is not None}
    if len(least) > 1:
        for _ in range(ROUNDS):
            for path, took in list(least.items()):
                least[path] = min(took, timed(path) or took)
    first = next(iter(least), None)
    quickest = min(least, key=least.__getitem__, default=None)
    if first is None or quickest is None or least[quickest] > GAIN * least[first]:
        return first
    return quickest


if __name__ == "__main__":
    picked = pick(sys.argv[1:])
    if picked is None:
        sys.exit(1)
    print(picked)
