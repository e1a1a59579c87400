"""PostgreSQL nodes under Patroni, and writers that try all of them all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

import msgspec
from examples.patroni import run
from tests.clients.environments import PROGRAMS, PYTHON

PATIENCE_S = 90.0
ENOUGH = 20
"""So many writes in a row say that a node is the primary."""


class Write(msgspec.Struct, frozen=True):
    """One that was acknowledged."""

    node: int
    begun: float
    ended: float
    number: int


class Writers:
    """One for each node; what was acknowledged, in the order in which it was."""

    def __init__(self, ports: list[int]) -> None:
        self._process = subprocess.Popen(
            [PYTHON, PROGRAMS / "postgres_writers.py", ",".join(map(str, ports))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.writes: list[Write] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # it was killed while it wrote
            node, begun, ended, number = line.split()
            with self._news:
                self.writes.append(Write(int(node), float(begun), float(ended), int(number)))
                self._news.notify_all()

    def primary(self, since: float) -> int:
        """The node that takes writes that were begun after this time."""

        def settled() -> bool:
            last = self.writes[-ENOUGH:]
            return len(last) == ENOUGH and last[0].begun > since and len({write.node for write in last}) == 1

        with self._news:
            assert self._news.wait_for(settled, PATIENCE_S), f"no primary after {PATIENCE_S} s"
            return self.writes[-1].node

    def gap(self, since: float) -> float:
        """The longest time without an acknowledged write after this time, in seconds."""
        times = [since, *(write.ended for write in self.writes if write.ended > since)]
        return max(later - earlier for earlier, later in pairwise(times))

    def stop(self) -> None:
        self._process.kill()
        self._thread.join()
        self._process.communicate()

    def reigns(self) -> list[int]:
        """Which nodes took writes, one after the other; with two that take them at once, they alternate."""
        nodes = [write.node for write in sorted(self.writes, key=lambda write: write.ended)]
        return [node for at, node in enumerate(nodes) if at == 0 or nodes[at - 1] != node]

    def overlaps(self) -> list[tuple[Write, Write]]:
        """Writes of two nodes under way at one time, both acknowledged."""
        ordered = sorted(self.writes, key=lambda write: write.begun)
        return [(one, other) for one, other in pairwise(ordered) if one.node != other.node and other.begun < one.ended]


class Machine:
    """One node: Patroni and its PostgreSQL."""

    def __init__(self, data: Path, name: str, port: int, rest_port: int, etcd: str) -> None:
        self.settings = run.configure(data, name, port, rest_port, etcd)
        self.port = port
        self.process = run.start(self.settings)

    def kill_postgres(self) -> None:
        """SIGKILL to the postmaster."""
        pid = (self.settings.parent / "pgdata" / "postmaster.pid").read_text().splitlines()[0]
        os.kill(int(pid), signal.SIGKILL)

    def kill(self) -> None:
        """As if the machine had lost its power: first Patroni, which else would still say something."""
        self.process.kill()
        self.process.wait()
        self.kill_postgres()

    def start(self) -> None:
        self.process = run.start(self.settings)

    def control(self, *words: str) -> str:
        """patronictl's output."""
        done = subprocess.run(
            [run.PATRONI.with_name("patronictl"), "-c", self.settings, *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def numbers(self) -> set[int]:
        """What is in the table."""
        url = f"postgresql://postgres:example@127.0.0.1:{self.port}/postgres"
        psql = [str(run.binaries() / "psql"), url, "-At", "-c", "SELECT number FROM written"]
        done = subprocess.run(psql, capture_output=True, text=True, timeout=60, check=True)
        return {int(line) for line in done.stdout.split()}


def now() -> float:
    """The clock of the writes."""
    return time.monotonic()
