"""HTTP/1.1 over real sockets: one request after another, every limit, and clients that do not behave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from tests.runtime.conftest import run, until

from coterie.runtime.addresses import bound_address, listen, split_address
from coterie.runtime.http1 import connection
from coterie.runtime.http1.connection import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_QUERY_FIELDS,
    HttpConnection,
    HttpReply,
    HttpRequest,
)
from coterie.runtime.log_lines import Lines

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo:
    """Answers with what it was asked; `/fail` raises, `/wait` waits for `go`."""

    def __init__(self) -> None:
        self.asked: list[HttpRequest] = []
        self.go = asyncio.Event()
        self.cancelled = 0

    async def answer(self, request: HttpRequest) -> HttpReply:
        self.asked.append(request)
        if request.path == "/fail":
            raise LookupError("on purpose")
        if request.path == "/wait":
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return HttpReply(body=f"{request.method} {request.path} {request.query} {len(request.body)}".encode())


class Visitor:
    """A bare socket to a site."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body

    async def rest(self) -> bytes:
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


class Watched(HttpConnection):
    """Tells when it is over."""

    def __init__(self, site: Echo, over: asyncio.Event) -> None:
        super().__init__(site, Lines("a"), "test")
        self._over = over

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._over.set()


def with_site(work: Callable[[Echo, Visitor], Awaitable[None]]) -> None:
    async def main() -> None:
        site = Echo()
        (listener,) = listen("127.0.0.1:0", "test")
        address = bound_address(listener)
        over = asyncio.Event()
        server = await asyncio.get_running_loop().create_server(lambda: Watched(site, over), sock=listener)
        reader, writer = await asyncio.open_connection(*split_address(address))
        try:
            await work(site, Visitor(reader, writer))
        finally:
            writer.transport.abort()
            site.go.set()
            await over.wait()
            server.close()

    run(main)


def test_requests_of_one_connection_are_answered_in_order_one_at_a_time() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(
            GET % b"/wait" + GET % b"/b?x=1&y=" + b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        )
        assert not site.go.is_set()
        site.go.set()
        assert (await visitor.answer())[2] == b"GET /wait {} 0"
        assert (await visitor.answer())[2] == b"GET /b {'x': '1', 'y': ''} 0"
        status, headers, body = await visitor.answer()
        assert (status, body) == (200, b"POST /c {} 3")
        assert headers["cache-control"] == "no-store"

    with_site(work)


def test_a_request_may_come_byte_by_byte() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        for byte in b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n":
            await visitor.say(bytes((byte,)))
        assert (await visitor.answer())[2] == b"PUT /a {} 2"

    with_site(work)


def test_a_head_has_the_headers_and_no_body() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await visitor.rest()
        assert b"Content-Length: 12\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")

    with_site(work)


def test_who_closes_its_half_is_answered_all_the_same() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(GET % b"/wait")
        visitor.writer.write_eof()
        await until(lambda: site.asked)
        site.go.set()
        assert (await visitor.rest()).endswith(b"GET /wait {} 0")

    with_site(work)


def test_who_closes_its_half_and_has_no_answer_soon_is_taken_to_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HALF_CLOSED_S", 0.05)

    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(GET % b"/wait")
        visitor.writer.write_eof()
        assert await visitor.rest() == b""
        await until(lambda: site.cancelled == 1)

    with_site(work)


def test_who_leaves_without_a_word_while_it_waits_is_noticed() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(GET % b"/wait")
        await until(lambda: site.asked)
        visitor.writer.transport.abort()
        await until(lambda: site.cancelled == 1)

    with_site(work)


def test_who_waits_to_send_a_body_is_told_to() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert (await visitor.answer())[0] == 100
        await visitor.say(b"ab")
        assert (await visitor.answer())[2] == b"POST /a {} 2"

    with_site(work)


def test_what_fails_is_logged_and_answered_and_the_connection_goes_on(lines: Callable[[], list[str]]) -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(GET % b"/fail" + GET % b"/a")
        assert (await visitor.answer())[0] == 500
        assert (await visitor.answer())[0] == 200
        assert any(line.startswith("http-failed") and "on purpose" in line for line in lines())

    with_site(work)


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n", 431, b"too long"),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * MAX_HEAD_BYTES, 431, b"too long"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413, b"at most"),
        (GET % (b"/?" + b"&".join(b"k%d=1" % i for i in range(MAX_QUERY_FIELDS + 1))), 400, b"at most 64 fields"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"Host"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, b""),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, b""),
        (b"GET  HTTP/9\r\n\r\n", 400, b""),
    ],
    ids=["line", "head", "body", "query", "no-host", "length", "lengths", "zero", "version"],
)
def test_what_is_malformed_or_too_large_is_refused_and_the_connection_closed(
    said: bytes, status: int, why: bytes, lines: Callable[[], list[str]]
) -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        visitor.writer.write(said)
        if status == 413:
            visitor.writer.write(bytes(MAX_BODY_BYTES + 1))
        got, headers, body = await visitor.answer()
        assert got == status
        assert headers["connection"] == "close"
        assert why in body
        assert site.asked == []
        assert any(line.startswith("client-malformed") for line in lines())

    with_site(work)


def test_noise_ends_the_connection_and_nothing_else() -> None:
    rng = random.Random(4)

    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(b"GET /" + rng.randbytes(300) + b"\r\n\r\n")
        assert (await visitor.rest()).startswith(b"HTTP/1.1 400 ")
        assert site.asked == []

    with_site(work)


def test_who_says_nothing_or_half_a_request_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_TIMEOUT_S", 0.05)

    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(b"GET / HTTP/1.1\r\nHo")
        assert await visitor.rest() == b""

    with_site(work)


def test_nothing_is_read_ahead_while_a_request_is_answered() -> None:
    async def work(site: Echo, visitor: Visitor) -> None:
        await visitor.say(GET % b"/wait")
        await until(lambda: site.asked)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(visitor.say(GET % b"/a" * 1_000_000), 0.3)
        assert len(site.asked) == 1

    with_site(work)
