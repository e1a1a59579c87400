"""The clients' port over real sockets: greeting, answers, limits, and everything that is not a client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest
from tests.runtime.conftest import run, until

from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Answer,
    AskStatus,
    Failure,
    Hello,
    LogIn,
    Request,
    Response,
    Submit,
    View,
    Welcome,
    encoder,
    response_decoder,
)
from coterie.http2 import Limits
from coterie.runtime.addresses import bound_address, listen, split_address
from coterie.runtime.client_port import CROWD, MAX_HELLO_BYTES, ClientConnection, ClientPort
from coterie.runtime.clients import ClientLimits, NativeClient
from coterie.runtime.frames import FrameSplitter, pack_length
from coterie.runtime.grpc.connection import GrpcConnection
from coterie.runtime.grpc.unknown import UnknownServices
from coterie.runtime.http1.connection import HttpConnection, HttpReply, HttpRequest
from coterie.runtime.log_lines import Lines

WELCOME = Welcome(PROTOCOL_VERSION, 7, 1, "a", "m:M")
VIEW = View(1, ((1, "a", "h:1"),))


def frame(request: Request) -> bytes:
    body = encoder.encode(request)
    return pack_length(len(body)) + body


HELLO = CLIENT_MAGIC + frame(Hello(PROTOCOL_VERSION, "test"))


class Page:
    """What the desk answers over HTTP."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def answer(self, request: HttpRequest) -> HttpReply:
        return HttpReply(body=f"{self.desk.port.connections} open; {request.method} {request.path}".encode())


class Desk:
    """Takes requests; answers when told to (at once by default) with `size` bytes."""

    def __init__(self, limits: ClientLimits) -> None:
        self.taken: list[tuple[ClientConnection, Request]] = []
        self.asked: list[tuple[NativeClient, LogIn]] = []
        self.answering = True
        self.size = 3
        self.port = ClientPort(
            Lines("a"),
            limits,
            self,
            http=lambda source: HttpConnection(Page(self), Lines("a"), source),
            grpc=lambda port, source, who: GrpcConnection(port, UnknownServices(), Limits(), source, who),
        )
        self.address = ""
        self.server: asyncio.Server | None = None
        self.callers: list[Caller] = []

    def requests_from(self, client: object, requests: list[Request]) -> None:
        assert isinstance(client, ClientConnection)
        self.taken += [(client, request) for request in requests]
        if self.answering:
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        taken, self.taken = self.taken, []
        for client, request in taken:
            assert isinstance(request, Submit)
            client.deliver(Answer(request.id, 1, 0, bytes(self.size)))
        self.port.flush()

    def welcome(self) -> tuple[Welcome, View]:
        return WELCOME, VIEW

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        self.asked.append((client, request))

    async def serve(self) -> None:
        (listener,) = listen("127.0.0.1:0", "test")
        self.address = bound_address(listener)
        self.server = await asyncio.get_running_loop().create_server(self.port.protocol, sock=listener)

    async def end(self) -> None:
        assert self.server is not None
        self.server.close()
        self.port.close(at_once=True)
        await until(lambda: self.port.connections == 0)
        for caller in self.callers:
            await caller.close()


class Caller:
    """A client made of a bare socket."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.splitter = FrameSplitter(MAX_FRAME_BYTES)
        self.inbox: list[Response] = []

    async def dial(self, opening: bytes = HELLO) -> Caller:
        self.reader, self.writer = await asyncio.open_connection(*split_address(self.desk.address))
        self.writer.write(opening)
        self.desk.callers.append(self)
        return self

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            pass

    async def receive(self, count: int) -> list[Response]:
        while len(self.inbox) < count:
            data = await self.reader.read(65536)
            assert data, f"closed after {len(self.inbox)} of {count} answers"
            self.inbox += [response_decoder.decode(body) for body in self.splitter.feed(data)]
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        return taken

    async def end_of_stream(self) -> bytes:
        got = b""
        try:
            while data := await self.reader.read(65536):
                got += data
        except ConnectionResetError:
            pass
        await self.close()
        return got


def with_desk(work: Callable[[Desk], object], limits: ClientLimits = ClientLimits()) -> Desk:  # noqa: B008 - frozen
    async def run_it() -> Desk:
        desk = Desk(limits)
        await desk.serve()
        try:
            await work(desk)  # type: ignore[misc]  # every `work` here is a coroutine function
        finally:
            await desk.end()
        return desk

    return run(run_it)


def submit(id: int, size: int = 10) -> Submit:
    return Submit(id, 0, 0, 0, bytes(size))


def test_a_greeting_is_answered_with_welcome_and_view() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial()
        assert await caller.receive(2) == [WELCOME, VIEW]

    with_desk(work)


def test_requests_sent_byte_by_byte_or_all_at_once_are_answered_in_full() -> None:
    async def work(desk: Desk) -> None:
        stream = HELLO + b"".join(frame(submit(id)) for id in range(50))
        all_at_once = await Caller(desk).dial(stream)
        slow = await Caller(desk).dial(b"")
        for at in range(len(stream)):
            slow.writer.write(stream[at : at + 1])
            await slow.writer.drain()
        for caller in (all_at_once, slow):
            answers = (await caller.receive(52))[2:]
            assert [answer.id for answer in answers if isinstance(answer, Answer)] == list(range(50))

    with_desk(work)


def test_a_view_reaches_every_welcomed_client() -> None:
    async def work(desk: Desk) -> None:
        callers = [await Caller(desk).dial() for _ in range(3)]
        for caller in callers:
            await caller.receive(2)
        desk.port.publish(View(2, ()))
        desk.port.flush()
        for caller in callers:
            assert await caller.receive(1) == [View(2, ())]

    with_desk(work)


def test_answers_to_a_client_that_left_are_dropped() -> None:
    async def work(desk: Desk) -> None:
        desk.answering = False
        caller = await Caller(desk).dial(HELLO + frame(submit(1)))
        await until(lambda: desk.taken)
        client = desk.taken[0][0]
        caller.writer.close()
        await until(lambda: desk.port.connections == 0)
        client.deliver(Answer(1, 1, 0, b""))
        assert desk.port.waiting == []

    with_desk(work)


def test_another_version_of_the_protocol_is_refused_with_words(lines: Callable[[], list[str]]) -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(CLIENT_MAGIC + frame(Hello(99, "test")))
        (failure,) = await caller.receive(1)
        assert isinstance(failure, Failure)
        assert "version 1 of the client protocol, not 99" in failure.message
        assert await caller.end_of_stream() == b""
        assert any(line.startswith("client-refused") for line in lines())

    with_desk(work)


@pytest.mark.parametrize("pieces", [1, 3, 100], ids=["whole", "in-threes", "byte-by-byte"])
def test_http_is_answered_on_the_same_port_and_its_connections_count(pieces: int) -> None:
    said = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nDELETE /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(b"")
        step = max(1, len(said) // pieces)
        for start in range(0, len(said), step):
            caller.writer.write(said[start : start + step])
            await caller.writer.drain()
        answer = await caller.end_of_stream()
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert b"\r\n\r\n1 open; GET /a" in answer
        assert answer.endswith(b"1 open; DELETE /b")
        await until(lambda: desk.port.connections == 0)

    with_desk(work)


def test_http_beyond_the_limit_of_connections_is_closed_as_any_other() -> None:
    async def work(desk: Desk) -> None:
        first = await Caller(desk).dial(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await first.reader.readuntil(b"GET /a")
        second = await Caller(desk).dial(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await second.end_of_stream() == b""

    with_desk(work, ClientLimits(max_connections=1))


@pytest.mark.parametrize(
    "noise",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00coterie-member\x01",
        b"hello",
        CLIENT_MAGIC + b"\x00\x00\x00\x00",
        CLIENT_MAGIC + b"\xff\xff\xff\xff",
        CLIENT_MAGIC + b"\x00\x10\x00\x00" + bytes(5000),
        CLIENT_MAGIC + b"\x00\x00\x00\x01\xc1",
        CLIENT_MAGIC + frame(submit(1)),
        HELLO + frame(Hello(1, "again")),
        HELLO + (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
        HELLO + b"\x00\x00\x00\x01\xc1",
        HELLO + b"\x00\x00\x00\x02\x91\x63",
        HELLO + pack_length(200) + b"\x91" * 200,
    ],
)
def test_what_is_no_client_is_closed_with_a_line_and_the_port_lives(
    noise: bytes, lines: Callable[[], list[str]]
) -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(noise)
        await caller.end_of_stream()
        assert any(line.startswith("client-malformed node=a") for line in lines())
        alive = await Caller(desk).dial()
        assert await alive.receive(2) == [WELCOME, VIEW]
        assert not desk.taken

    with_desk(work)


def test_random_bytes_on_many_connections_harm_nobody() -> None:
    async def work(desk: Desk) -> None:
        rng = random.Random(8)
        neighbour = await Caller(desk).dial()
        await neighbour.receive(2)
        for attempt in range(150):
            opening = (b"", CLIENT_MAGIC, HELLO, HELLO + frame(submit(1))[: rng.randint(0, 20)])[attempt % 4]
            caller = await Caller(desk).dial(opening + rng.randbytes(rng.randint(0, 300)))
            caller.writer.write_eof()
            await caller.end_of_stream()
        neighbour.writer.write(frame(submit(5)))
        assert await neighbour.receive(1) == [Answer(5, 1, 0, bytes(3))]
        await until(lambda: desk.port.connections == 1)

    with_desk(work)


def test_in_flight_requests_of_one_connection_are_bounded_and_all_answered() -> None:
    async def work(desk: Desk) -> None:
        desk.answering = False
        caller = await Caller(desk).dial(HELLO + b"".join(frame(submit(id)) for id in range(100)))
        await caller.receive(2)
        await until(lambda: len(desk.taken) == 10)
        caller.writer.write(b"".join(frame(submit(id)) for id in range(100, 200)))
        await caller.writer.drain()
        seen = 0
        while seen < 200:
            assert len(desk.taken) <= 10
            desk.answer()
            answers = await caller.receive(1)
            answers += caller.inbox
            caller.inbox = []
            assert [answer.id for answer in answers if isinstance(answer, Answer)] == list(
                range(seen, seen + len(answers))
            )
            seen += len(answers)
            await asyncio.sleep(0)

    with_desk(work, ClientLimits(max_in_flight=10))


def test_a_crowd_of_answers_leaves_at_once_and_single_ones_with_the_next_flush() -> None:
    async def work(desk: Desk) -> None:
        desk.answering = False
        caller = await Caller(desk).dial(HELLO + b"".join(frame(submit(id)) for id in range(CROWD + 1)))
        await caller.receive(2)
        await until(lambda: len(desk.taken) == CROWD + 1)
        client = desk.taken[0][0]
        client.deliver(*[Answer(id, 1, 0, b"abc") for id in range(CROWD)])
        assert [answer.id for answer in await caller.receive(CROWD) if isinstance(answer, Answer)] == [*range(CROWD)]
        client.deliver(Answer(CROWD, 1, 0, b"abc"))
        assert client in desk.port.waiting
        desk.port.flush()
        assert desk.port.waiting == []
        assert await caller.receive(1) == [Answer(CROWD, 1, 0, b"abc")]

    with_desk(work)


def test_a_client_that_never_reads_is_paused_and_then_cut_off(lines: Callable[[], list[str]]) -> None:
    async def work(desk: Desk) -> None:
        desk.size = 100_000
        caller = await Caller(desk).dial()
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio has no public way to read nothing
        for id in range(2000):
            caller.writer.write(frame(submit(id, 1000)))
        await until(lambda: any(line.startswith("client-does-not-read") for line in lines()))
        await until(lambda: desk.port.connections == 0)

    with_desk(work, ClientLimits(stall_timeout_s=0.2))


def test_a_client_whose_answers_pile_up_is_cut_off(lines: Callable[[], list[str]]) -> None:
    async def work(desk: Desk) -> None:
        desk.size = 1_000_000
        caller = await Caller(desk).dial()
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio has no public way to read nothing
        caller.writer.write(b"".join(frame(submit(id)) for id in range(64)))
        await until(lambda: any(line.startswith("client-output-full") for line in lines()))
        await until(lambda: desk.port.connections == 0)

    with_desk(work, ClientLimits(max_output_bytes=8_000_000))


def test_connections_beyond_the_limit_are_closed(lines: Callable[[], list[str]]) -> None:
    async def work(desk: Desk) -> None:
        first = [await Caller(desk).dial() for _ in range(2)]
        for caller in first:
            await caller.receive(2)
        third = await Caller(desk).dial()
        assert await third.end_of_stream() == b""
        assert any(line.startswith("client-port-full") for line in lines())
        first[0].writer.close()
        await until(lambda: desk.port.connections == 1)
        assert await (await Caller(desk).dial()).receive(2) == [WELCOME, VIEW]

    with_desk(work, ClientLimits(max_connections=2))


def test_every_kind_of_request_is_passed_on() -> None:
    async def work(desk: Desk) -> None:
        desk.answering = False
        await Caller(desk).dial(HELLO + frame(AskStatus(4)))
        await until(lambda: desk.taken)
        assert desk.taken[0][1] == AskStatus(4)

    with_desk(work)


def test_log_lines_are_bounded_in_rate(lines: Callable[[], list[str]]) -> None:
    told = Lines("a")
    for _ in range(1000):
        told.warning("noise", problem='a "quoted"\nproblem')
    noise = [line for line in lines() if line.startswith("noise")]
    assert 20 <= len(noise) <= 40
    assert noise[0] == 'noise node=a problem="a \\"quoted\\"\\nproblem"'
    assert msgspec.json.decode(noise[0].partition("problem=")[2]) == 'a "quoted"\nproblem'


def test_what_comes_behind_a_log_in_waits_until_it_is_known_who_that_is() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(HELLO + frame(LogIn("ann", "hers")) + frame(Submit(1, 0, 0, 0, b"a")))
        await caller.receive(2)
        caller.writer.write(frame(Submit(2, 0, 0, 0, b"b")))
        await until(lambda: bool(desk.asked))
        (client, said), *others = desk.asked
        assert (said.user, said.password, others, client.identity) == ("ann", "hers", [], None)
        assert "hers" not in repr(said)
        await asyncio.sleep(0)
        assert not desk.taken
        client.logged_in("ann it is")
        answers = await caller.receive(2)
        assert [answer.id for answer in answers if isinstance(answer, Answer)] == [1, 2]
        assert client.identity == "ann it is"

    with_desk(work)


def test_a_client_that_is_turned_away_has_its_answer_first() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(HELLO + frame(LogIn("ann", "hers")))
        await caller.receive(2)
        await until(lambda: bool(desk.asked))
        desk.asked[0][0].turn_away(Answer(5, 1, 0, b"no"))
        assert [answer.id for answer in await caller.receive(1) if isinstance(answer, Answer)] == [5]
        assert await caller.end_of_stream() == b""

    with_desk(work)


@pytest.mark.parametrize(
    "frames",
    [
        [Submit(1, 0, 0, 0, b"a"), LogIn("ann", "hers")],
        [LogIn("ann", "hers"), LogIn("root", "his")],
        [LogIn("ann", "hers"), Hello(PROTOCOL_VERSION, "again")],
        [Hello(PROTOCOL_VERSION, "again")],
        [LogIn("ann", "x" * MAX_HELLO_BYTES)],
    ],
)
def test_a_greeting_that_comes_late_or_twice_or_is_too_long_closes_the_connection(frames: list[Request]) -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(HELLO)
        await caller.receive(2)
        for each in frames:
            caller.writer.write(frame(each))
            await caller.writer.drain()
        if isinstance(frames[0], LogIn) and len(frames) > 1:
            await until(lambda: bool(desk.asked))
            desk.asked[0][0].logged_in(None)
        await caller.end_of_stream()
        assert desk.port.connections == 0

    desk = with_desk(work)
    assert all(not isinstance(request, LogIn | Hello) for _, request in desk.taken)
