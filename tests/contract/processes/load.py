"""Clients that work on a few keys, in a thread of their own, while a test does harm to the cluster."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.contract.processes.history import History, Seen
from tests.runtime.cluster import until

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.calls import Reading
from coterie.client.config import ClientConfig
from coterie.core.errors import CoterieError, Effect
from coterie.runtime.event_loop import new_event_loop

KEYS = (b"a", b"b", b"c")
_now = time.monotonic_ns


class Load:
    """Runs from entering to leaving; then its history is complete.

    Each worker is one client with a session that does one operation after another: puts and compare-and-sets
    of values that nobody else writes, and reads of every kind.
    """

    def __init__(
        self,
        endpoints: str,
        *,
        workers: int = 4,
        keys: Sequence[bytes] = KEYS,
        seed: int = 0,
        pause_s: float = 0.002,
        value_bytes: int = 0,
    ) -> None:
        """`pause_s`: between a worker's operations, so that the cluster's processes get their share of the
        machine. `value_bytes`: values are filled up to this size."""
        self.history = History()
        self._endpoints = endpoints
        self._workers = workers
        self._keys = keys
        self._seed = seed
        self._pause_s = pause_s
        self._value_bytes = value_bytes
        self._ending = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        if self._broken is not None and error is None:
            raise self._broken

    def progress(self, writes: int = 10, reads: int = 0, seconds: float = 30.0) -> None:
        """Wait until so many more operations, begun or not, have succeeded."""
        history = self.history
        wanted = history.acknowledged + writes, history.read + reads
        until(
            lambda: self._broken is not None or (history.acknowledged >= wanted[0] and history.read >= wanted[1]),
            seconds,
        )
        assert self._broken is None, self._broken

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._work())
        except BaseException as error:
            self._broken = error

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._worker(number))

    async def _worker(self, number: int) -> None:
        rng = random.Random(f"{self._seed}/{number}")
        known: dict[bytes, bytes | None] = {}
        count = 0
        async with connect_async(self._endpoints, ClientConfig(name=f"load-{number}")) as client:
            while not self._ending.is_set():
                key = rng.choice(self._keys)
                count += 1
                value = f"{number}-{count}".encode().ljust(self._value_bytes, b".")
                dice = rng.randrange(10)
                try:
                    if dice < 4:
                        await self._put(client, key, value)
                    elif dice < 6:
                        await self._cas(client, key, known.get(key), value)
                    else:
                        known[key] = await self._read(client, key, ("", "", "session", "stale")[dice - 6])
                except CoterieError as error:
                    self.history.failures.append(f"{type(error).__name__} ({error.effect.value}): {error}")
                await asyncio.sleep(self._pause_s)

    async def _put(self, client: AsyncClient, key: bytes, value: bytes) -> None:
        start = _now()
        try:
            reply = await client.put(key, value)
        except CoterieError as error:
            self._failed_write(error, key, value, start)
            raise
        self._wrote("put", key, value, start, reply.revision)

    async def _cas(self, client: AsyncClient, key: bytes, old: bytes | None, value: bytes) -> None:
        start = _now()
        try:
            reply = await client.cas(key, old, value)
        except CoterieError as error:
            self._failed_write(error, key, value, start)
            raise
        end = _now()
        if reply.succeeded:
            self._wrote("cas", key, value, start, reply.revision)
        else:
            self.history.add_read("failed cas", key, reply.current, start, end, reply.revision, start)

    async def _read(self, client: AsyncClient, key: bytes, mode: str) -> bytes | None:
        at_least = client.revision if mode == "session" else 0
        start = _now()
        reading: Reading = await client.read(key, session=mode == "session", stale=mode == "stale")
        end = _now()
        fresh_from = start
        if mode == "session":
            fresh_from = -1
        elif mode == "stale":
            fresh_from = -1 if reading.age_ms is None else max(-1, start - 1 - int(reading.age_ms * 1e6))
        item = reading.items[0] if reading.items else None
        self.history.add(
            Seen(
                what=f"{mode} read".strip(),
                key=key,
                value=item.value if item is not None else None,
                write=False,
                start=start,
                end=end,
                revision=reading.revision,
                fresh_from=fresh_from,
                at_least=at_least,
                mod=item.mod if item is not None else 0,
                version=item.version if item is not None else 0,
            )
        )
        return item.value if item is not None else None

    def _wrote(self, what: str, key: bytes, value: bytes, start: int, revision: int) -> None:
        end = _now()
        self.history.add(
            Seen(
                what=what,
                key=key,
                value=value,
                write=True,
                start=start,
                end=end,
                revision=revision,
                fresh_from=start,
            )
        )

    def _failed_write(self, error: CoterieError, key: bytes, value: bytes, start: int) -> None:
        if error.effect is not Effect.NO:
            self.history.unknown.append((key, value, start))


def read_everywhere(history: History, clients: Sequence[str], keys: Sequence[bytes] = KEYS) -> None:
    """A linearizable read of each key through each of these members, each asked alone, into the history."""

    async def ask() -> None:
        for address in clients:
            async with connect_async(address, ClientConfig(follow_members=False)) as client:
                for key in keys:
                    start = _now()
                    reading = await client.read(key, timeout=20.0)
                    item = reading.items[0] if reading.items else None
                    history.add_read("last read", key, item, start, _now(), reading.revision, start)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(ask())
