"""Elections of a cluster whose machine has other things to do: none is to come without a cause that the log names.

    python bench/under_load.py [--json] [--seconds 600] [--spinners 4] [--protocol raft]

Three nodes with the election timeout that is their default take puts while other processes keep every processor busy
(`spinners`) and one writes 64 MiB and syncs it, again and again, on the disk that the logs are on. Every minute it says
how it goes. At the end it lists what the nodes logged of elections after the first one. A member that gives up because
its own disk hung, or hands over, says so: that is a cause. One that only heard nothing of a leader that lives has none,
and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from coterie.cli.cluster_file import LocalNode
from coterie.core.errors import CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from endurance import say, status_of
from measure import Missing, machine, scratch_directory, stop_processes
from node_samples import nodes_of
from peer_coterie import Coterie
from steady_puts import moments, steady_puts

SECONDS = 600.0
SPINNERS = 4
DISK_HOG_BYTES = 64 * 1024 * 1024
TELL_EVERY = 60
"""Moments of a second between two lines for people."""
CAUSES = ("its disk has not finished", "asked to take over", "hands over", "no longer a voter")
"""What the log says of elections that have a cause."""

SPIN = "while True: pass"
HOG = """
import os, sys
data = os.urandom(1 << 20)
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
while True:
    for place in range(int(sys.argv[2]) >> 20):
        os.pwrite(descriptor, data, place << 20)
    os.fsync(descriptor)
"""


def disturbers(scratch: Path, spinners: int) -> list[subprocess.Popen[bytes]]:
    """Who else wants the processors, and the disk."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN], start_new_session=True) for _ in range(spinners)]
    hog = [sys.executable, "-c", HOG, str(scratch / "hog"), str(DISK_HOG_BYTES)]
    return [*spinning, subprocess.Popen(hog, start_new_session=True)]


def told(nodes: list[LocalNode]) -> dict[str, list[str]]:
    """What each node says of the elections that it has seen, the newest last."""
    return {node.name: list(status_of(node).last_elections) for node in nodes}


def run(options: argparse.Namespace) -> dict[str, object]:
    """All of it. Raises `Missing`, `RuntimeError`."""
    cluster = Coterie(options.protocol)
    with scratch_directory() as scratch:
        others: list[subprocess.Popen[bytes]] = []
        try:
            cluster.start(scratch)
            nodes = list(nodes_of(cluster.directory))
            before = told(nodes)
            rounds = {node.name: status_of(node).epoch_round for node in nodes}
            others = disturbers(scratch, options.spinners)
            began = time.monotonic()
            puts = errors = 0
            pause = 0.0
            wanted = ["--in-flight", str(options.in_flight), "--seconds", str(options.seconds), "--history", "10000"]
            with steady_puts(cluster.endpoints, *wanted) as child:
                for number, moment in enumerate(moments(child), 1):
                    puts, errors, pause = moment.puts, moment.errors, max(pause, moment.pause_ms)
                    if number % TELL_EVERY == 0:
                        seconds = time.monotonic() - began
                        say(f"{seconds:6.0f} s  {puts / seconds:8.0f} puts/s  longest pause {pause:6.1f} ms")
            seconds = time.monotonic() - began
            stop_processes(others)
            after = told(nodes)
            grown = max(status_of(node).epoch_round - rounds[node.name] for node in nodes)
        finally:
            stop_processes(others)
            cluster.stop()
    new = {name: [text for text in lines if text not in before[name]] for name, lines in after.items()}
    without = sorted({text for lines in new.values() for text in lines if not any(cause in text for cause in CAUSES)})
    return {
        "seconds": round(seconds, 1),
        "puts": puts,
        "errors": errors,
        "puts_per_s": round(puts / seconds),
        "pause_ms_max": round(pause, 1),
        "elections": grown,
        "told": sum(len(lines) for lines in new.values()),
        "without_cause": without if grown else [],
        "spinners": options.spinners,
        "load_average": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }


def main() -> None:
    """Run, and judge."""
    parser = argparse.ArgumentParser(description="elections while other programs load processors and disk")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--spinners", type=int, default=SPINNERS, help="processes that only compute")
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--protocol", choices=PROTOCOLS, default=DEFAULT_PROTOCOL)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    try:
        found = run(options)
    except (Missing, RuntimeError, TimeoutError, CoterieError) as error:
        raise SystemExit(f"under_load: {error}") from error
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:16} {value}")
    sys.exit(1 if found["without_cause"] else 0)


if __name__ == "__main__":
    main()
