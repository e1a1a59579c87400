"""Who stands in a certificate that the other side showed and OpenSSL has verified."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """The names in a verified certificate."""

    common_name: str = ""
    """The subject's CN; etcd takes it for the user's name."""
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()

    def may_be(self, member: str) -> bool:
        """Whether it is the certificate of the member of this name: one of its DNS names is the name, letter for
        letter. No wildcards, and the common name does not count: a certificate is for the members that it lists."""
        return member in self.dns

    def __str__(self) -> str:
        return ", ".join(self.dns or self.uris or self.emails) or self.common_name or "nobody"


def certified(transport: asyncio.BaseTransport) -> Certified | None:
    """Who is at the other end of a connection; None if it is no TLS, or if the other showed no certificate."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    found = tls.getpeercert() if tls is not None else None
    return names_of(found) if found else None


def agreed_protocol(transport: asyncio.BaseTransport) -> str | None:
    """The ALPN name that both sides agreed on, if any."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    return tls.selected_alpn_protocol() if tls is not None else None


def names_of(certificate: Mapping[str, Any]) -> Certified:
    """The names in what `ssl.SSLObject.getpeercert` returns."""
    alternative: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    by_kind: dict[str, list[str]] = {}
    for kind, value in alternative:
        by_kind.setdefault(kind, []).append(value)
    subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
    return Certified(
        common_name=subject.get("commonName", ""),
        dns=tuple(by_kind.get("DNS", ())),
        uris=tuple(by_kind.get("URI", ())),
        emails=tuple(by_kind.get("email", ())),
    )
