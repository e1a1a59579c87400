"""A cluster of real processes that speaks TLS, and those whom it refuses: it goes on, and both sides say why."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from tests.certificates import DAY, Certificates, issue
from tests.runtime.cluster import FAST, Process, processes, until

from coterie.client.asynchronous import AsyncClient, connect_async
from coterie.client.blocking import Client, connect
from coterie.client.config import ClientConfig
from coterie.client.errors import Unavailable
from coterie.client.one_status import ask_status
from coterie.client.tls import ClientTls, TlsConfig
from coterie.core.errors import ConfigurationError
from coterie.core.types import Member
from coterie.engine.first_start import Introduction
from coterie.engine.protocol import NodeStatus
from coterie.runtime.addresses import split_address
from coterie.runtime.frames import LENGTH_BYTES
from coterie.runtime.handshake import (
    MAJOR,
    MINOR,
    PEER_MAGIC,
    HandshakeFrame,
    PeerHello,
    PeerRefused,
    RefusalCode,
    decode_handshake,
    frame_handshake,
)
from coterie.runtime.tls.alpn import MEMBERS

T = TypeVar("T")
AT_ONCE = ClientConfig(give_up_unreachable=True, follow_members=False)


def value_of(client: Client, key: str) -> bytes | None:
    found = client.get(key)
    return found.value if found is not None else None


class Cluster:
    """Three nodes whose files are in a place of their own, and can be changed."""

    def __init__(self, nodes: list[Process], place: Path, certificates: Certificates) -> None:
        self.nodes = nodes
        self.place = place
        self.certificates = certificates
        self.endpoints = ",".join(node.client for node in nodes)
        self.tls = certificates.client()
        for node in nodes:
            for end in ("crt", "key"):
                shutil.copy(certificates.home / f"{node.name}.{end}", place)
            node.arguments += self.flags(node.name)

    def flags(self, name: str) -> list[str]:
        ca = str(self.certificates.home / "ca.crt")
        cert, key = str(self.place / f"{name}.crt"), str(self.place / f"{name}.key")
        flags = []
        for side in ("client", "peer"):
            flags += [f"--{side}-cert", cert, f"--{side}-key", key, f"--{side}-ca", ca]
        return flags

    def status(self, node: Process) -> NodeStatus | None:
        return ask_status(node.client, tls=ClientTls(self.tls))

    def works(self) -> bool:
        with connect(self.endpoints, tls=self.tls) as client:
            client.put("key", "value")
            return value_of(client, "key") == b"value"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    (directory / "files").mkdir()
    with processes(directory, 3, FAST) as nodes:
        made = Cluster(nodes, directory / "files", certificates)
        for node in nodes:
            node.start()
        until(lambda: all((said := made.status(node)) is not None and said.leader for node in nodes))
        yield made


def new_lines(node: Process) -> Callable[[], str]:
    """The node's log lines from now on."""
    before = len(node.lines())
    return lambda: node.lines()[before:]


def blocking(endpoints: str, tls: TlsConfig | None, work: Callable[[Client], T]) -> T:
    with connect(endpoints, AT_ONCE, tls=tls) as client:
        return work(client)


def through_asyncio(endpoints: str, tls: TlsConfig | None) -> bytes | None:
    async def work() -> bytes | None:
        client: AsyncClient
        async with connect_async(endpoints, AT_ONCE, tls=tls) as client:
            await client.put("asyncio", "yes", timeout=5)
            found = await client.get("asyncio", timeout=5)
            return found.value if found is not None else None

    return asyncio.run(work())


def test_both_shells_work_and_large_values_arrive_whole(cluster: Cluster) -> None:
    large = bytes(range(256)) * 4000

    def both(client: Client) -> list[bytes | None]:
        client.put("large", large)
        client.put("empty", b"")
        return [value_of(client, "large"), value_of(client, "empty")]

    assert blocking(cluster.nodes[0].client, cluster.tls, both) == [large, b""]
    assert through_asyncio(cluster.endpoints, cluster.tls) == b"yes"


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_health_is_told_over_https(cluster: Cluster, alpn: str | None) -> None:
    context = cluster.certificates.context("client", alpn=alpn)
    where = split_address(cluster.nodes[0].client)
    with socket.create_connection(where, 5) as plain, context.wrap_socket(plain) as wrapped:
        assert wrapped.selected_alpn_protocol() == alpn
        wrapped.sendall(b"GET /health HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n")
        answer = bytearray()
        while piece := wrapped.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert cluster.works()


@pytest.mark.parametrize(
    ("who", "told", "logged"),
    [
        ("plain", "if its port speaks TLS", "it speaks plain text"),
        ("nobody", "it may ask for a client's certificate, and none was given", "it showed no certificate"),
        ("foreign", "it may not trust the certificate that it was shown|does not trust", "another CA made it"),
        ("distrusting", "another CA made it than the one that is trusted here", "does not trust|hung up"),
        ("elsewhere", "is not valid for 'elsewhere'", "does not trust|hung up|bad certificate"),
    ],
)
@pytest.mark.parametrize("shell", ["blocking", "asyncio"])
def test_a_client_that_is_refused_learns_what_to_do_and_the_member_logs_a_line(
    cluster: Cluster, who: str, told: str, logged: str, shell: str
) -> None:
    home, abroad = cluster.certificates.home, cluster.certificates.abroad
    tls = {
        "plain": None,
        "nobody": TlsConfig(ca=str(home / "ca.crt")),
        "foreign": cluster.certificates.client(abroad),
        "distrusting": TlsConfig(ca=str(abroad / "ca.crt")),
        "elsewhere": msgspec.structs.replace(cluster.tls, server_name="elsewhere"),
    }[who]
    node = cluster.nodes[0 if shell == "blocking" else 1]
    lines = new_lines(node)

    def call() -> None:
        if shell == "blocking":
            blocking(node.client, tls, lambda client: client.get("key", timeout=5))
        else:
            through_asyncio(node.client, tls)

    with pytest.raises(Unavailable, match=told):
        call()
    # The same line for another case may have been told already, less than a minute ago.
    until(lambda: any(reason in node.lines() for reason in logged.split("|")))
    assert lines().count("tls-refused") <= 1
    assert cluster.works()


def test_a_clients_expired_certificate_is_refused_at_both_ends(cluster: Cluster) -> None:
    expired = cluster.certificates.client(cluster.certificates.expired)
    with pytest.raises(ConfigurationError, match=r"tls cert is .*: it expired on .*: renew it"):
        connect(cluster.nodes[2].client, tls=expired)
    node = cluster.nodes[2]
    context = cluster.certificates.context("client", cluster.certificates.expired)
    with socket.create_connection(split_address(node.client), 5) as plain, context.wrap_socket(plain) as wrapped:
        assert wrapped.recv(10) == b""
    until(lambda: "its certificate is refused: it has expired" in node.lines())
    assert cluster.works()


def ask_as(cluster: Cluster, name: str, node: Process, question: HandshakeFrame) -> HandshakeFrame:
    """Open a stream to a member with the certificate of `name`, and ask."""
    context = cluster.certificates.context(name, alpn=MEMBERS)
    with socket.create_connection(split_address(node.peer), 5) as plain, context.wrap_socket(plain) as wrapped:
        wrapped.sendall(PEER_MAGIC + frame_handshake(question))
        data = bytearray()
        while piece := wrapped.recv(65536):
            data += piece
        return decode_handshake(bytes(data[LENGTH_BYTES:]))


@pytest.mark.parametrize("certificate", ["n3", "client"])
def test_a_certificate_does_not_open_another_members_place(cluster: Cluster, certificate: str) -> None:
    node, other = cluster.nodes[0], cluster.nodes[1]
    own, spoken_for = cluster.status(node), cluster.status(other)
    assert own is not None
    assert spoken_for is not None
    hello = PeerHello(
        MAJOR, MINOR, own.cluster, spoken_for.member, "n2", 1000, 7, own.protocol, own.member, 0, other.peer
    )
    lines = new_lines(node)
    refused = ask_as(cluster, certificate, node, hello)
    assert isinstance(refused, PeerRefused)
    assert refused.code == RefusalCode.OTHER_NAME
    assert "a member says that it is n2, but its certificate is for" in refused.message
    assert lines().count("peer-refused") == 1
    assert cluster.works()


def test_a_member_with_its_own_certificate_may_not_take_anothers_id(cluster: Cluster) -> None:
    node, other = cluster.nodes[0], cluster.nodes[1]
    own, spoken_for = cluster.status(node), cluster.status(other)
    assert own is not None
    assert spoken_for is not None
    hello = PeerHello(MAJOR, MINOR, own.cluster, spoken_for.member, "n3", 1000, 7, own.protocol, own.member)
    refused = ask_as(cluster, "n3", node, hello)
    assert isinstance(refused, PeerRefused)
    assert refused.code == RefusalCode.OTHER_NAME
    assert "n3 comes with the id of n2" in refused.message
    assert cluster.works()


def test_an_introduction_needs_the_certificate_of_its_name_too(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    other = Member(5, "n2", cluster.nodes[1].peer, cluster.nodes[1].client)
    refused = ask_as(cluster, "n3", node, Introduction(other, (("n2", other.peer),), b""))
    assert isinstance(refused, PeerRefused)
    assert refused.code == RefusalCode.OTHER_NAME


def test_a_plain_stream_to_the_members_port_is_refused_with_a_line(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    with socket.create_connection(split_address(node.peer), 5) as plain:
        plain.sendall(PEER_MAGIC + bytes(64))
        assert plain.recv(100) == b""
    until(lambda: "it speaks plain text, this port speaks TLS" in node.lines())
    assert cluster.works()


def test_tls_to_a_plain_port_is_refused_with_a_line_at_both_ends(tmp_path: Path, certificates: Certificates) -> None:
    with processes(tmp_path, 1, FAST) as (node,):
        node.start()
        until(lambda: (said := node.status()) is not None and said.leader)
        with pytest.raises(Unavailable, match="its port may speak plain text"):
            blocking(node.client, certificates.client(), lambda client: client.get("key", timeout=5))
        with pytest.raises(Unavailable, match="its port may speak plain text"):
            through_asyncio(node.client, certificates.client())
        until(lambda: "the stream opens as TLS does; this port speaks plain text" in node.lines())
        with socket.create_connection(split_address(node.peer), 5) as plain, pytest.raises((ssl.SSLError, OSError)):
            certificates.context("n2").wrap_socket(plain)
        until(lambda: "this port speaks plain text (see peer_cert)" in node.lines())
        with connect(node.client) as client:
            client.put("key", "value")
            assert value_of(client, "key") == b"value"


def test_members_of_which_some_speak_tls_and_some_do_not_say_so_and_wait(
    tmp_path: Path, certificates: Certificates
) -> None:
    (tmp_path / "files").mkdir()
    with processes(tmp_path, 2, FAST) as nodes:
        spoken, plain = nodes
        mixed = Cluster([spoken], tmp_path / "files", certificates)
        spoken.start()
        plain.start()
        until(lambda: "if it speaks TLS, this member must, too: see peer_cert" in plain.lines())
        until(lambda: "it speaks plain text, this port speaks TLS" in spoken.lines())
        until(lambda: "its port may speak plain text" in spoken.lines())
        plain.kill()
        for end in ("crt", "key"):
            shutil.copy(certificates.home / f"n2.{end}", mixed.place)
        plain.start(*mixed.flags("n2"))
        until(lambda: (said := mixed.status(spoken)) is not None and said.leader)
        assert mixed.works()


def serial_at(cluster: Cluster, node: Process) -> bytes | None:
    """The certificate that the clients' port shows."""
    context = cluster.certificates.context("client")
    with socket.create_connection(split_address(node.client), 5) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.getpeercert(binary_form=True)


def test_changed_files_are_used_without_a_restart_and_broken_ones_are_not(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    before = serial_at(cluster, node)
    lines = new_lines(node)
    with connect(node.client, AT_ONCE, tls=cluster.tls) as standing:
        standing.put("standing", "1")
        issue(cluster.certificates.home, cluster.place, node.name, ends=90 * DAY)
        until(lambda: serial_at(cluster, node) != before)
        after = serial_at(cluster, node)
        assert "certificate-read" in lines()
        (cluster.place / f"{node.name}.crt").write_text("broken")
        until(lambda: "certificate-not-taken" in lines())
        assert serial_at(cluster, node) == after
        assert value_of(standing, "standing") == b"1"
    assert cluster.works()


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--peer-cert", "{expired}/n1.crt", "--peer-key", "{expired}/n1.key"], "peer_cert is .* it expired on"),
        (["--peer-cert", "{home}/n2.crt", "--peer-key", "{home}/n2.key"], "it is not n1's"),
        (["--client-key", "{home}/n2.key"], "client_key is .* does not belong to the certificate in client_cert"),
        (["--client-ca", "{home}/none.crt"], "client_ca is .* it cannot be read: No such file"),
        (["--tls-min-version", "1.0"], "tls_min_version is '1.0': it must be one of: 1.2, 1.3"),
    ],
)
def test_a_node_with_files_that_cannot_be_used_does_not_start_and_says_why(
    tmp_path: Path, certificates: Certificates, flags: list[str], problem: str
) -> None:
    (tmp_path / "files").mkdir()
    with processes(tmp_path, 1, FAST) as nodes:
        Cluster(nodes, tmp_path / "files", certificates)
        (node,) = nodes
        node.start(*(flag.format(home=certificates.home, expired=certificates.expired) for flag in flags))
        assert node.wait() == 2
        assert len(node.lines().splitlines()) == 1
        assert re.search(problem, node.lines()), node.lines()
        assert not node.data.exists()
