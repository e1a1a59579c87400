"""How a client speaks TLS: whom it trusts, and what it shows."""

from __future__ import annotations

import logging
import ssl
import time

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import Nanos
from coterie.runtime.tls.alpn import NATIVE
from coterie.runtime.tls.files import DEFAULT_MIN_VERSION, MIN_VERSIONS, TlsFiles, client_context, examine
from coterie.runtime.tls.reloading import Signature, signature

LOOK_AGAIN_AFTER: Nanos = 1_000_000_000
"""Between two looks whether the files have changed; they are looked at when a member is dialled."""

_logger = logging.getLogger("coterie")


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A client's side of TLS; files are PEM. Raises `ConfigurationError` for a pair that is half, or a bad version.

    ::

        tls = coterie.TlsConfig(ca="tls/ca.crt", cert="tls/client.crt", key="tls/client.key")
        with coterie.connect("db1:2379,db2:2379", tls=tls) as client: ...
    """

    ca: str = ""
    """Members must show a certificate of one of these CAs, for the host that is dialled. Empty: the system's."""
    cert: str = ""
    """Shown to members that ask for one (`client_ca`); with its key, or neither."""
    key: str = ""
    server_name: str = ""
    """Look for this name in the members' certificates, instead of the host that is dialled."""
    min_version: str = DEFAULT_MIN_VERSION
    """The oldest TLS that is spoken: 1.3 or 1.2."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            if not isinstance(value := getattr(self, field), str):
                raise ConfigurationError(f"tls {field} is {value!r}: it must be text")
        for given, missing in (("cert", "key"), ("key", "cert")):
            if getattr(self, given) and not getattr(self, missing):
                raise ConfigurationError(f"tls {missing} is '': with {given} it must name a file, too")
        if self.min_version not in MIN_VERSIONS:
            choices = ", ".join(MIN_VERSIONS)
            raise ConfigurationError(f"tls min_version is {self.min_version!r}: it must be one of: {choices}")


class ClientTls:
    """The files of a `TlsConfig`, read, and read again when they have changed."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises `ConfigurationError`: a file that cannot be used, and why."""
        self.config = config
        self._files = TlsFiles(
            cert=config.cert,
            key=config.key,
            ca=config.ca,
            min_version=config.min_version,
            labels=("tls cert", "tls key", "tls ca"),
        )
        self._signature: Signature = signature(self._files)
        self._looked_at: Nanos = time.monotonic_ns()
        self._context = self._load()

    @property
    def shown(self) -> bool:
        """Whether a certificate is shown to members that ask for one."""
        return bool(self.config.cert)

    def host(self, dialled: str) -> str:
        """The name or address that must stand in the member's certificate."""
        return self.config.server_name or dialled

    def context(self) -> ssl.SSLContext:
        """For the next connection. Files that have become unusable are told of in the log; the last good ones stay."""
        now = time.monotonic_ns()
        if now - self._looked_at >= LOOK_AGAIN_AFTER:
            self._looked_at = now
            found = signature(self._files)
            if found != self._signature:
                try:
                    self._context = self._load()
                    self._signature = found
                except ConfigurationError as error:
                    _logger.warning("client-certificate-not-taken problem=%s", error)
        return self._context

    def _load(self) -> ssl.SSLContext:
        examine(self._files, server=False, client=True)
        return client_context(self._files, (NATIVE,), check_host=True)
