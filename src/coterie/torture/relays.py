"""The wires between members, which may be cut and slowed: real sockets, through a relay that can hold its bytes.

Each member listens for the others behind a relay, and its peer address is the relay's. A stream says
in its first frame who sends it; so a cut is between two members, in one direction or both. A cut wire
loses nothing and closes nothing: it is silent, as a network is that has fallen apart. TCP repairs what is lost, so
all that an application sees of a lossy network is that bytes come late.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from coterie.engine.first_start import Introduction
from coterie.runtime.addresses import split_address
from coterie.runtime.handshake import PEER_MAGIC, PeerHello, decode_handshake

PIECE_BYTES = 64 * 1024
RETRANSMIT_S = 0.2
"""After which TCP sends again what was not acknowledged (Linux: at least so long)."""


class Wires:
    """The relays of one cluster, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._whole: dict[tuple[str, str], asyncio.Event] = {}
        self._impaired: dict[str, tuple[float, int]] = {}
        """Delay in seconds, and loss in hundredths, of a member's wires."""
        self._rng = random.Random("wires")
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires")
        self._thread.start()

    def relay(self, receiver: str, address: str, target: str) -> None:
        """Relay what comes to `address` to the member `receiver`, which listens at `target`."""

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._relay(receiver, target, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        async def listen() -> None:
            self._servers.append(await asyncio.start_server(serve, *split_address(address)))

        self._do(listen())

    def cut(self, one: str, others: Iterable[str]) -> None:
        """No byte passes between these any more, in either direction."""
        pairs = [pair for other in others for pair in ((one, other), (other, one))]
        self._do(self._set(pairs, whole=False))

    def heal(self) -> None:
        """Everything passes again, and what was held."""
        self._do(self._set(list(self._whole), whole=True))

    def mend(self, one: str, others: Iterable[str]) -> None:
        """Everything passes again between these."""
        pairs = [pair for other in others for pair in ((one, other), (other, one))]
        self._do(self._set(pairs, whole=True))

    def impair(self, name: str, *, delay_ms: int = 0, loss_percent: int = 0) -> None:
        """What this member sends and gets is late: always, or where TCP would have to send it again. Nothing of both
        ends it."""
        self._impaired[name] = delay_ms / 1000, loss_percent

    def close(self) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _set(self, pairs: Sequence[tuple[str, str]], *, whole: bool) -> None:
        for pair in pairs:
            if whole:
                self._wire(pair).set()
            else:
                self._wire(pair).clear()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the turn after they are told to

    def _wire(self, pair: tuple[str, str]) -> asyncio.Event:
        if pair not in self._whole:
            self._whole[pair] = asyncio.Event()
            self._whole[pair].set()
        return self._whole[pair]

    async def _relay(
        self, receiver: str, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = [writer]
        try:
            opening = await reader.readexactly(len(PEER_MAGIC) + 4)
            first = await reader.readexactly(int.from_bytes(opening[-4:], "big"))
            said = decode_handshake(first)
            assert isinstance(said, PeerHello | Introduction)
            sender = said.name if isinstance(said, PeerHello) else said.member.name
            there, back = self._wire((sender, receiver)), self._wire((receiver, sender))
            await there.wait()
            answers, onward = await asyncio.open_connection(*split_address(target))
            ends.append(onward)
            onward.write(opening + first)
            directions = [
                asyncio.ensure_future(self._pump(reader, onward, there, (sender, receiver))),
                asyncio.ensure_future(self._pump(answers, writer, back, (sender, receiver))),
            ]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            pass  # an end is gone; the other is told by closing it
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, whole: asyncio.Event, ends: tuple[str, str]
    ) -> None:
        while piece := await source.read(PIECE_BYTES):
            for name in ends:
                delay, loss = self._impaired.get(name, (0.0, 0))
                if delay:
                    await asyncio.sleep(delay)
                if loss and self._rng.randrange(100) < loss:
                    await asyncio.sleep(RETRANSMIT_S)
            await whole.wait()
            sink.write(piece)
            await sink.drain()
