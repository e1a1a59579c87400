"""A cluster of real `coterie node` processes, and the faults that befall it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.runtime.cluster import FAST, Process, leader_of, processes, until

from coterie.engine.protocol import NodeStatus

PATIENT = ("--election-timeout-ms", "500", "--heartbeat-interval-ms", "50")
"""Quick to elect, and not upset by a second of other work on a machine with two cores."""


class Cluster:
    """Processes of one cluster. Whatever happens to them, the context manager that made them ends them."""

    def __init__(self, nodes: Sequence[Process]) -> None:
        self.nodes = list(nodes)

    @property
    def endpoints(self) -> str:
        return ",".join(node.client for node in self.nodes)

    def start(self, *nodes: Process) -> None:
        """Start these, or all that do not run."""
        for node in nodes or self.nodes:
            if not alive(node):
                node.start()

    def ready(self) -> Process:
        """Start all that do not run, wait until every member agrees on a leader; the leader."""
        self.start()
        until(lambda: self.agreed(self.nodes), 30)
        return self.leader()

    def leader(self, among: Sequence[Process] | None = None) -> Process:
        """Wait for a leader whom a majority of these acknowledges."""
        found: list[Process] = []

        def look() -> bool:
            leader = leader_of(self.nodes if among is None else among)
            found.extend([leader] if leader is not None else [])
            return bool(found)

        until(look, 30)
        return found[-1]

    def followers(self) -> list[Process]:
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def agreed(self, nodes: Sequence[Process]) -> bool:
        """Each of these answers, and all name the same leader."""
        said = {status.leader if (status := node.status()) is not None else 0 for node in nodes}
        return len(said) == 1 and 0 not in said

    def kill(self, *nodes: Process) -> None:
        """SIGKILL, all before the first is waited for."""
        for node in nodes:
            if alive(node):
                node.signal(signal.SIGKILL)
        for node in nodes:
            node.wait()

    def stop(self, *nodes: Process) -> list[int]:
        """SIGTERM to all of them at once; their exit codes."""
        for node in nodes:
            node.signal(signal.SIGTERM)
        return [node.wait(30) for node in nodes]


def alive(node: Process) -> bool:
    """Its process runs (or is stopped by a signal)."""
    return node.process is not None and node.process.poll() is None


def pid(node: Process) -> int:
    assert node.process is not None
    return node.process.pid


def stopped(node: Process) -> bool:
    """The kernel has stopped every thread of it."""
    states = [
        Path(f"/proc/{pid(node)}/task/{task}/stat").read_text().rpartition(")")[2].split()[0]
        for task in os.listdir(f"/proc/{pid(node)}/task")
    ]
    return all(state == "T" for state in states)


def pause(node: Process) -> None:
    node.signal(signal.SIGSTOP)
    until(lambda: stopped(node), 5)


def resume(node: Process) -> None:
    node.signal(signal.SIGCONT)


def status_of(node: Process) -> NodeStatus:
    """What the member says of itself; waits until it answers."""
    found: list[NodeStatus] = []

    def look() -> bool:
        status = node.status()
        found.extend([status] if status is not None else [])
        return bool(found)

    until(look)
    return found[-1]


def resident_bytes(node: Process) -> int:
    """Memory that the process holds, from /proc."""
    pages = int(Path(f"/proc/{pid(node)}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_nanos(node: Process) -> int:
    """CPU time of all its threads so far, from /proc."""
    tasks = Path(f"/proc/{pid(node)}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())


def lines_with(node: Process, *texts: str) -> list[str]:
    """Lines of its log that hold all of these."""
    return [line for line in node.lines().splitlines() if all(text in line for text in texts)]


@contextmanager
def cluster(directory: Path, count: int = 3, flags: Sequence[str] = FAST) -> Iterator[Cluster]:
    """A cluster that is not started yet."""
    with processes(directory, count, flags) as nodes:
        yield Cluster(nodes)


def make_leader(members: Cluster, node: Process) -> None:
    """Make this member the leader: the others are paused until it campaigns."""
    for _ in range(10):
        if members.leader() is node:
            return
        others = [other for other in members.nodes if other is not node]
        for other in others:
            pause(other)
        until(lambda: status_of(node).role == "candidate")
        for other in others:
            resume(other)
        until(lambda: members.agreed(members.nodes))
    raise AssertionError(f"{node.name} was never elected")
