"""The listening side of the members' streams: handshake, refusals, frames to the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from coterie.core.messages import Message, decode
from coterie.core.types import MemberId
from coterie.engine.first_start import FirstStartConflict, Introduction
from coterie.runtime.frames import FrameError, FrameSplitter
from coterie.runtime.handshake import (
    GROUP_BYTES,
    GROUP_PREFIX,
    MAX_HANDSHAKE_BYTES,
    MAX_PEER_FRAME_BYTES,
    PEER_MAGIC,
    Boots,
    HandshakeFrame,
    HandshakeRefused,
    PeerHello,
    PeerIdentity,
    PeerRefused,
    RefusalCode,
    check_certificate,
    check_hello,
    decode_handshake,
    frame_handshake,
)
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_link import tune_socket
from coterie.runtime.register import Register
from coterie.runtime.tls.names import certified

MAX_PEER_CONNECTIONS = 512
"""Streams from other members, welcomed or not."""
HANDSHAKE_TIMEOUT_S = 5.0
"""From connecting to a whole handshake."""


_QUESTIONS = (PeerHello, Introduction)
"""What a stream may open with."""


class PeerInput(Protocol):
    """Where messages of other members go."""

    def receive_from(self, sender: MemberId, messages: list[Message]) -> None:
        """Messages of one member, in order, just arrived."""
        ...


class Acquaintance(Protocol):
    """Who answers members."""

    def meet(self, member: MemberId, name: str, address: str) -> None:
        """A member was welcomed; it can be reached at `address`."""
        ...

    def name_of(self, member: MemberId) -> str:
        """What the log calls a member; "" if it does not know it."""
        ...

    def part(self, member: MemberId) -> None:
        """Its stream closed."""
        ...


class _Incoming(asyncio.Protocol):
    """One stream from another member (or from somebody who is none)."""

    def __init__(self, port: PeerPort) -> None:
        self._port = port
        self._opening: bytes | None = b""
        """What came before the magic was whole; None after it."""
        self._splitter = FrameSplitter(MAX_HANDSHAKE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._from = "?"
        self.sender: MemberId = 0
        """0 before the handshake."""
        self.process = 0
        """As the greeting said."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)
        self._from = _where(transport)
        if not self._port.enter(self):
            self._port.lines.warning("peer-port-full", limit=MAX_PEER_CONNECTIONS, source=self._from)
            transport.abort()
            return
        tune_socket(transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, self._too_slow)

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._port.leave(self)

    def data_received(self, data: bytes) -> None:
        try:
            if self.sender:
                self._messages(self._splitter.feed(data))
            else:
                self._handshake(data)
        except (FrameError, msgspec.DecodeError, ValueError, RecursionError) as error:
            self._port.lines.warning("peer-malformed", source=self._from, problem=error)
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._port.lines.warning("peer-handshake-timeout", source=self._from)
        self.abort()

    def _messages(self, frames: list[bytes]) -> None:
        messages: list[Message] = []
        for frame in frames:
            if frame[:GROUP_BYTES] != GROUP_PREFIX:
                raise FrameError("a message for a group that this member does not have")
            messages.append(decode(memoryview(frame)[GROUP_BYTES:]))
        if messages:
            self._port.input(self.sender, messages)

    def _handshake(self, data: bytes) -> None:
        if self._opening is not None:
            data = self._opening + data
            if data[: len(PEER_MAGIC)] != PEER_MAGIC[: len(data)]:
                if data[:1] == b"\x16":
                    raise FrameError("the stream opens as TLS does; this port speaks plain text (see peer_cert)")
                raise FrameError("the stream does not open as a member's does: is this a client, or another program?")
            if len(data) < len(PEER_MAGIC):
                self._opening = data
                return
            self._opening = None
            data = data[len(PEER_MAGIC) :]
        frames = self._splitter.feed(data)
        if not frames:
            return
        if len(frames) > 1 or self._splitter.held_bytes:
            raise FrameError("bytes came before the handshake was answered")
        assert self._transport is not None
        question = decode_handshake(frames[0])
        try:
            if self._transport.get_extra_info("ssl_object") is not None and isinstance(question, _QUESTIONS):
                check_certificate(question, certified(self._transport), self._port.known_name(question))
            answer = self._port.answer(question)
        except HandshakeRefused as refusal:
            self._refuse(refusal.code, str(refusal))
            return
        except FirstStartConflict as conflict:
            advice = f": {conflict.advice}" if conflict.advice else ""
            self._refuse(RefusalCode.CONFLICT, f"{conflict}{advice}")
            return
        self._transport.write(frame_handshake(answer))
        if isinstance(question, PeerHello):
            self._stop_timer()
            self._splitter = FrameSplitter(MAX_PEER_FRAME_BYTES)
            self.sender = question.member
            self.process = question.process
            self._port.welcomed(self, question)
        else:
            self._transport.close()

    def _refuse(self, code: RefusalCode, message: str) -> None:
        assert self._transport is not None
        if code != RefusalCode.NOT_STARTED:
            self._port.lines.error("peer-refused", source=self._from, reason=message)
        self._transport.write(frame_handshake(PeerRefused(code, message)))
        self._transport.close()


def _where(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "?"


class PeerPort:
    """Every stream that other members have opened to this one, and what they are answered."""

    def __init__(self, lines: Lines, answer_introduction: Callable[[Introduction], Introduction]) -> None:
        """`answer_introduction` may raise `FirstStartConflict`; see `open` for when messages are taken."""
        self.lines = lines
        self.answer_introduction = answer_introduction
        self._own: PeerIdentity | None = None
        self._input: PeerInput | None = None
        self._boots = Boots()
        self._register = Register()
        self._acquaintance: Acquaintance | None = None
        self._streams: set[_Incoming] = set()
        self._by_sender: dict[MemberId, _Incoming] = {}

    def protocol(self) -> asyncio.Protocol:
        """A new connection's protocol, for `loop.create_server`."""
        return _Incoming(self)

    def open(
        self,
        own: PeerIdentity,
        input: PeerInput,
        boots: Boots,
        register: Register | None = None,
        acquaintance: Acquaintance | None = None,
    ) -> None:
        """From now on members are welcomed; before, they are told to try again."""
        self._acquaintance = acquaintance
        self._register = register if register is not None else self._register
        self._own = own
        self._boots = boots
        self._input = input

    def close(self) -> None:
        """Close every stream; take no message any more."""
        self._input = None
        self._own = None
        for stream in list(self._streams):
            stream.abort()

    @property
    def connections(self) -> int:
        """Streams at present."""
        return len(self._streams)

    def enter(self, stream: _Incoming) -> bool:
        """A stream opened; False if there are too many."""
        if len(self._streams) >= MAX_PEER_CONNECTIONS:
            return False
        self._streams.add(stream)
        return True

    def leave(self, stream: _Incoming) -> None:
        """A stream closed."""
        self._streams.discard(stream)
        if self._by_sender.get(stream.sender) is stream:
            del self._by_sender[stream.sender]
            if self._acquaintance is not None:
                self._acquaintance.part(stream.sender)

    def answer(self, question: HandshakeFrame) -> HandshakeFrame:
        """What the first frame of a stream is answered. Raises `HandshakeRefused`, `FirstStartConflict`."""
        if isinstance(question, Introduction):
            return self.answer_introduction(question)
        if not isinstance(question, PeerHello):
            raise FrameError("a stream opens with a greeting, not with an answer to one")
        if self._own is None:
            raise HandshakeRefused(RefusalCode.NOT_STARTED, "this member has not started yet: try again")
        present = self._by_sender.get(question.member)
        connected = present.process if present is not None else None
        check_hello(self._own, question, self._boots, self._register, connected)
        return self._own.welcome()

    def known_name(self, question: PeerHello | Introduction) -> str:
        """What the log calls the member whose id the question says; "" if it does not know it."""
        if self._acquaintance is None or not isinstance(question, PeerHello):
            return ""
        return self._acquaintance.name_of(question.member)

    def end(self, member: MemberId) -> None:
        """A member was removed: its stream is closed, and its next greeting is refused."""
        stream = self._by_sender.get(member)
        if stream is not None:
            stream.abort()

    def welcomed(self, stream: _Incoming, hello: PeerHello) -> None:
        """A member was let in; an older stream of the same member is closed."""
        older = self._by_sender.get(hello.member)
        self._by_sender[hello.member] = stream
        if older is not None:
            older.abort()
        if self._acquaintance is not None:
            self._acquaintance.meet(hello.member, hello.name, hello.address)

    def input(self, sender: MemberId, messages: list[Message]) -> None:
        """Messages arrived."""
        if self._input is not None:
            self._input.receive_from(sender, messages)
