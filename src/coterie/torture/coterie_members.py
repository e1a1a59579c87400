"""Coterie under faults: `coterie node` with nothing but its addresses, and the native client."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from coterie.client.admin_calls import add_member, member_list, promote, remove
from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.blocking import Client, connect
from coterie.client.config import ClientConfig
from coterie.client.one_status import ask_status
from coterie.core.config import MILLISECOND
from coterie.core.errors import CoterieError
from coterie.torture.administration import CALL_S, Administrator, Standing
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


class _NativeAdministrator:
    """See `administration.Administrator`."""

    def __init__(self, client: Client, cluster: CoterieCluster) -> None:
        self._client = client
        self._cluster = cluster

    def members(self) -> dict[int, Standing]:
        found = {member.name: member for member in self._client.run(member_list(timeout=CALL_S)).members}
        named = {i: found.get(self._cluster.name_of(i)) for i in range(len(self._cluster.hosts))}
        return {i: Standing(member.voter, member.caught_up) for i, member in named.items() if member is not None}

    def add(self, i: int) -> None:
        host = self._cluster.hosts[i]
        self._client.run(add_member(self._cluster.name_of(i), host.peer, host.client, timeout=CALL_S))

    def promote(self, i: int) -> None:
        self._client.run(promote(self._cluster.name_of(i), timeout=CALL_S))

    def remove(self, i: int) -> None:
        self._client.run(remove(self._cluster.name_of(i), timeout=CALL_S))


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

    def join(self, i: int, present: list[int]) -> None:
        super().join(i, present)
        self._joins[i] = self.endpoints

    @contextmanager
    def administrator(self) -> Iterator[Administrator]:
        with connect(self.endpoints, ClientConfig(name="torture administrator")) as client:
            yield _NativeAdministrator(client, self)

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
