"""The first start over the network: members introduce themselves until all have echoed one set.

The rules are in `engine.first_start`; this carries introductions over the members' port and puts the
set on disk.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Protocol

import msgspec

from coterie.core.types import Member, MemberId
from coterie.engine.first_start import FirstStart, FirstStartConflict, Introduction, answer_started
from coterie.runtime.addresses import AddressError, split_address
from coterie.runtime.frames import LENGTH_BYTES, FrameError
from coterie.runtime.handshake import (
    MAX_HANDSHAKE_BYTES,
    PEER_MAGIC,
    HandshakeFrame,
    HandshakeRefused,
    PeerRefused,
    RefusalCode,
    decode_handshake,
    frame_handshake,
)
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_port import PeerPort
from coterie.runtime.tls.dialling import Dial, WrongMember

ASK_TIMEOUT_S = 3.0
"""From dialling a member to its whole answer."""
FIRST_DELAY_S = 0.05
MAX_DELAY_S = 0.5
"""Between two questions to one member."""


_PROBLEMS = (OSError, TimeoutError, UnicodeError, AddressError, WrongMember, FrameError, msgspec.DecodeError)


class FixesMembers(Protocol):
    """The data directory, as the first start needs it."""

    @property
    def restored(self) -> bytes:
        """Digest of the state that this member begins with; empty if with none."""
        ...

    @property
    def first_members(self) -> tuple[Member, ...] | None:
        """The set that was fixed, if one was."""
        ...

    def fix_first_members(self, members: tuple[Member, ...]) -> None:
        """Make the set durable, for ever. Synchronous. Raises `OSError`."""
        ...


async def ask(address: str, question: HandshakeFrame, *, name: str = "", dial: Dial | None = None) -> HandshakeFrame:
    """Open a stream to a member, ask, and return its answer. With TLS it is only asked if it is called `name`.

    Raises `OSError`, `TimeoutError`, `AddressError`, `WrongMember`, `FrameError` or `msgspec.DecodeError`.
    """
    dial = dial or Dial()
    host, port = split_address(address)
    async with asyncio.timeout(ASK_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=dial.context)
        try:
            dial.check(writer.transport, name)
            writer.write(PEER_MAGIC + frame_handshake(question))
            try:
                (length,) = struct.unpack(">I", await reader.readexactly(LENGTH_BYTES))
                if not 0 < length <= MAX_HANDSHAKE_BYTES:
                    raise FrameError(f"the answer says it has {length} bytes")
                return decode_handshake(await reader.readexactly(length))
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("closed before it answered") from error
        finally:
            writer.close()


class _Exchange:
    """One member's part in it."""

    def __init__(
        self,
        own: Member,
        names: tuple[tuple[str, str], ...],
        directory: FixesMembers,
        lines: Lines,
        rng: random.Random,
        dial: Dial,
    ) -> None:
        self._dial = dial
        self._directory = directory
        self._lines = lines
        self._rng = rng
        self._missing: tuple[str, ...] = ()
        self._last_problem: dict[str, str] = {}
        self.state = FirstStart(own, names, directory.first_members or None, directory.restored)
        self.changed = asyncio.Event()
        self._settle()

    def _settle(self) -> None:
        members = self.state.to_fix
        if members is not None:
            self._directory.fix_first_members(members)
            self.state.fixed(members)
            self._lines.info("first-members-fixed", members=",".join(f"{m.name}:{m.id:016x}" for m in members))
        if self.state.missing != self._missing:
            self._missing = self.state.missing
            if self._missing:
                self._lines.info("first-start-waits", missing=",".join(self._missing))
        self.changed.set()

    def answer(self, other: Introduction) -> Introduction:
        """Another member asks. Raises `FirstStartConflict`."""
        self.state.hear(other)
        self._settle()
        return self.state.introduction()

    async def keep_asking(self, name: str, address: str) -> None:
        """Ask one member until it has echoed the set. Raises `FirstStartConflict` if it refuses for good."""
        delay = FIRST_DELAY_S
        while name in self.state.missing:
            try:
                answer = await ask(address, self.state.introduction(), name=name, dial=self._dial)
                if isinstance(answer, PeerRefused):
                    if answer.code == RefusalCode.CONFLICT:
                        raise FirstStartConflict(
                            f"{name} at {address} refuses this member's first start: {answer.message}"
                        )
                    raise ConnectionRefusedError(answer.message)
                if not isinstance(answer, Introduction):
                    raise FrameError("the answer is not an introduction")
                self._hear(name, answer)
            except _PROBLEMS as error:
                self._tell(name, address, self._dial.told(error))
            await asyncio.sleep(delay * self._rng.randint(500, 1000) / 1000)
            delay = min(delay * 2, MAX_DELAY_S)

    def _hear(self, name: str, answer: Introduction) -> None:
        try:
            self.state.hear(answer)
        except FirstStartConflict as conflict:
            # It may be the other who is wrong: it is told when it asks, and ends. This one waits for the right one.
            self._tell(name, answer.member.peer, f"{conflict} {conflict.advice}")
            return
        self._settle()

    def _tell(self, name: str, address: str, problem: str) -> None:
        if self._last_problem.get(name) != problem:
            self._last_problem[name] = problem
            self._lines.info("first-start-peer", peer=name, address=address, problem=problem)


async def agree_on_first_members(
    own: Member,
    names: tuple[tuple[str, str], ...],
    *,
    directory: FixesMembers,
    port: PeerPort,
    lines: Lines,
    rng: random.Random,
    dial: Dial | None = None,
) -> tuple[Member, ...]:
    """Wait until every first member has fixed the same set; the set, in canonical order.

    `port` serves the members' port already; it goes on answering introductions afterwards, for those
    that have not seen all echoes yet. Raises `FirstStartConflict`, and `OSError` from the disk.
    """
    exchange = _Exchange(own, names, directory, lines, rng, dial or Dial())
    port.answer_introduction = exchange.answer
    askers = [asyncio.ensure_future(exchange.keep_asking(name, where)) for name, where in names if name != own.name]
    try:
        while not exchange.state.ready:
            exchange.changed.clear()
            change = asyncio.ensure_future(exchange.changed.wait())
            done, _ = await asyncio.wait([change, *askers], return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            for asker in askers[:]:
                if asker in done:
                    asker.result()
                    askers.remove(asker)
    finally:
        for asker in askers:
            asker.cancel()
        await asyncio.gather(*askers, return_exceptions=True)
    members = exchange.state.members
    assert members is not None
    port.answer_introduction = started_answer(own.id, members, directory.restored)
    return members


def started_answer(
    own: MemberId, first: tuple[Member, ...], restored: bytes = b""
) -> Callable[[Introduction], Introduction]:
    """How a member that has fixed its first members (and may have started) answers introductions. `restored`: the
    digest of the state that they began with, if they did."""
    member = next(m for m in first if m.id == own)
    return lambda other: answer_started(member, first, other, restored)


def not_started(other: Introduction) -> Introduction:
    """How a member answers introductions while it opens its disk."""
    raise HandshakeRefused(RefusalCode.NOT_STARTED, "this member has not started yet: try again")
