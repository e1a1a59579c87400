"""Many keys in little time: puts of keys that are all different, many in flight, over several connections."""

from __future__ import annotations

import asyncio
import sys
import time

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.config import ClientConfig
from coterie.client.dispatch import NANOS_PER_SECOND
from coterie.client.errors import RequestError
from coterie.client.requests import Outcome
from coterie.machine.kv.protocol import Put, encoder
from coterie.runtime.event_loop import new_event_loop
from measure import CONNECTIONS

IN_FLIGHT = 256
"""Of each connection."""
TIMEOUT = 30 * NANOS_PER_SECOND
PAUSE_AFTER_ERROR_S = 0.05
MAX_ERRORS = 10_000
TELL_S = 5.0


class _Loading:
    """One run."""

    def __init__(self, keys: int, value_bytes: int) -> None:
        self._keys = keys
        self._value = b"v" * value_bytes
        self._next = 0
        self._done = 0
        self._errors = 0
        self._all = asyncio.Event()
        self._failure: RequestError | None = None

    async def run(self, clients: list[AsyncClient]) -> None:
        for client in clients:
            for _ in range(IN_FLIGHT):
                self._begin(client)
        while True:
            try:
                async with asyncio.timeout(TELL_S):
                    await self._all.wait()
                break
            except TimeoutError:
                print(f"  {self._done:,} of {self._keys:,} keys", file=sys.stderr, flush=True)
        if self._failure is not None:
            raise self._failure

    def _begin(self, client: AsyncClient) -> None:
        if self._next < self._keys:
            self._next += 1
            self._put(client, self._next - 1)

    def _put(self, client: AsyncClient, number: int) -> None:
        def on_done(outcome: Outcome) -> None:
            if isinstance(outcome, RequestError):
                self._failed(client, number, outcome)
                return
            self._done += 1
            if self._done == self._keys:
                self._all.set()
            self._begin(client)

        command = encoder.encode(Put(key_of(number), self._value))
        try:
            client.start_command(command, on_done, TIMEOUT)
        except RequestError as error:
            asyncio.get_running_loop().call_soon(on_done, error)

    def _failed(self, client: AsyncClient, number: int, error: RequestError) -> None:
        """Try the key again, unless too much fails."""
        self._errors += 1
        if self._errors > MAX_ERRORS:
            self._failure = error
            self._all.set()
        else:
            asyncio.get_running_loop().call_later(PAUSE_AFTER_ERROR_S, self._put, client, number)


def key_of(number: int) -> bytes:
    """The 16 bytes of a key."""
    return b"load/%011d" % number


async def _load(endpoints: str, keys: int, value_bytes: int) -> None:
    clients = [await connect_async(endpoints, ClientConfig(name="coterie-bench")) for _ in range(CONNECTIONS)]
    try:
        await _Loading(keys, value_bytes).run(clients)
    finally:
        for client in clients:
            await client.close()


def load_keys(endpoints: str, keys: int, value_bytes: int) -> float:
    """Put so many keys; the seconds that it took. Raises `RequestError` if the cluster refuses for long."""
    began = time.monotonic()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_load(endpoints, keys, value_bytes))
    return time.monotonic() - began
