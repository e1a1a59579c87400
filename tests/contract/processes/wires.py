"""A cluster whose members are joined by wires that a test may cut: see `coterie.torture.relays`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.contract.processes.cluster import Cluster
from tests.runtime.cluster import FAST, Process, free_ports, processes

from coterie.torture.relays import Wires


@contextmanager
def wired_cluster(directory: Path, count: int = 3, flags: Sequence[str] = FAST) -> Iterator[tuple[Cluster, Wires]]:
    """A cluster that is not started yet, and the wires between its members."""
    wires = Wires()
    try:
        with processes(directory, count, flags) as nodes:
            for node, port in zip(nodes, free_ports(count), strict=True):
                listens = f"127.0.0.1:{port}"
                node.arguments += ["--peer-listen", listens]
                wires.relay(node.name, node.peer, listens)
            yield Cluster(nodes), wires
    finally:
        wires.close()


def others_of(members: Cluster, node: Process) -> list[str]:
    return [other.name for other in members.nodes if other is not node]
