"""Whatever strangers send to the ports of a live cluster: it is refused in one line, and clients feel nothing."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
import pytest
from tests.contract.processes.cluster import PATIENT, Cluster, alive, cluster, lines_with, resident_bytes, status_of
from tests.contract.processes.load import Load, read_everywhere
from tests.runtime.cluster import Process, until

from coterie.engine.protocol import CLIENT_MAGIC, MAX_FRAME_BYTES, PROTOCOL_VERSION, Hello, Submit
from coterie.engine.protocol import encoder as client_encoder
from coterie.runtime.addresses import split_address
from coterie.runtime.frames import pack_length
from coterie.runtime.handshake import (
    GROUP_PREFIX,
    MAX_HANDSHAKE_BYTES,
    MAX_PEER_FRAME_BYTES,
    PEER_MAGIC,
    PeerHello,
    PeerRefused,
    PeerWelcome,
    RefusalCode,
    decode_handshake,
    frame_handshake,
)

pytestmark = pytest.mark.any_protocol

MIB = 1 << 20


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that none of these tests may harm."""
    with cluster(tmp_path_factory.mktemp("live"), flags=PATIENT) as members:
        members.ready()
        yield members


@contextmanager
def unharmed(members: Cluster) -> Iterator[Load]:
    """Clients work meanwhile: no operation fails, the history is right, each process is the same as before."""
    before = [(status.pid, status.boot) for node in members.nodes if (status := node.status()) is not None]
    with Load(members.endpoints, workers=2, keys=(f"k{random.random()}".encode(),)) as load:
        load.progress(5)
        yield load
        load.progress(5)
    assert load.history.failures == []
    read_everywhere(load.history, [node.client for node in members.nodes], [load.history.seen[0].key])
    assert load.history.problems() == []
    assert all(alive(node) for node in members.nodes)
    assert [(status_of(node).pid, status_of(node).boot) for node in members.nodes] == before
    for node in members.nodes:
        assert "Traceback" not in node.lines()
        assert "engine-failed" not in node.lines()


def send(address: str, data: bytes, *, end: bool = True) -> tuple[bytes, str]:
    """Send, end our side if wanted, and wait until the other closes; what came back, and who we were."""
    with socket.create_connection(split_address(address), 10) as link:
        host, port = link.getsockname()
        received = b""
        try:
            link.sendall(data)
            if end:
                link.shutdown(socket.SHUT_WR)
            while piece := link.recv(65536):
                received += piece
        except ConnectionError:
            pass
        return received, f"{host}:{port}"


def refused(node: Process, address: str, data: bytes, event: str) -> None:
    """The node closes such a stream by itself, and says so in a line that names where it came from.

    Again until it does: after a flood it leaves lines out for the rest of the second.
    """

    def told() -> list[str]:
        _, source = send(address, data, end=False)
        return lines_with(node, event, f"source={source}", "problem=")

    until(told, 5)


def garbage(rng: random.Random, magic: bytes, hello: bytes) -> bytes:
    """A stream that goes wrong: at the magic, the length, the handshake, or after it."""
    body = rng.randbytes(rng.randint(0, 300))
    if rng.randrange(2):
        body = msgspec.msgpack.encode([rng.randint(0, 20), *[rng.randbytes(3) for _ in range(rng.randint(0, 9))]])
    length = (len(body), 0, len(body) + 1, 2**31, 2**32 - 1)[rng.randrange(5)]
    frame = struct.pack(">I", length) + body
    whole = magic + hello + frame
    return (rng.randbytes(50), magic + frame, whole, whole[: rng.randint(1, len(whole))])[rng.randrange(4)]


def test_malformed_truncated_oversized_and_random_frames_on_every_port(live: Cluster) -> None:
    rng = random.Random(5)
    hello = client_encoder.encode(Hello(PROTOCOL_VERSION, "fuzz"))
    client_hello = pack_length(len(hello)) + hello
    held = [resident_bytes(node) for node in live.nodes]
    with unharmed(live):
        for _ in range(60):
            for node in live.nodes:
                send(node.client, garbage(rng, CLIENT_MAGIC, client_hello))
                send(node.peer, garbage(rng, PEER_MAGIC, frame_handshake(stranger(node))))
        for node in live.nodes:
            assert lines_with(node, "client-malformed")
            assert lines_with(node, "peer-malformed")
    for node, before in zip(live.nodes, held, strict=True):
        assert resident_bytes(node) - before < 24 * MIB


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_are_awaited(live: Cluster) -> None:
    node = live.nodes[0]
    hello = client_encoder.encode(Hello(PROTOCOL_VERSION, "fuzz"))
    cases = [
        (node.client, CLIENT_MAGIC + struct.pack(">I", MAX_FRAME_BYTES + 1), "client-malformed"),
        (node.client, CLIENT_MAGIC + pack_length(len(hello)) + hello + b"\xff" * 4, "client-malformed"),
        (node.peer, PEER_MAGIC + struct.pack(">I", MAX_HANDSHAKE_BYTES + 1), "peer-malformed"),
    ]
    with unharmed(live):
        for address, data, event in cases:
            refused(node, address, data, event)
        with closing(socket.create_connection(split_address(node.peer), 10)) as link:
            assert isinstance(handshake(link, stranger(node)), PeerWelcome)
            link.sendall(struct.pack(">I", MAX_PEER_FRAME_BYTES + 1))
            assert link.recv(1) == b""


def test_half_frames_that_are_never_finished_hold_no_memory_to_speak_of(live: Cluster) -> None:
    node = live.nodes[1]
    held = resident_bytes(node)
    links: list[socket.socket] = []
    hello = client_encoder.encode(Hello(PROTOCOL_VERSION, "slow"))
    try:
        with unharmed(live):
            for _ in range(100):
                link = socket.create_connection(split_address(node.client), 10)
                links.append(link)
                link.sendall(CLIENT_MAGIC + pack_length(len(hello)) + hello + struct.pack(">I", MAX_FRAME_BYTES) + b"x")
            for _ in range(50):
                link = socket.create_connection(split_address(node.peer), 10)
                links.append(link)
                link.sendall(PEER_MAGIC + struct.pack(">I", MAX_HANDSHAKE_BYTES) + b"x")
            for link in links[100:]:
                assert link.recv(1) == b"", "a handshake that takes too long is cut off"
            assert lines_with(node, "peer-handshake-timeout")
        assert resident_bytes(node) - held < 24 * MIB
    finally:
        for link in links:
            link.close()


def test_a_request_that_is_too_large_or_of_another_machine_fails_alone(live: Cluster) -> None:
    node = live.nodes[0]
    hello = client_encoder.encode(Hello(PROTOCOL_VERSION, "large"))
    with unharmed(live):
        for command in (bytes(2 * MIB), b"\xc1 no command at all", b""):
            request = client_encoder.encode(Submit(2, 0, 0, 0, command))
            opening = CLIENT_MAGIC + pack_length(len(hello)) + hello
            answered, _ = send(node.client, opening + pack_length(len(request)) + request)
            assert len(answered) > 20, "a welcome, and a failure that says why"


# The handshake between members


def stranger(node: Process, **changes: int | str) -> PeerHello:
    """A correct greeting from a member that nobody knows, but for the changes."""
    status = status_of(node)
    fields: dict[str, int | str] = {
        "major": 1,
        "minor": 0,
        "cluster": status.cluster,
        "member": random.getrandbits(63) | 1,
        "name": "stranger",
        "boot": 1,
        "process": random.getrandbits(64),
        "protocol": status.protocol,
        "target": status.member,
    }
    return PeerHello(**(fields | changes))  # type: ignore[arg-type]  # the names and types stand above


def handshake(link: socket.socket, hello: PeerHello) -> object:
    link.sendall(PEER_MAGIC + frame_handshake(hello))
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        piece = link.recv(4096)
        assert piece, "closed without an answer"
        data += piece
    return decode_handshake(data[4:])


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"major": 2, "minor": 3}, RefusalCode.OTHER_VERSION, "run the same major version of Coterie on all members"),
        ({"protocol": "zab"}, RefusalCode.OTHER_PROTOCOL, "all members must run the same protocol"),
        ({"cluster": 0xBAD}, RefusalCode.OTHER_CLUSTER, "check the addresses and data directories"),
        ({"target": 0xBAD}, RefusalCode.OTHER_MEMBER, "an address is wrong"),
    ],
)
def test_a_member_that_does_not_belong_is_told_why_and_what_to_do(
    live: Cluster, changes: dict[str, int | str], code: RefusalCode, says: str
) -> None:
    with unharmed(live):
        for node in live.nodes:
            with closing(socket.create_connection(split_address(node.peer), 10)) as link:
                answer = handshake(link, stranger(node, **changes))
                assert isinstance(answer, PeerRefused)
                assert answer.code == code
                assert "stranger" in answer.message
                assert says in answer.message
                assert link.recv(1) == b"", "it is closed after the refusal"
                host, port = link.getsockname()
            assert lines_with(node, "peer-refused", says, f"source={host}:{port}")


def test_a_copy_of_a_member_cannot_take_its_place(live: Cluster) -> None:
    """Its id, but an older boot, or another process of the same boot."""
    receiver, copied = live.nodes[0], status_of(live.nodes[1])
    with unharmed(live):
        for boot in (copied.boot - 1, copied.boot):
            with closing(socket.create_connection(split_address(receiver.peer), 10)) as link:
                answer = handshake(link, stranger(receiver, member=copied.member, name=copied.name, boot=boot))
                assert isinstance(answer, PeerRefused)
                assert answer.code == RefusalCode.OLD_BOOT
                assert "copy" in answer.message
        with closing(socket.create_connection(split_address(receiver.peer), 10)) as link:
            answer = handshake(link, stranger(receiver, member=status_of(receiver).member))
            assert isinstance(answer, PeerRefused)
            assert answer.code == RefusalCode.OWN_ID


def test_garbage_after_a_good_handshake_closes_that_stream_alone(live: Cluster) -> None:
    rng = random.Random(6)
    with unharmed(live):
        for node in live.nodes:
            for group in (GROUP_PREFIX, b"\0\0\0\7"):
                for _ in range(10):
                    with closing(socket.create_connection(split_address(node.peer), 10)) as link:
                        assert isinstance(handshake(link, stranger(node)), PeerWelcome)
                        body = group + rng.randbytes(rng.randint(1, 200))
                        link.sendall(pack_length(len(body)) + body)
                        assert link.recv(1) == b""


def test_the_wrong_port_says_that_it_is_the_wrong_port(live: Cluster) -> None:
    """A client that talks to the members' port, a member to the clients', a browser to either."""
    node = live.nodes[2]
    with unharmed(live):
        refused(node, node.peer, CLIENT_MAGIC, "peer-malformed")
        refused(node, node.peer, b"GET / HTTP/1.1\r\n\r\n", "peer-malformed")
        refused(node, node.client, PEER_MAGIC, "client-malformed")
        refused(node, node.client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "client-malformed")
        answer, _ = send(node.client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", end=False)
        assert answer.startswith(b"HTTP/1.1 200 ")
