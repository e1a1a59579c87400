"""A program: one link to a peer that welcomes it, hangs up at once, and is gone. Prints whether the link knows it."""

from __future__ import annotations

import asyncio
import random
import time

from coterie.runtime.frames import FrameSplitter
from coterie.runtime.handshake import (
    MAJOR,
    MAX_HANDSHAKE_BYTES,
    PEER_MAGIC,
    PeerIdentity,
    PeerWelcome,
    frame_handshake,
)
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_link import LinkLimits, PeerLink

PATIENCE_S = 2.0
PEER = 2


async def main() -> None:
    closings = 0

    def closed(member: int, refused: bool) -> None:
        nonlocal closings
        closings += 1

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PEER_MAGIC))
        splitter = FrameSplitter(MAX_HANDSHAKE_BYTES)
        while not splitter.feed(await reader.read(4096)):
            pass
        writer.write(frame_handshake(PeerWelcome(MAJOR, 0, PEER, "n2", 1)))
        await writer.drain()
        writer.close()
        server.close()

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = PeerLink(
        own=PeerIdentity(cluster=1, member=1, name="n1", boot=1, process=1, protocol="raft", starts=(1,)),
        target=PEER,
        name="n2",
        address=f"127.0.0.1:{port}",
        limits=LinkLimits(),
        lines=Lines("n1"),
        rng=random.Random(1),
        on_closed=closed,
        on_expelled=lambda reason: None,
        on_copied=lambda reason: None,
    )
    end = time.monotonic() + PATIENCE_S
    seen = False
    while time.monotonic() < end:
        seen = seen or link.connected
        await asyncio.sleep(0.01)
    print(f"connected once: {seen or closings > 0}; connected still: {link.connected}")
    link.close()


asyncio.run(main())
