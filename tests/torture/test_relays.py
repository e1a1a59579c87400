"""A relay passes bytes on; late, if it is told so, and not at all while the wire is cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from coterie.runtime.handshake import PEER_MAGIC, PeerHello, frame_handshake
from coterie.torture.hosts import free_port_block
from coterie.torture.relays import RETRANSMIT_S, Wires

HELLO = PeerHello(
    major=1, minor=0, cluster=1, member=1, name="n1", boot=1, process=1, protocol="raft", target=2, claim=0
)
LATE_MS = 500
"""Each way; a machine that is busy may take half of that for a round trip by itself."""


class Line:
    """A stream of member n1 through a relay to n2, which sends back what it gets."""

    def __init__(self, wires: Wires) -> None:
        self.wires = wires
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._echo, daemon=True).start()
        port = free_port_block(1)
        wires.relay("n2", f"127.0.0.1:{port}", f"127.0.0.1:{self._server.getsockname()[1]}")
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self.opening = PEER_MAGIC + frame_handshake(HELLO)
        self._socket.sendall(self.opening)
        self.receive(len(self.opening))

    def _echo(self) -> None:
        with self._server.accept()[0] as accepted:
            while data := accepted.recv(65536):
                accepted.sendall(data)

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self._socket.recv(count - len(data))
        return data

    def round_trip(self) -> float:
        """Seconds."""
        began = time.monotonic()
        self._socket.sendall(b"ping")
        assert self.receive(4) == b"ping"
        return time.monotonic() - began

    def silent(self, seconds: float) -> bool:
        """Nothing arrives for so long."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(1)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(10)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()
        self._server.close()


@pytest.fixture
def line() -> Iterator[Line]:
    wires = Wires()
    try:
        made = Line(wires)
        yield made
        made.close()
    finally:
        wires.close()


def test_what_an_impaired_member_sends_and_gets_is_late_until_that_is_over(line: Line) -> None:
    assert line.round_trip() < 2 * LATE_MS / 1000
    line.wires.impair("n1", delay_ms=LATE_MS)
    assert line.round_trip() >= 2 * LATE_MS / 1000
    line.wires.impair("n1")
    assert line.round_trip() < 2 * LATE_MS / 1000


def test_what_is_lost_comes_as_late_as_tcp_sends_it_again(line: Line) -> None:
    line.wires.impair("n2", loss_percent=100)
    assert line.round_trip() >= 2 * RETRANSMIT_S


def test_a_cut_wire_is_silent_and_loses_nothing(line: Line) -> None:
    line.wires.cut("n1", ["n2"])
    line.send(b"held")
    assert line.silent(0.3)
    line.wires.mend("n1", ["n2"])
    assert line.receive(4) == b"held"
