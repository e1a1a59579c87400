"""A non-blocking TCP connection for the synchronous client: dialling, sending, receiving."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
from typing import TypeAlias

from coterie.client.dispatch import READ_BYTES
from coterie.client.endpoints import Endpoint
from coterie.runtime.tls.explaining import hung_up

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
"""The kernel, or OpenSSL, can take or give nothing at present. (OpenSSL wants the same bytes again after a write that
it could not finish: the buffer keeps them, and what is put behind them does no harm.)"""


class Link:
    """One connection. Every problem is returned as text for people; "" means none."""

    __slots__ = ("_addresses", "_buffer", "_interest", "_socket", "connection", "dialling", "endpoint")

    def __init__(self, connection: int, endpoint: Endpoint) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self.dialling = True
        self._addresses: list[_Address] | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        """Not yet taken by the kernel; bounded by what the core lets be under way."""
        self._interest = 0

    @property
    def ungreeted(self) -> str:
        """Why it may have closed, if the member has not said a word."""
        return hung_up(tls=False, shown=False)

    def dial(self, selector: selectors.BaseSelector) -> str | None:
        """Go on dialling; None: under way, "": connected, else why no address of the name can be reached."""
        problem = f"no address for {self.endpoint.host}"
        if self._addresses is None:
            try:
                found = socket.getaddrinfo(self.endpoint.host, self.endpoint.port, type=socket.SOCK_STREAM)
            except OSError as error:
                return error.strerror or str(error)
            self._addresses = [(family, address) for family, _, _, _, address in found]
        elif self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return self._connected(selector)
            problem = os.strerror(code)
            self.close(selector)
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                self._socket = socket.socket(family, socket.SOCK_STREAM)
                self._socket.setblocking(False)
                code = self._socket.connect_ex(address)
            except OSError as error:
                problem = error.strerror or str(error)
                self.close(selector)
                continue
            if code in (0, errno.EISCONN):
                return self._connected(selector)
            if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                self._watch(selector, selectors.EVENT_WRITE)
                return None
            problem = os.strerror(code)
            self.close(selector)
        return problem

    def send(self, data: bytes, selector: selectors.BaseSelector) -> str:
        """Send after what is still to be sent."""
        if self._socket is None:
            return "not connected"
        pending: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            pending = self._buffer
        try:
            sent = self._socket.send(pending) if pending else 0
        except _NOT_NOW:
            sent = 0
        except OSError as error:
            return error.strerror or str(error)
        if sent < len(pending):
            if pending is self._buffer:
                del self._buffer[:sent]
            else:
                self._buffer += data[sent:]
            self._watch(selector, selectors.EVENT_READ | selectors.EVENT_WRITE)
        elif self._interest != selectors.EVENT_READ:
            self._buffer.clear()
            self._watch(selector, selectors.EVENT_READ)
        return ""

    def receive(self) -> tuple[bytes, str]:
        """What has come, or why no more will; neither, if nothing has come."""
        if self._socket is None:
            return b"", "not connected"
        try:
            data = self._socket.recv(READ_BYTES)
        except _NOT_NOW:
            return b"", ""
        except OSError as error:
            return b"", error.strerror or str(error)
        return data, "" if data else "the member closed it"

    def close(self, selector: selectors.BaseSelector) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            if self._interest:
                selector.unregister(self._socket)
                self._interest = 0
            self._socket.close()
            self._socket = None

    def _connected(self, selector: selectors.BaseSelector) -> str:
        assert self._socket is not None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.dialling = False
        self._watch(selector, selectors.EVENT_READ)
        return ""

    def _watch(self, selector: selectors.BaseSelector, interest: int) -> None:
        assert self._socket is not None
        if not self._interest:
            selector.register(self._socket, interest, self)
        elif self._interest != interest:
            selector.modify(self._socket, interest, self)
        self._interest = interest
