"""Coterie: a cluster of three processes, started and loaded by its own commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from coterie.cli.cluster_file import read_cluster
from grpc_load import NODES, GrpcNodes
from measure import ROOT, VALUE_BYTES, Sample, free_port_block


class _Report(msgspec.Struct, frozen=True):
    """What `coterie bench --json` prints, as far as it matters here."""

    ops_per_s: float
    p50_ms: float
    server_cpu_us_per_op: float | None
    errors: int


class Coterie:
    """See `measure.Subject`."""

    def __init__(self, protocol: str, name: str = "coterie") -> None:
        """`name`: in results; that of the protocol if it is compared with another one of ours."""
        self.name = name
        self._protocol = protocol
        self._data = Path()
        self._endpoints = ""

    @property
    def endpoints(self) -> str:
        """Client addresses of all nodes, with commas between; empty before `start`."""
        return self._endpoints

    @property
    def directory(self) -> Path:
        """What `coterie up --data` was given."""
        return self._data

    def start(self, scratch: Path) -> None:
        """`coterie up`, with ports and a directory of its own."""
        self._data = scratch / "coterie"
        port = free_port_block(2 * NODES)
        self._endpoints = ",".join(f"127.0.0.1:{port + 2 * i}" for i in range(NODES))
        options = ["--nodes", str(NODES), "--protocol", self._protocol, "--client-port", str(port)]
        self._run("up", "--detach", "--data", str(self._data), *options)

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """`coterie bench`."""
        options = ["--in-flight", str(in_flight), "--value", str(VALUE_BYTES), "--seconds", f"{seconds:g}", "--json"]
        printed = self._run("bench", work, *options, "--endpoints", self._endpoints)
        report = msgspec.json.decode(printed, type=_Report)
        if report.errors:
            raise RuntimeError(f"{report.errors} operations failed under coterie bench {work}")
        if report.server_cpu_us_per_op is None:
            raise RuntimeError("coterie bench could not read the CPU of the servers")
        return Sample(ops_per_s=report.ops_per_s, p50_ms=report.p50_ms, cpu_us=report.server_cpu_us_per_op)

    def stop(self) -> None:
        """`coterie down`."""
        if (self._data / "cluster.json").exists():
            self._run("down", "--data", str(self._data))

    def command(self, *arguments: str) -> str:
        """Run a command of `coterie` on this cluster; what it printed. Raises `RuntimeError` with what it said."""
        return self._run("--endpoints", self._endpoints, *arguments)

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "coterie", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if run.returncode:
            said = (run.stderr or run.stdout).strip()
            raise RuntimeError(f"coterie {json.dumps(arguments)} ended with {run.returncode}: {said}")
        return run.stdout


class CoterieGrpc(Coterie):
    """The same cluster, loaded through etcd's API as etcd is."""

    def __init__(self, protocol: str, keys: int = 1) -> None:
        """`keys`: over how many the calls are spread."""
        super().__init__(protocol)
        self._keys = keys

    def start(self, scratch: Path) -> None:
        """`coterie up`, and wait for a leader."""
        super().start(scratch)
        cluster = read_cluster(self.directory)
        assert cluster is not None
        pids = [node.pid for node in cluster.nodes]
        clients = [int(endpoint.rpartition(":")[2]) for endpoint in self.endpoints.split(",")]
        self.nodes = GrpcNodes(scratch, clients, pids, self._keys)
        self.nodes.await_leader()

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """Run h2load."""
        return self.nodes.measure(work, in_flight, seconds)
