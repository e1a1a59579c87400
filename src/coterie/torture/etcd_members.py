"""etcd under faults: the server with its defaults, written to by gRPC, its own protocol, with one channel a member."""

from __future__ import annotations

import base64
import http.client
import json
import os
from typing import Any

from coterie.torture.cluster import Cluster, View, WriteFailed, Writer
from coterie.torture.errors import Missing
from coterie.torture.etcd_server import binary, field, server_command
from coterie.torture.hosts import Host

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # it would complain whenever a server is started
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

try:
    import grpc
    import grpc.aio
except ImportError as error:
    raise Missing("grpcio is missing: pip install 'coterie[bench]'") from error

PAGE = 1000
"""Keys in one read."""
ASK_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 30.0
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
"""A channel that tries again at once, and that shares nothing with those of earlier trials."""


class _GrpcWriter:
    """See `cluster.Writer`."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._put = self._channel.unary_unary("/etcdserverpb.KV/Put")

    async def put(self, key: bytes, value: bytes) -> None:
        try:
            await self._put(field(1, key) + field(2, value))
        except grpc.aio.AioRpcError as error:
            raise WriteFailed(error.details()) from error

    async def close(self) -> None:
        await self._channel.close()


class EtcdCluster(Cluster):
    """See `cluster.Cluster`."""

    name = "etcd"

    def command(self, i: int) -> list[str]:
        initial = ",".join(f"n{k + 1}=http://{self.hosts[k].peer}" for k in self.initial)
        host = self.hosts[i]
        return server_command(binary(), f"n{i + 1}", self.data(i), host.client, host.peer, initial)

    def view(self, i: int) -> View | None:
        try:
            said = ask(self.hosts[i], "/v3/maintenance/status", {}, ASK_TIMEOUT_S)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        member, leader = int(said["header"]["member_id"]), int(said.get("leader", 0))
        return View(member, leader, int(said.get("raftTerm", 0)), int(said["raftIndex"]), int(said["raftAppliedIndex"]))

    async def writer(self, i: int) -> Writer:
        return _GrpcWriter(self.hosts[i].client)

    def native_writer(self) -> Writer | None:
        return None

    def read(self, first: bytes, end: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        while True:
            question: dict[str, str | int] = {"key": text(first), "range_end": text(end), "limit": PAGE}
            said = ask(self.hosts[0], "/v3/kv/range", question, READ_TIMEOUT_S)
            for item in said.get("kvs", ()):
                first = base64.b64decode(item["key"])
                found[first] = base64.b64decode(item["value"])
            if not said.get("more"):
                return found
            first += b"\0"


def text(data: bytes) -> str:
    """Bytes as the gateway writes them."""
    return base64.b64encode(data).decode()


def ask(host: Host, path: str, body: dict[str, str | int], timeout: float) -> dict[str, Any]:
    """Ask etcd's JSON gateway. Raises `OSError`, `HTTPException`, `ValueError`."""
    link = http.client.HTTPConnection(host.address, host.client_port, timeout=timeout)
    try:
        link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = link.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise ValueError(f"etcd answered {answer.status}: {data[:200]!r}")
        decoded: dict[str, Any] = json.loads(data)
        return decoded
    finally:
        link.close()
