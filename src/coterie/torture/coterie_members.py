"""Coterie under faults: `coterie node` with nothing but its addresses, and the native client."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.blocking import connect
from coterie.client.config import ClientConfig
from coterie.client.one_status import ask_status
from coterie.core.config import MILLISECOND
from coterie.core.errors import CoterieError
from coterie.torture.cluster import Cluster, View, WriteFailed, Writer

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
    """See `cluster.Writer`."""

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
    """See `cluster.Cluster`."""

    name = "coterie"

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self._protocol = protocol
        self.settings: tuple[str, ...] = ()
        """More options of `coterie node`."""
        self.relays: Mapping[int, str] = {}
        """Where members listen for each other, if their peer addresses are a relay's."""
        self._joins: dict[int, str] = {}
        """Of a member that joined later: by which endpoints."""
        self._joined = 0
        """Members that joined later."""
        self._directories: dict[int, str] = {}

    def data(self, i: int) -> Path:
        return self.disks.get(i, self.scratch) / self._directories.get(i, self.name_of(i))

    def join(self, i: int) -> None:
        """The next start on host `i` is that of a new member, with a data directory of its own."""
        shutil.rmtree(self.data(i), ignore_errors=True)
        self._joined += 1
        self._directories[i] = f"{self.name_of(i)}-{self._joined}"
        self._joins[i] = self.endpoints

    def command(self, i: int) -> list[str]:
        host = self.hosts[i]
        members = ",".join(f"n{k + 1}={self.hosts[k].peer}" for k in self.initial)
        command = [sys.executable, "-m", "coterie", "node", "--name", self.name_of(i), "--protocol", self._protocol]
        command += ["--data", str(self.data(i)), "--peer", host.peer, "--client", host.client]
        command += ["--peer-listen", self.relays[i]] if i in self.relays else []
        command += ["--join", self._joins[i]] if i in self._joins else ["--initial-members", members]
        return [*command, *self.settings]

    def view(self, i: int) -> View | None:
        status = ask_status(self.hosts[i].client)
        if status is None:
            return None
        return View(status.member, status.leader, status.epoch_round, status.commit, status.applied)

    async def writer(self, i: int) -> Writer:
        return _NativeWriter(self.hosts[i].client, PROBE)

    def native_writer(self) -> Writer | None:
        return _NativeWriter(self.endpoints, ClientConfig(name="coterie-bench"))

    @property
    def endpoints(self) -> str:
        """The members' client addresses."""
        return ",".join(self.hosts[i].client for i in self.members)

    def read(self, first: bytes, end: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with connect(self.endpoints) as client:
            while True:
                reading = client.range(first, end, limit=PAGE)
                found.update((item.key, item.value) for item in reading.items)
                if not reading.more:
                    return found
                first = reading.items[-1].key + b"\0"
