"""Round trips over TCP: the time to connect, or, to a member of Coterie that runs, of a question and its answer."""

from __future__ import annotations

import math
import socket
import statistics
import time
from collections.abc import Sequence
from typing import Final

import msgspec

import coterie
from coterie.client.frames import PREFIX_BYTES, frame
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Answer,
    AskStatus,
    Hello,
    Response,
    response_decoder,
)
from coterie.lab.errors import LabError
from coterie.runtime.addresses import AddressError, join_address, split_address

DEFAULT_PORT: Final = 2379
SAMPLES: Final = 50
QUICK_SAMPLES: Final = 15
PATIENCE_S: Final = 3.0
"""For one connection, and for one answer."""
MAX_JITTER: Final = 1.0
ANSWER, CONNECT = "answers of a member", "connections"


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured to one address. Times in ms."""

    address: str
    by: str
    samples: tuple[float, ...]
    """In the order in which they were taken."""

    @property
    def median(self) -> float:
        """What goes into the matrix."""
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        """The distance without any waiting."""
        return min(self.samples)

    @property
    def excess(self) -> float:
        """What they take beyond the least, as a share of it: the mean of the exponential that has this median, for the
        mean of the samples would be that of a few that a busy machine held up."""
        return (self.median / self.least - 1) / math.log(2) if self.least > 0 else 0.0

    @property
    def drift(self) -> float:
        """By how much the medians of the first and the second half differ, ms."""
        half = len(self.samples) // 2
        return abs(statistics.median(self.samples[:half]) - statistics.median(self.samples[half:]))


def address_of(host: str) -> str:
    """HOST or HOST:PORT as host:port. Raises `AddressError`."""
    try:
        where, port = split_address(host)
    except AddressError:
        where, port = split_address(f"{host}:{DEFAULT_PORT}")
    if port == 0:
        raise AddressError(f"{host!r}: the port must be from 1 to 65535")
    return join_address(where, port)


def measure(host: str, samples: int = SAMPLES) -> Trip:
    """Round trips to a host. Raises `LabError` if nothing answers there, and `AddressError`."""
    address = address_of(host)
    try:
        return Trip(address=address, by=ANSWER, samples=tuple(_answers(address, samples)))
    except (OSError, EOFError, msgspec.DecodeError):
        pass  # Something else listens there, or nothing: that shows next.
    try:
        return Trip(address=address, by=CONNECT, samples=tuple(_connects(address, samples)))
    except OSError as error:
        raise LabError(
            f"{address}: {error.strerror or error}; name a port where something listens (a member of Coterie, sshd)"
        ) from None


def _connects(address: str, samples: int) -> list[float]:
    """The kernel answers a connection at once, whatever runs there: one round trip."""
    where = socket.getaddrinfo(*split_address(address), type=socket.SOCK_STREAM)[0]
    found = []
    for _ in range(samples):
        with socket.socket(where[0], where[1]) as link:
            link.settimeout(PATIENCE_S)
            before = time.perf_counter()
            link.connect(where[4])
            found.append((time.perf_counter() - before) * 1000)
    return found


def _answers(address: str, samples: int) -> list[float]:
    """A member says what it knows of itself: one round trip, and a step of its process."""
    found = []
    with socket.create_connection(split_address(address), PATIENCE_S) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(CLIENT_MAGIC + frame(Hello(PROTOCOL_VERSION, f"coterie lab {coterie.__version__}")))
        for number in range(1, samples + 1):
            before = time.perf_counter()
            link.sendall(frame(AskStatus(number)))
            while not isinstance(_response(link), Answer):
                pass
            found.append((time.perf_counter() - before) * 1000)
    return found


def _response(link: socket.socket) -> Response:
    length = int.from_bytes(_exactly(link, PREFIX_BYTES), "big")
    if length > MAX_FRAME_BYTES:
        raise EOFError
    return response_decoder.decode(_exactly(link, length))


def _exactly(link: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = link.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def jitter_of(trips: Sequence[Trip]) -> float:
    """Of the matrix: the median of the hosts'."""
    return min(MAX_JITTER, statistics.median(trip.excess for trip in trips)) if trips else 0.05
