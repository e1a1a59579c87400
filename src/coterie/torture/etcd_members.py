"""etcd under faults: the server with its defaults, written to by gRPC, its own protocol, with one channel a member."""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from coterie.torture.administration import CALL_S, Administrator, NotNow, Standing
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


class _GatewayAdministrator:
    """See `administration.Administrator`. The members are asked in turn."""

    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster
        self._asked = 0
        self._ids: dict[int, str] = {}

    def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        members = self._cluster.members
        host = self._cluster.hosts[members[self._asked % len(members)]]
        try:
            return ask(host, f"/v3/cluster/member/{path}", body, CALL_S)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._asked += 1
            raise NotNow(str(error)) from error

    def members(self) -> dict[int, Standing]:
        places = {f"http://{host.peer}": i for i, host in enumerate(self._cluster.hosts)}
        found = {places[one["peerURLs"][0]]: one for one in self._ask("list", {"linearizable": True})["members"]}
        self._ids = {i: one["ID"] for i, one in found.items()}
        # Only its leader knows whether a learner has caught up; it refuses those that have not.
        return {i: Standing(voter=not one.get("isLearner", False), caught_up=True) for i, one in found.items()}

    def add(self, i: int) -> None:
        self._ask("add", {"peerURLs": [f"http://{self._cluster.hosts[i].peer}"], "isLearner": True})

    def promote(self, i: int) -> None:
        self._ask("promote", {"ID": self._ids[i]})

    def remove(self, i: int) -> None:
        self._ask("remove", {"ID": self._ids[i]})


class EtcdCluster(Cluster):
    """See `cluster.Cluster`."""

    name = "etcd"

    def __init__(self) -> None:
        super().__init__()
        self._joins: dict[int, str] = {}
        """Of a member that joined later: with whom."""

    def join(self, i: int, present: list[int]) -> None:
        super().join(i, present)
        self._joins[i] = self._listed([*present, i])

    @contextmanager
    def administrator(self) -> Iterator[Administrator]:
        yield _GatewayAdministrator(self)

    def _listed(self, hosts: list[int]) -> str:
        return ",".join(f"{self.name_of(k)}=http://{self.hosts[k].peer}" for k in hosts)

    def command(self, i: int) -> list[str]:
        host = self.hosts[i]
        initial = self._joins.get(i) or self._listed(self.initial)
        command = server_command(binary(), self.name_of(i), self.data(i), host.client, host.peer, initial)
        return [*command, "--initial-cluster-state", "existing" if i in self._joins else "new"]

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
            said = ask(self.hosts[self.members[0]], "/v3/kv/range", question, READ_TIMEOUT_S)
            for item in said.get("kvs", ()):
                first = base64.b64decode(item["key"])
                found[first] = base64.b64decode(item["value"])
            if not said.get("more"):
                return found
            first += b"\0"


def text(data: bytes) -> str:
    """Bytes as the gateway writes them."""
    return base64.b64encode(data).decode()


def ask(host: Host, path: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
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
