"""Connections of gRPC on the clients' port, over bare sockets: how they are told apart, and what a bad client meets."""

from __future__ import annotations

import asyncio
import re
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import msgspec
import pytest
from tests.certificates import Certificates
from tests.http2.talk import FIELDS, packed, settings, split
from tests.runtime.conftest import until
from tests.runtime.grpc.desk import Desk, at_desk

from coterie.http2 import PREFACE, Limits
from coterie.http2.frames import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, frame
from coterie.runtime.addresses import listen, split_address
from coterie.runtime.clients import ClientLimits
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.alpn import CLIENT_PORT, HTTP_1, HTTP_2
from coterie.runtime.tls.reloading import TlsSide
from coterie.runtime.tls.serving import TlsServer

Told = Callable[[], list[str]]
SECOND = 1_000_000_000
GREETING = PREFACE + settings() + frame(SETTINGS, ACK, 0)
BLOCK = b"\x83\x86\x04\x0a/test/%-4s" + b"\x0f\x10\x10application/grpc"
MANY = 10_000
SPARE_FILES = 200


def call(number: int, method: bytes = b"Echo", message: bytes = b"hello") -> bytes:
    """A whole unary call."""
    return frame(HEADERS, END_HEADERS, number, BLOCK % method) + frame(DATA, END_STREAM, number, packed(message))


class Caller:
    """A bare socket."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.heard = b""

    async def dial(self, opening: bytes = GREETING) -> Caller:
        self.reader, self.writer = await asyncio.open_connection(*split_address(self.desk.address))
        self.writer.write(opening)
        return self

    async def hears(self, what: bytes) -> bytes:
        """Read until this has come."""
        while what not in self.heard:
            data = await self.reader.read(1 << 16)
            assert data, f"closed, and no {what!r} in {self.heard!r}"
            self.heard += data
        return self.heard

    async def hears_the_end(self) -> bytes:
        """Read until the server closes."""
        try:
            while data := await self.reader.read(1 << 16):
                self.heard += data
        except ConnectionError:
            pass
        self.writer.close()
        return self.heard


async def reply(desk: Desk, opening: bytes, what: bytes) -> bytes:
    caller = await Caller(desk).dial(opening)
    heard = await caller.hears(what)
    caller.writer.close()
    return heard


def test_http_1_and_2_are_told_apart_by_their_first_bytes() -> None:
    async def work(desk: Desk) -> None:
        assert (await reply(desk, b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", b"/page")).startswith(b"HTTP/1.1 200")
        assert (await reply(desk, b"PUT /page HTTP/1.1\r\nHost: x\r\n\r\n", b"/page")).startswith(b"HTTP/1.1 200")
        heard = split(await reply(desk, GREETING + call(1), packed(b"hello")))
        assert heard[0].kind == SETTINGS

    at_desk(work)


def test_the_first_bytes_may_come_one_by_one() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(b"")
        for byte in GREETING + call(1):
            caller.writer.write(bytes((byte,)))
            await caller.writer.drain()
            await asyncio.sleep(0)
        await caller.hears(packed(b"hello"))
        caller.writer.close()

    at_desk(work)


def test_a_client_that_speaks_something_else_after_pri_is_told_and_closed(lines: Told) -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(b"PRI * HTTP/2.1\r\n\r\n")
        last = split(await caller.hears_the_end())[-1]
        assert last.kind == GOAWAY

    at_desk(work)
    assert "the connection does not begin as HTTP/2 does" in "".join(lines())


def test_a_protocol_error_closes_one_connection_and_no_other(lines: Told) -> None:
    async def work(desk: Desk) -> None:
        good, bad = await Caller(desk).dial(), await Caller(desk).dial()
        bad.writer.write(frame(PING, 0, 0, b"short"))
        assert split(await bad.hears_the_end())[-1].kind == GOAWAY
        good.writer.write(call(1))
        await good.hears(packed(b"hello"))
        good.writer.close()

    at_desk(work)
    (line,) = [line for line in lines() if line.startswith("client-malformed")]
    assert "code=frame-size-error" in line


def test_timers_run_out_by_themselves() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(GREETING + call(1, b"Silent"[:4]))
        caller.writer.write(frame(DATA, 0, 1, bytes(100))[:50])
        assert b"half a frame" in await caller.hears_the_end()

    at_desk(work, Limits(stall_timeout=SECOND // 5))


def test_a_client_that_sends_no_settings_is_closed_in_time() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial(PREFACE)
        assert b"no settings" in await caller.hears_the_end()

    at_desk(work, Limits(settings_timeout=SECOND // 5))


def test_a_client_that_does_not_read_its_socket_is_cut_off_and_others_are_served(lines: Told) -> None:
    async def work(desk: Desk) -> None:
        stuck = await Caller(desk).dial(b"")
        stuck.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
        window = frame(8, 0, 0, (1 << 30).to_bytes(4))
        stuck.writer.write(GREETING + settings((0x4, 1 << 30)) + window)
        for n in range(60):
            stuck.writer.write(call(2 * n + 1, b"Many", bytes(10_000)))
        await until(lambda: any(connection._paused for connection in desk.site.connections))
        (connection,) = desk.site.connections
        transport = connection._transport
        assert transport is not None
        # What waits has stayed where it has its limits and its turns: in the connection, not in the socket's buffer.
        assert connection.http._sender.unsent > 1 << 20
        assert transport.get_write_buffer_size() <= 2 << 20
        await until(lambda: any(line.startswith("client-does-not-read") for line in lines()))
        await until(lambda: desk.port.connections == 0)
        assert not desk.site.open
        stuck.writer.close()
        await reply(desk, GREETING + call(1), packed(b"hello"))

    at_desk(work, Limits(stall_timeout=60 * SECOND), ClientLimits(stall_timeout_s=0.3))


def test_one_write_carries_the_answers_to_one_read() -> None:
    async def work(desk: Desk) -> None:
        caller = await Caller(desk).dial()
        await caller.hears(frame(SETTINGS, ACK, 0))
        caller.heard = b""
        caller.writer.write(b"".join(call(2 * n + 1) for n in range(30)))
        first = await caller.reader.read(1 << 16)
        assert first.count(packed(b"hello")) == 30
        caller.writer.close()

    at_desk(work)


async def tls_desk(desk: Desk, certificates: Certificates) -> tuple[TlsServer, str]:
    files = msgspec.structs.replace(certificates.files("n1"), min_version="1.2")
    side = TlsSide(files, Lines("n1"), CLIENT_PORT)
    (listener,) = listen("127.0.0.1:0", "for a test")
    address = f"localhost:{listener.getsockname()[1]}"
    return TlsServer(listener, desk.port.protocol, Lines("n1"), side), address


def test_over_tls_a_client_is_known_by_its_certificate(certificates: Certificates) -> None:
    async def work(desk: Desk) -> None:
        server, address = await tls_desk(desk, certificates)
        pems = [(certificates.home / name).read_bytes() for name in ("ca.crt", "client.key", "client.crt")]
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*pems)) as channel:
            assert await channel.unary_unary("/test/Echo")(b"x" * 100_000) == b"x" * 100_000
            (connection,) = desk.site.connections
            assert connection.certified is not None
            assert connection.certified.common_name == "client"
        server.close()

    at_desk(work)


@pytest.mark.parametrize(
    ("offered", "agreed"), [([HTTP_2], HTTP_2), ([HTTP_2, HTTP_1], HTTP_1), ([HTTP_1], HTTP_1), ([], None)]
)
def test_what_is_agreed_on_over_tls(certificates: Certificates, offered: list[str], agreed: str | None) -> None:
    async def work(desk: Desk) -> None:
        server, address = await tls_desk(desk, certificates)
        context = certificates.context("client")
        if offered:
            context.set_alpn_protocols(offered)
        _, writer = await asyncio.open_connection(*split_address(address), ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
        writer.close()
        server.close()

    at_desk(work)


async def h2load(desk: Desk, tmp_path: Path, *options: str) -> dict[str, int]:
    """Run it; how many requests came to what."""
    data = tmp_path / "request"
    data.write_bytes(packed(bytes(272)))
    headers = [f"-H{name}: {value}" for name, value in FIELDS if not name.startswith(":")]
    url = f"http://{desk.address}/test/Echo"
    process = await asyncio.create_subprocess_exec(
        "h2load", f"-d{data}", *headers, *options, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    line = next(line for line in output.decode().splitlines() if line.startswith("requests:"))
    return {what: int(count) for count, what in re.findall(r"(\d+) (\w+)", line)}


needs_h2load = pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is missing: nghttp2-client")


@needs_h2load
@pytest.mark.parametrize("table", ["0", "4096", "65536"])
def test_h2load_is_answered(tmp_path: Path, table: str) -> None:
    async def work(desk: Desk) -> None:
        tables = [f"--header-table-size={table}", f"--encoder-header-table-size={table}"]
        told = await h2load(desk, tmp_path, "-c7", "-m13", "-n3000", *tables)
        assert (told["succeeded"], told["failed"], told["errored"]) == (3000, 0, 0)

    at_desk(work)


@needs_h2load
@pytest.mark.slow
def test_ten_thousand_connections_are_served_by_configuration(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < MANY + SPARE_FILES:
        pytest.skip(f"only {hard} files may be open")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (MANY + SPARE_FILES, hard))

    async def work(desk: Desk) -> None:
        told = await h2load(desk, tmp_path, f"-c{MANY}", "-m1", f"-n{2 * MANY}")
        assert (told["succeeded"], told["errored"]) == (2 * MANY, 0)
        assert len(desk.site.connections) == MANY

    try:
        at_desk(work, clients=ClientLimits(max_connections=MANY), seconds=170)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_connection_more_than_allowed_is_closed(lines: Told) -> None:
    async def work(desk: Desk) -> None:
        first, second = await Caller(desk).dial(), await Caller(desk).dial()
        await first.hears(frame(SETTINGS, ACK, 0))
        await second.hears(frame(SETTINGS, ACK, 0))
        third = await Caller(desk).dial()
        assert await third.hears_the_end() == b""
        first.writer.write(call(1))
        await first.hears(packed(b"hello"))
        first.writer.close()
        second.writer.close()

    at_desk(work, clients=ClientLimits(max_connections=2))
    assert [line for line in lines() if line.startswith("client-port-full")]
