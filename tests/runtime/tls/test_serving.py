"""A listening port that speaks TLS: who fails in the handshake is told of, and holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from tests.certificates import Certificates
from tests.runtime.conftest import run, until

from coterie.runtime.addresses import listen
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.alpn import MEMBER_PORT, MEMBERS
from coterie.runtime.tls.dialling import Dial, WrongMember
from coterie.runtime.tls.names import Certified, agreed_protocol, certified
from coterie.runtime.tls.reloading import TlsSide
from coterie.runtime.tls.serving import TlsServer

Told = Callable[[], list[str]]


class Greeter(asyncio.Protocol):
    """Says hello after the handshake, and remembers who came."""

    came: Certified | None = None
    protocol: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Greeter.came = certified(transport)
        Greeter.protocol = agreed_protocol(transport)
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        transport.write(b"hello")


@contextlib.asynccontextmanager
async def serving(
    certificates: Certificates, name: str = "n1", *, oldest: str = "1.3", patience: float = 5.0, most: int = 256
) -> AsyncIterator[tuple[TlsServer, int]]:
    files = msgspec.structs.replace(certificates.files(name), min_version=oldest)
    side = TlsSide(files, Lines("n1"), MEMBER_PORT, member=name, shown_as_client=True)
    (listener,) = listen("127.0.0.1:0", "for a test")
    port = listener.getsockname()[1]
    server = TlsServer(listener, Greeter, Lines("n1"), side, handshake_timeout_s=patience, max_pending=most)
    try:
        yield server, port
    finally:
        server.close()
        await until(lambda: listener.fileno() < 0)


async def greeted(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return await reader.read(5)
    finally:
        writer.close()


def refusals(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("tls-refused")]


def test_who_shows_a_certificate_of_the_ca_is_served_and_known_by_name(certificates: Certificates, lines: Told) -> None:
    async def work() -> None:
        async with serving(certificates) as (_, port):
            assert await greeted(port, certificates.context("n2", alpn=MEMBERS)) == b"hello"

    run(work)
    assert Greeter.came is not None
    assert Greeter.came.may_be("n2")
    assert not Greeter.came.may_be("n1")
    assert Greeter.came.common_name == "n2"
    assert Greeter.protocol == MEMBERS
    assert refusals(lines()) == []


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ("plain", "it speaks plain text"),
        ("http", "it speaks plain text"),
        ("nobody", "it showed no certificate"),
        ("foreign", "another CA made it"),
        ("expired", "it has expired"),
        ("old", "no version of TLS"),
        ("hasty", "it hung up"),
    ],
)
def test_a_failed_handshake_is_one_clear_line_and_the_next_one_is_served(
    certificates: Certificates, lines: Told, who: str, reason: str
) -> None:
    def fail(port: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain:
            if who == "plain":
                plain.sendall(b"\0coterie-member\1" + bytes(20))
            elif who == "http":
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            if who in ("plain", "http"):
                plain.recv(100)
                return
            context = {
                "foreign": certificates.context("n2", certificates.abroad),
                "expired": certificates.context("n1", certificates.expired),
            }.get(who, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
            context.check_hostname = False
            context.load_verify_locations(certificates.home / "ca.crt")
            if who == "old":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
            if who != "hasty":
                with context.wrap_socket(plain) as wrapped:
                    wrapped.recv(100)

    async def work() -> None:
        async with serving(certificates) as (server, port):
            for _ in range(3):
                await asyncio.to_thread(fail, port)
            await until(lambda: refusals(lines()) and not server.pending)
            assert await greeted(port, certificates.context("n2")) == b"hello"

    run(work)
    told = refusals(lines())
    assert len(told) == 1, told  # The same host, for the same reason: once a minute.
    assert reason in told[0]
    assert "source=127.0.0.1:" in told[0] or 'source="127.0.0.1:' in told[0]


def test_1_2_is_spoken_where_it_is_allowed(certificates: Certificates) -> None:
    async def work() -> None:
        context = certificates.context("n2")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with serving(certificates, oldest="1.2") as (_, port):
            assert await greeted(port, context) == b"hello"

    run(work)
    assert Greeter.came is not None
    assert Greeter.came.may_be("n2")


def test_a_silent_handshake_ends_in_time(certificates: Certificates, lines: Told) -> None:
    async def work() -> None:
        async with serving(certificates, patience=0.1) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
            await until(lambda: not server.pending)

    run(work)
    assert ["no whole TLS handshake in time" in line for line in refusals(lines())] == [True]


def test_silent_handshakes_keep_nobody_out(certificates: Certificates, lines: Told) -> None:
    async def work() -> None:
        async with serving(certificates, most=4) as (server, port):
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
            await until(lambda: any("tls-handshakes-full" in line for line in lines()))
            assert await greeted(port, certificates.context("n2")) == b"hello"
            assert server.pending <= 4
            assert await silent[0][0].read() == b""  # The oldest was ended.
            for _, writer in silent:
                writer.close()

    run(work)


def test_a_closed_server_takes_nobody_and_ends_handshakes_under_way(certificates: Certificates) -> None:
    async def work() -> None:
        async with serving(certificates) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: server.pending == 1)
            server.close()
            assert await reader.read() == b""
            writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(work)


def test_a_member_says_nothing_to_one_who_is_not_whom_it_wants(certificates: Certificates) -> None:
    async def work() -> None:
        dial = Dial(TlsSide(certificates.files("n1"), Lines("n1"), MEMBER_PORT, member="n1", shown_as_client=True))
        async with serving(certificates, "n2") as (_, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=dial.context)
            dial.check(writer.transport, "n2")
            with pytest.raises(WrongMember, match="its certificate is for n2, localhost, not for n3"):
                dial.check(writer.transport, "n3")
            with pytest.raises(WrongMember, match="not for localhos"):
                dial.check(writer.transport, "localhos")
            writer.close()
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.context("n1"))
            with pytest.raises(WrongMember, match="not as members do"):
                dial.check(writer.transport, "n2")
            writer.close()

    run(work)


def test_a_member_tells_a_foreign_ca_from_a_plain_port(certificates: Certificates) -> None:
    async def work() -> None:
        ours = certificates.files("n1", ca=certificates.abroad)
        dial = Dial(TlsSide(ours, Lines("n1"), MEMBER_PORT, member="n1", shown_as_client=True))
        async with serving(certificates, "n2") as (_, port):
            with pytest.raises(ssl.SSLError) as refused:
                await asyncio.open_connection("127.0.0.1", port, ssl=dial.context)
            assert "another CA made it than the one that is trusted here" in dial.told(refused.value)
        plain = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with plain:
            port = plain.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionResetError) as hung_up:
                await asyncio.open_connection("127.0.0.1", port, ssl=dial.context)
            assert "its port may speak plain text" in dial.told(hung_up.value)

    run(work)
