"""Addresses as `host:port`, and the sockets that listen on them."""

from __future__ import annotations

import errno
import socket

from coterie.core.errors import CoterieError

LISTEN_BACKLOG = 4096
"""Connections that wait to be taken, as far as the system allows: thousands of clients dial at once when a node is
back, and each that finds no place tries again a second later."""


class AddressError(CoterieError):
    """An address cannot be used; the message says which and why."""


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[ipv6]:port`. Raises `AddressError`."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise AddressError(f"{address!r} is not an address: it must be host:port, the port 0 to 65535")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(address: str, what: str) -> list[socket.socket]:
    """Sockets bound to every address that `address` names (one if the port is 0) and listening: a
    second process on the same port fails at once. `what` names the port in errors. Raises `AddressError`.

    A connection that arrives before the event loop serves the socket waits in the kernel.
    """
    host, port = split_address(address)
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found[: 1 if port == 0 else None]:
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen(LISTEN_BACKLOG)
            listener.setblocking(False)
    except OSError as error:
        for listener in sockets:
            listener.close()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "another process listens there already"
        raise AddressError(
            f"cannot listen on {address} ({what}): {reason}", advice="stop the other process or choose another port"
        ) from error
    return sockets


def bound_address(listener: socket.socket) -> str:
    """Where a listening socket listens, with the port that the kernel chose."""
    host, port = listener.getsockname()[:2]
    return join_address(host, port)
