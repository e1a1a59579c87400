"""Probes: writes through every member at the same time, so that what is seen is when the *system* serves again.

One probe a member, each with a connection of its own to that member alone. A probe begins a new write every
`INTERVAL_S`, whatever became of the earlier ones: a write that hangs (at a member that is stopped, or that has sent it
on to a leader who is dead) holds up no other, so no client's timeout is measured. The probes' turns are spread evenly.
Every write has a key of its own. Both systems get the same probes; only the writer under them differs.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from coterie.torture.cluster import WriteFailed, Writer
from measure import VALUE_BYTES

INTERVAL_S = 0.005


class Watch:
    """What was acknowledged, and when service came back."""

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, bytes] = {}
        """Values by key."""
        self._struck: float | None = None
        self._back: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def struck(self, at: float) -> None:
        """The fault has been there since then (monotonic seconds): writes begun later tell of the time after it."""
        self._struck = at

    def note(self, key: bytes, value: bytes, begun: float) -> None:
        """A write was acknowledged, now."""
        self.acknowledged[key] = value
        if self._struck is not None and begun > self._struck and not self._back.done():
            self._back.set_result(time.monotonic())

    async def back(self, limit: float) -> float | None:
        """When the first write that was begun after the fault was acknowledged; None: not within `limit` seconds."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._back), limit)
        except TimeoutError:
            return None


class Probe:
    """Begins a write through one member every `INTERVAL_S`."""

    def __init__(self, writer: Writer, prefix: bytes, watch: Watch) -> None:
        self._writer = writer
        self._prefix = prefix
        self._watch = watch
        self._under_way: set[asyncio.Task[None]] = set()
        self.served = asyncio.Event()
        """A write was acknowledged."""

    async def run(self, offset: float) -> None:
        """Until it is cancelled; `offset` (seconds) is its turn within the interval."""
        number = 0
        at = time.monotonic() + offset
        try:
            while True:
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                number += 1
                task = asyncio.ensure_future(self._write(number))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
                at = max(at + INTERVAL_S, time.monotonic())
        finally:
            tasks = tuple(self._under_way)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._writer.close()

    async def _write(self, number: int) -> None:
        key = self._prefix + b"%08d" % number
        value = key.ljust(VALUE_BYTES, b".")
        begun = time.monotonic()
        try:
            await self._writer.put(key, value)
        except WriteFailed:
            return
        self._watch.note(key, value, begun)
        self.served.set()


class Follower(Probe):
    """Writes one key after another, as a user's program does: the next when the last has an outcome."""

    async def run(self, offset: float) -> None:
        number = 0
        try:
            await asyncio.sleep(offset)
            while True:
                number += 1
                await asyncio.gather(self._write(number), asyncio.sleep(INTERVAL_S))
        finally:
            await self._writer.close()


async def running(probes: Sequence[Probe], rng: random.Random, limit: float) -> list[asyncio.Task[None]]:
    """Start the probes; their tasks, when each has had a write acknowledged. Raises `TimeoutError`."""
    turns = [(i / len(probes) + rng.random() / len(probes)) * INTERVAL_S for i in range(len(probes))]
    tasks = [asyncio.ensure_future(probe.run(turn)) for probe, turn in zip(probes, turns, strict=True)]
    try:
        async with asyncio.timeout(limit):
            await asyncio.gather(*(probe.served.wait() for probe in probes))
    except BaseException:
        await end(tasks)
        raise
    return tasks


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Stop the probes and close their connections."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
