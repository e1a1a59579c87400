"""Where members run: addresses, ports, and waiting for what becomes of them."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable

import msgspec

FIRST_PORT, LAST_PORT = 12000, 32000
"""Below those that the kernel gives to outgoing connections (from 32768 on): else one of these could take the port
of a member that is down."""
_POLL_S = 0.02


class Host(msgspec.Struct, frozen=True):
    """Where a member runs."""

    address: str
    client_port: int
    peer_port: int
    enter: tuple[str, ...] = ()
    """What a command begins with to run there."""

    @property
    def client(self) -> str:
        return f"{self.address}:{self.client_port}"

    @property
    def peer(self) -> str:
        return f"{self.address}:{self.peer_port}"


def local_hosts(count: int) -> tuple[Host, ...]:
    """This machine, so many times, with ports that nobody listens on."""
    first = free_port_block(2 * count)
    return tuple(Host("127.0.0.1", first + 2 * i, first + 2 * i + 1) for i in range(count))


def free_port_block(count: int) -> int:
    """The first of so many ports in a row of 127.0.0.1 that nobody listens on just now, for servers that are started
    more than once."""
    while True:
        first = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds; raises `TimeoutError` that names `what`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(_POLL_S)
