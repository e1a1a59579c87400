"""A client's view of the store that is tortured: four operations, each done, refused, or nobody knows."""

from __future__ import annotations

import asyncio
import base64
import http.client
from typing import Any, Protocol

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.config import ClientConfig
from coterie.core.errors import CoterieError, Effect
from coterie.torture.cluster import Cluster

TIMEOUT_S = 5.0
"""Of one operation, over all attempts."""


class Refused(CoterieError):
    """It did not happen, and never will."""


class Unsure(CoterieError):
    """It may have happened, or may happen yet."""

    effect = Effect.UNKNOWN


class Store(Protocol):
    """One client. Each method raises `Refused` or `Unsure`."""

    async def read(self, key: str) -> str | None:
        """A linearizable read; None if there is no such key."""
        ...

    async def write(self, key: str, value: str) -> None:
        """Set the key."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the key."""
        ...

    async def cas(self, key: str, old: str | None, new: str) -> bool:
        """Set the key to `new` if it has the value `old` (None: if it is not there); whether it did."""
        ...

    async def close(self) -> None:
        """The client is not needed any more."""
        ...


class CoterieStore:
    """The shipped client, with a session. See `Store`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, endpoints: str, name: str) -> CoterieStore:
        """A client of all these members."""
        return cls(await connect_async(endpoints, ClientConfig(name=name)))

    async def read(self, key: str) -> str | None:
        try:
            item = await self._client.get(key, timeout=TIMEOUT_S)
        except CoterieError as error:
            raise Refused(str(error)) from error
        return item.value.decode() if item is not None else None

    async def write(self, key: str, value: str) -> None:
        try:
            await self._client.put(key, value, timeout=TIMEOUT_S)
        except CoterieError as error:
            raise _outcome(error) from error

    async def delete(self, key: str) -> None:
        try:
            await self._client.delete(key, timeout=TIMEOUT_S)
        except CoterieError as error:
            raise _outcome(error) from error

    async def cas(self, key: str, old: str | None, new: str) -> bool:
        try:
            reply = await self._client.cas(key, old, new, timeout=TIMEOUT_S)
        except CoterieError as error:
            raise _outcome(error) from error
        return reply.succeeded

    async def close(self) -> None:
        await self._client.close()


def _outcome(error: CoterieError) -> Refused | Unsure:
    return Refused(str(error)) if error.effect is Effect.NO else Unsure(str(error))


class EtcdStore:
    """One member of etcd (another, once that one is removed), asked through its JSON gateway. See `Store`."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self._cluster = cluster
        self._number = number

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        from coterie.torture.etcd_members import ask  # needs grpcio, which is an extra

        members = self._cluster.members
        host = self._cluster.hosts[members[self._number % len(members)]]
        try:
            return await asyncio.to_thread(ask, host, path, body, TIMEOUT_S)
        except ConnectionRefusedError as error:
            raise Refused(str(error)) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unsure(str(error)) from error

    async def read(self, key: str) -> str | None:
        said = await self._ask("/v3/kv/range", {"key": _text(key)})
        items = said.get("kvs", ())
        return base64.b64decode(items[0]["value"]).decode() if items else None

    async def write(self, key: str, value: str) -> None:
        await self._ask("/v3/kv/put", {"key": _text(key), "value": _text(value)})

    async def delete(self, key: str) -> None:
        await self._ask("/v3/kv/deleterange", {"key": _text(key)})

    async def cas(self, key: str, old: str | None, new: str) -> bool:
        compare: dict[str, Any] = {"key": _text(key), "target": "VALUE", "result": "EQUAL", "value": _text(old or "")}
        if old is None:
            compare = {"key": _text(key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
        put = {"request_put": {"key": _text(key), "value": _text(new)}}
        said = await self._ask("/v3/kv/txn", {"compare": [compare], "success": [put]})
        return bool(said.get("succeeded", False))

    async def close(self) -> None:
        return


def _text(data: str) -> str:
    return base64.b64encode(data.encode()).decode()
