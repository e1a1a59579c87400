"""Runs of a campaign in a process of their own, with a hash seed of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

import coterie
from coterie.sim.verdict import Result
from coterie.sim.worker import Order

SOURCE = str(Path(coterie.__file__).parent.parent)


def in_another_process(order: Order, hash_seed: str) -> list[Result]:
    environment = {**os.environ, "PYTHONPATH": SOURCE, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "coterie.sim.worker"]
    answer = subprocess.run(
        command, input=msgspec.json.encode(order) + b"\n", env=environment, capture_output=True, check=True
    )
    return [msgspec.json.decode(line, type=Result) for line in answer.stdout.splitlines()]
