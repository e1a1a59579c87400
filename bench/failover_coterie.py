"""Coterie under faults: `coterie node` with nothing but its addresses, and the native client."""

from __future__ import annotations

import sys

from coterie.cli.node_process import ask_status
from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.blocking import connect
from coterie.client.config import ClientConfig
from coterie.core.config import MILLISECOND
from coterie.core.errors import CoterieError
from failover_cluster import Cluster, View, WriteFailed, Writer

PAGE = 1000
"""Keys in one read."""
PROBE = ClientConfig(
    name="coterie-bench",
    follow_members=False,
    attempt_timeout=60_000 * MILLISECOND,
    silent_timeout=120_000 * MILLISECOND,
)
"""One member and no other; no write ever waits because an earlier one is late."""


class _NativeWriter:
    """See `failover_cluster.Writer`."""

    def __init__(self, endpoints: str, config: ClientConfig) -> None:
        self._endpoints = endpoints
        self._config = config
        self._client: AsyncClient | None = None

    async def put(self, key: bytes, value: bytes) -> None:
        if self._client is None:
            self._client = await connect_async(self._endpoints, self._config)
        try:
            await self._client.put(key, value)
        except CoterieError as error:
            raise WriteFailed(str(error)) from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


class CoterieCluster(Cluster):
    """See `failover_cluster.Cluster`."""

    name = "coterie"

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self._protocol = protocol

    def command(self, i: int) -> list[str]:
        host = self.hosts[i]
        members = ",".join(f"n{k + 1}={other.peer}" for k, other in enumerate(self.hosts))
        command = [sys.executable, "-m", "coterie", "node", "--name", f"n{i + 1}", "--protocol", self._protocol]
        command += ["--data", str(self.scratch / f"coterie{i + 1}"), "--peer", host.peer, "--client", host.client]
        return [*command, "--initial-members", members]

    def view(self, i: int) -> View | None:
        status = ask_status(self.hosts[i].client)
        if status is None:
            return None
        return View(status.member, status.leader, status.commit, status.applied)

    async def writer(self, i: int) -> Writer:
        return _NativeWriter(self.hosts[i].client, PROBE)

    def native_writer(self) -> Writer | None:
        return _NativeWriter(self._endpoints, ClientConfig(name="coterie-bench"))

    @property
    def _endpoints(self) -> str:
        return ",".join(host.client for host in self.hosts)

    def read(self, first: bytes, end: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with connect(self._endpoints) as client:
            while True:
                reading = client.range(first, end, limit=PAGE)
                found.update((item.key, item.value) for item in reading.items)
                if not reading.more:
                    return found
                first = reading.items[-1].key + b"\0"
