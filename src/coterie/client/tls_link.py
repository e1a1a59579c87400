"""A `Link` that speaks TLS: the same states, with a handshake at the end of dialling."""

from __future__ import annotations

import selectors
import ssl

from coterie.client.dispatch import READ_BYTES
from coterie.client.endpoints import Endpoint
from coterie.client.link import Link
from coterie.client.tls import ClientTls
from coterie.runtime.tls.explaining import alerted, dialled, hung_up


class TlsLink(Link):
    """One connection inside TLS."""

    __slots__ = ("_tls", "_told", "_wrapped")

    def __init__(self, connection: int, endpoint: Endpoint, tls: ClientTls) -> None:
        super().__init__(connection, endpoint)
        self._tls = tls
        self._wrapped: ssl.SSLSocket | None = None
        self._told = False
        """The member has said in TLS what is wrong."""

    @property
    def ungreeted(self) -> str:
        return "" if self._told else hung_up(tls=True, shown=self._tls.shown)

    def dial(self, selector: selectors.BaseSelector) -> str | None:
        if self._wrapped is None:
            problem = super().dial(selector)
            if problem != "":
                return problem
            self.dialling = True
            try:
                self._wrap(selector)
            except (OSError, ValueError) as error:
                return dialled(error)
        return self._shake(selector)

    def _wrap(self, selector: selectors.BaseSelector) -> None:
        """Put the connected socket, which is watched, into TLS."""
        assert self._socket is not None
        selector.unregister(self._socket)
        self._interest = 0
        self._socket = self._wrapped = self._tls.context().wrap_socket(
            self._socket, server_hostname=self._tls.host(self.endpoint.host), do_handshake_on_connect=False
        )

    def _shake(self, selector: selectors.BaseSelector) -> str | None:
        assert self._wrapped is not None
        try:
            self._wrapped.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(selector, selectors.EVENT_READ)
            return None
        except ssl.SSLWantWriteError:
            self._watch(selector, selectors.EVENT_WRITE)
            return None
        except (OSError, ValueError) as error:
            return dialled(error)
        self.dialling = False
        self._watch(selector, selectors.EVENT_READ)
        return ""

    def receive(self) -> tuple[bytes, str]:
        if self._wrapped is None:
            return b"", "not connected"
        try:
            data = self._wrapped.recv(READ_BYTES)
            # What OpenSSL holds already, the selector does not see.
            while (held := self._wrapped.pending()) and len(data) < READ_BYTES:
                data += self._wrapped.recv(held)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b"", ""
        except ssl.SSLEOFError:
            return b"", "the member closed it"
        except ssl.SSLError as error:
            self._told = alerted(error)
            return b"", dialled(error)
        except OSError as error:
            return b"", error.strerror or str(error)
        return data, "" if data else "the member closed it"
