"""Three nodes that serve etcd's API, loaded by `h2load` on their leader: a generator that neither side wrote.

It sends the same request again and again; where keys are to be spread, `spread_keys.c` is loaded into it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coterie.torture.etcd_server import field
from grpc_calls import Caller, key_of, load
from measure import KEY_BYTES, VALUE_BYTES, Missing, Sample, connections, cpu_seconds, wait_until

NODES = 3
_KEY = key_of(0)
_KEY_AT = 5 + 2
"""Where it begins in a request: behind gRPC's prefix, the field's tag and its length."""
_SHIM = Path(__file__).parent / "spread_keys.c"


def _grpc(message: bytes) -> bytes:
    """The message with gRPC's prefix: not compressed, four bytes of length."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


_SERIALIZABLE = bytes([7 << 3, 1])
_REQUESTS = {
    "put": ("Put", _grpc(field(1, _KEY) + field(2, b"v" * VALUE_BYTES))),
    "get": ("Range", _grpc(field(1, _KEY))),  # serializable is false unless said: linearizable
    "serializable": ("Range", _grpc(field(1, _KEY) + _SERIALIZABLE)),
}
WORKS = tuple(_REQUESTS)


def compiled(scratch: Path) -> Path:
    """What makes h2load spread keys. Raises `Missing`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("a C compiler is missing, without which h2load sends one key only: apt-get install gcc libc6-dev")
    library = scratch / "spread_keys.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SHIM), "-ldl"], check=True)
    return library


class GrpcNodes:
    """The nodes' side of it. Whoever starts them calls `await_leader`."""

    def __init__(self, scratch: Path, clients: Sequence[int], pids: Sequence[int], keys: int = 1) -> None:
        """`clients`: their client ports. `keys`: over how many the calls are spread at random, a power of ten. Raises
        `Missing`, `ValueError`."""
        if shutil.which("h2load") is None:
            raise Missing("h2load is missing: apt-get install nghttp2-client")
        digits = len(str(keys)) - 1
        if keys != 10**digits or digits >= KEY_BYTES:
            raise ValueError(f"keys is {keys}: it must be a power of ten, for it is digits that change")
        self._scratch = scratch
        self._keys = keys
        self._environment = dict(os.environ)
        if digits:
            self._environment["LD_PRELOAD"] = str(compiled(scratch))
            self._environment["SPREAD_AT"] = str(_KEY_AT + KEY_BYTES - digits)
            self._environment["SPREAD_DIGITS"] = str(digits)
        self._clients = list(clients)
        self.pids = list(pids)

    def await_leader(self) -> None:
        """Wait for a leader, and write the keys."""
        wait_until(lambda: self.leader() is not None, 20, "the cluster has a leader")
        load(Caller(f"127.0.0.1:{self._clients[0]}"), self._keys)

    def _ask(self, port: int, path: str, body: dict[str, str]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=3) as answer:
            decoded: dict[str, Any] = json.load(answer)
            return decoded

    def leader(self) -> int | None:
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
        leader = self.leader()
        if leader is None:
            raise RuntimeError("the cluster lost its leader between two measurements")
        data, log = self._scratch / "request.bin", self._scratch / "h2load.log"
        data.write_bytes(body)
        log.unlink(missing_ok=True)
        links = connections(in_flight)
        command = ["h2load", "-t1", f"-c{links}", f"-m{in_flight // links}", f"-D{seconds:g}", f"-d{data}"]
        command += [f"--log-file={log}", "-Hcontent-type: application/grpc", "-Hte: trailers"]
        before, revision = cpu_seconds(self.pids), self._revision(leader)
        run = subprocess.run(
            [*command, f"http://127.0.0.1:{leader}/etcdserverpb.KV/{method}"],
            capture_output=True,
            text=True,
            check=True,
            env=self._environment,
        )
        used = cpu_seconds(self.pids) - before
        counts = re.search(r"requests: (\d+) total.* (\d+) succeeded, (\d+) failed", run.stdout)
        received = re.search(r"traffic:.* [\d.]+\w+ \((\d+)\) data", run.stdout)
        if counts is None or received is None:
            raise RuntimeError(f"h2load said something else than expected:\n{run.stdout}")
        succeeded = int(counts[2])
        if work == "put" and self._revision(leader) - revision < succeeded:
            raise RuntimeError(f"h2load counted {succeeded} puts; the revision tells of fewer")
        if work != "put" and int(received[1]) < succeeded * VALUE_BYTES:
            raise RuntimeError("the answers are too short to carry the value")
        durations = [int(line.split("\t")[2]) for line in log.read_text(encoding="ascii").splitlines()]
        if not succeeded or not durations:
            raise RuntimeError(f"h2load completed nothing:\n{run.stdout}")
        return Sample(
            ops_per_s=succeeded / seconds,
            p50_ms=statistics.median(durations) / 1000,
            cpu_us=used / succeeded * 1e6,
            p99_ms=statistics.quantiles(durations, n=100)[98] / 1000,
        )
