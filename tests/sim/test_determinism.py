"""One seed, one run: in another process and under another PYTHONHASHSEED, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import coterie
from coterie.sim.campaign import Plan, run_seed
from coterie.sim.options import SECOND
from coterie.sim.verdict import Result

SOURCE = str(Path(coterie.__file__).parent.parent)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_seed_gives_the_same_run_in_any_process(hash_seed: str, protocol: str) -> None:
    command = [sys.executable, "-m", "coterie.sim", "--json", "--jobs", "1", "--seconds", "3", "--seeds", "21..25"]
    command += ["--protocol", protocol]
    environment = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONHASHSEED": hash_seed}
    output = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    there = [msgspec.json.decode(line, type=Result) for line in output.splitlines()]
    here = [run_seed(seed, Plan(duration=3 * SECOND, protocol=protocol)) for seed in range(21, 25)]
    assert there == here
    assert len({result.trace for result in here}) == 4
    assert all(result.figures.completed > 0 for result in here)
