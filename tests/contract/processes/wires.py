"""The wires between members, which a test may cut: real sockets, through a relay that can hold its bytes.

Each member listens for the others behind a relay, and its peer address is the relay's. A stream says
in its first frame who sends it; so a cut is between two members, in one direction or both. A cut wire
loses nothing and closes nothing: it is silent, as a network is that has fallen apart.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract.processes.cluster import Cluster
from tests.runtime.cluster import FAST, Process, free_ports, processes

from coterie.engine.first_start import Introduction
from coterie.runtime.addresses import split_address
from coterie.runtime.handshake import PEER_MAGIC, PeerHello, decode_handshake

PIECE_BYTES = 64 * 1024


class Wires:
    """The relays of one cluster, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._whole: dict[tuple[str, str], asyncio.Event] = {}
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
                asyncio.ensure_future(_pump(reader, onward, there)),
                asyncio.ensure_future(_pump(answers, writer, back)),
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


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, whole: asyncio.Event) -> None:
    while piece := await source.read(PIECE_BYTES):
        await whole.wait()
        sink.write(piece)
        await sink.drain()


@contextmanager
def wired_cluster(directory: Path, count: int = 3, flags: Sequence[str] = FAST) -> Iterator[tuple[Cluster, Wires]]:
    """A cluster that is not started yet, and the wires between its members."""
    wires = Wires()
    try:
        with processes(directory, count, flags) as nodes:
            for node, port in zip(nodes, free_ports(count), strict=True):
                listens = f"127.0.0.1:{port}"
                node.arguments += ["--peer-listen", listens]
                wires.relay(node.name, node.peer, listens)
            yield Cluster(nodes), wires
    finally:
        wires.close()


def others_of(members: Cluster, node: Process) -> list[str]:
    return [other.name for other in members.nodes if other is not node]
