"""What one member says of itself: one connection, one question."""

from __future__ import annotations

import socket
import time

import msgspec

import coterie
from coterie.client.frames import PREFIX_BYTES, frame
from coterie.client.tls import ClientTls
from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Answer,
    AskStatus,
    Hello,
    NodeStatus,
    response_decoder,
)
from coterie.runtime.addresses import AddressError, split_address

STATUS_TIMEOUT_S = 1.0


def ask_status(address: str, timeout: float = STATUS_TIMEOUT_S, tls: ClientTls | None = None) -> NodeStatus | None:
    """What the node at a client address says of itself, or None if it does not say so in time.

    It asks this one member and no other, which is not what a client does.
    """
    deadline = time.monotonic() + timeout
    try:
        with _dial(address, timeout, tls) as link:
            hello, ask = Hello(PROTOCOL_VERSION, f"coterie status {coterie.__version__}"), AskStatus(1)
            link.sendall(CLIENT_MAGIC + frame(hello) + frame(ask))
            while True:
                link.settimeout(max(0.001, deadline - time.monotonic()))
                length = int.from_bytes(_exactly(link, PREFIX_BYTES, deadline), "big")
                if length > MAX_FRAME_BYTES:
                    return None
                response = response_decoder.decode(_exactly(link, length, deadline))
                if isinstance(response, Answer):
                    return msgspec.msgpack.decode(response.body, type=NodeStatus)
    except (OSError, EOFError, AddressError, msgspec.DecodeError):
        return None


def _dial(address: str, timeout: float, tls: ClientTls | None) -> socket.socket:
    host, port = split_address(address)
    plain = socket.create_connection((host, port), timeout)
    if tls is None:
        return plain
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return tls.context().wrap_socket(plain, server_hostname=tls.host(host))
    except BaseException:
        plain.close()
        raise


def _exactly(link: socket.socket, count: int, deadline: float) -> bytes:
    """The next `count` bytes. Raises `EOFError`, `OSError`, and `TimeoutError` past the deadline."""
    data = bytearray()
    while len(data) < count:
        if time.monotonic() > deadline:
            raise TimeoutError
        piece = link.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
