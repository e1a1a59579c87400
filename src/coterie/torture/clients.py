"""Clients that work on a few keys, in a thread of their own, while harm is done to the cluster; and what they saw."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

from coterie.check import FOREVER, Operation
from coterie.torture.stores import Refused, Store, Unsure

CLIENTS: Final = 6
SLOTS: Final = 4
"""Keys that clients share at one time."""
KEY_OPERATIONS: Final = 300
"""Operations on one key; then another takes its place, so that no key's history is long for the checker."""
PAUSE_S: Final = 0.02
"""Of a client between two operations, so that the members have the machine."""

Connect = Callable[[int], Awaitable[Store]]
"""Makes the client of this number. It may be called while the cluster is not well."""


class History:
    """What all clients did. Filled by their thread; whoever looks from another sees a prefix."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        """Those that were answered, and writes that may have happened. A read without an answer says nothing."""
        self.acknowledged: list[int] = []
        """When each write was acknowledged, in nanoseconds of the monotonic clock."""
        self.unknown = 0
        """Writes of which nobody knows whether they happened."""
        self.refused = 0
        """Operations that did not happen."""


class Clients:
    """Run from `start` to `stop`; then the history is complete."""

    def __init__(self, connect: Connect, seed: int) -> None:
        self.history = History()
        self._connect = connect
        self._seed = seed
        self._begun = 0
        self._values = 0
        self._next_process = CLIENTS
        self._ending = threading.Event()
        self._broken: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="torture clients", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let what is under way end. Raises what ended a client that should not have ended."""
        self._ending.set()
        self._thread.join()
        if self._broken is not None:
            raise self._broken

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:
            self._broken = error

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._client(number))

    def _key(self, rng: random.Random) -> str:
        self._begun += 1
        return f"k{rng.randrange(SLOTS)}-{self._begun // (KEY_OPERATIONS * SLOTS)}"

    async def _client(self, number: int) -> None:
        rng = random.Random(f"torture client {self._seed} {number}")
        known: dict[str, str | None] = {}
        process = number
        store = await self._connect(number)
        try:
            while not self._ending.is_set():
                key = self._key(rng)
                self._values += 1
                if not await self._one(store, process, rng.randrange(100), key, f"v{self._values}", known):
                    self._next_process += 1
                    process = self._next_process  # whoever waits for an answer for ever asks nothing more
                await asyncio.sleep(PAUSE_S)
        finally:
            await store.close()

    async def _one(
        self, store: Store, process: int, draw: int, key: str, value: str, known: dict[str, str | None]
    ) -> bool:
        """One operation; False if its outcome is unknown."""
        f, argument = "read", None
        start = time.monotonic_ns()
        result: str | bool | None = None
        compared: tuple[str | None, str] | None = None
        try:
            if draw < 40:
                f, argument = "write", value
                await store.write(key, value)
            elif draw < 55:
                f, compared = "cas", (known.get(key), value)
                result = await store.cas(key, *compared)
            elif draw < 62:
                f = "write"
                await store.delete(key)
            else:
                result = known[key] = await store.read(key)
        except Refused:
            self.history.refused += 1
            return True
        except Unsure:
            if f != "read":
                self.history.unknown += 1
                unsure = Operation(
                    process=process, f=f, key=key, argument=compared or argument, start=start, end=FOREVER
                )
                self.history.operations.append(unsure)
            return f == "read"
        end = time.monotonic_ns()
        done = Operation(
            process=process, f=f, key=key, argument=compared or argument, result=result, start=start, end=end
        )
        self.history.operations.append(done)
        if f == "write" or result is True:
            self.history.acknowledged.append(end)
        return True
