"""Messages between members: a link to every other member, and the port that they dial."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterable

from coterie.core.messages import Message, encode
from coterie.core.types import MemberId
from coterie.runtime.handshake import PeerIdentity
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_link import LinkLimits, PeerLink
from coterie.runtime.peer_port import PeerPort
from coterie.runtime.tls.dialling import Dial

FAREWELL_S = 10.0
"""How long a member that has left is still sent to."""

MAX_MET = 64
"""Members that are not in the log here and are answered all the same."""


class Transport:
    """Sends to members by id. Everything here may be lost; nothing here waits."""

    def __init__(
        self,
        *,
        own: PeerIdentity,
        limits: LinkLimits,
        lines: Lines,
        rng: random.Random,
        on_closed: Callable[[MemberId, bool], None],
        on_expelled: Callable[[str], None] = lambda reason: None,
        on_copied: Callable[[str], None] = lambda reason: None,
        farewell_s: float = FAREWELL_S,
        dial: Dial | None = None,
    ) -> None:
        """`dial`: with TLS or, if None, without.
        `on_closed(peer, refused)`, `on_expelled(reason)`, `on_copied(reason)`: see `PeerLink`."""
        self._own = own
        self._limits = limits
        self._lines = lines
        self._rng = rng
        self._on_closed = on_closed
        self._on_expelled = on_expelled
        self._on_copied = on_copied
        self._farewell_s = farewell_s
        self._dial = dial or Dial()
        self._loop = asyncio.get_running_loop()
        self._wanted: set[MemberId] = set()
        self._met: set[MemberId] = set()
        """Members that are not in the log here, and said themselves where they are."""
        self._links: dict[MemberId, PeerLink] = {}
        self._waiting: list[PeerLink] = []
        """Links with something to flush; one may stand here more than once, and is written once."""

    def members(self, members: Iterable[tuple[MemberId, str, str]]) -> None:
        """(id, name, peer address) of the other members as they now are: links are made, moved and ended.

        Who has left is still sent to for a while: the leader tells it that it was removed."""
        wanted = {member: (name, address) for member, name, address in members if member != self._own.member}
        self._wanted = set(wanted)
        for member in list(self._links):
            link = self._links[member]
            if member in wanted:
                self._met.discard(member)
            if member in self._met:
                continue
            if member not in wanted:
                self._loop.call_later(self._farewell_s, self._end, member)
            elif wanted[member][1] != link.address:
                link.close()
                del self._links[member]
        for member, (name, address) in wanted.items():
            if member not in self._links:
                self._link(member, name, address)

    def _link(self, member: MemberId, name: str, address: str) -> None:
        self._links[member] = PeerLink(
            own=self._own,
            target=member,
            name=name,
            address=address,
            limits=self._limits,
            lines=self._lines,
            rng=self._rng,
            on_closed=self._on_closed,
            on_expelled=self._on_expelled,
            on_copied=self._on_copied,
            dial=self._dial,
        )

    def meet(self, member: MemberId, name: str, address: str) -> None:
        """A member opened a stream to this one. If the log does not say where it is (this member has just joined, or
        is behind), the member itself does: it must be answered."""
        if member in self._links:
            self._links[member].called()
        if member in self._wanted or member in self._links or member == self._own.member or not address:
            return
        if len(self._met) < MAX_MET:
            self._met.add(member)
            self._link(member, name, address)

    def name_of(self, member: MemberId) -> str:
        """What the log calls the member; "" if it does not know it."""
        return self._links[member].name if member in self._wanted and member in self._links else ""

    def part(self, member: MemberId) -> None:
        """Its stream closed."""
        if member in self._met:
            self._met.discard(member)
            self._end(member)

    def _end(self, member: MemberId) -> None:
        if member not in self._wanted and (link := self._links.pop(member, None)) is not None:
            link.close()

    @property
    def connected(self) -> bool:
        """Whether any other member can be reached."""
        return any(link.connected for link in self._links.values())

    @property
    def connected_members(self) -> frozenset[MemberId]:
        """To whom a stream is open."""
        return frozenset(member for member, link in self._links.items() if link.connected)

    def link(self, member: MemberId) -> PeerLink | None:
        """The link to a member, if there is one."""
        return self._links.get(member)

    def send(self, to: MemberId, message: Message) -> None:
        """Queue a message for the next `flush`; dropped if there is no stream or its queue is full."""
        link = self._links.get(to)
        if link is not None and link.connected:
            link.put(encode(message))
            self._waiting.append(link)

    def flush(self) -> None:
        """Write what was queued: one write a peer."""
        for link in self._waiting:
            link.flush()
        self._waiting.clear()

    def close(self) -> None:
        """End all links."""
        for link in self._links.values():
            link.close()
        self._links.clear()


async def serve_peers(sockets: list[socket.socket], port: PeerPort) -> list[asyncio.Server]:
    """Serve the members' port on listening sockets."""
    loop = asyncio.get_running_loop()
    return [await loop.create_server(port.protocol, sock=listener) for listener in sockets]
