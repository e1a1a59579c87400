"""The files of one side: what is checked before they are used, and the contexts that OpenSSL makes of them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from coterie.core.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, ObjectIdentifier

MIN_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
"""The oldest version that is spoken, by how it is written; nothing older can be asked for (RFC 8996)."""
DEFAULT_MIN_VERSION = "1.3"
MAX_PEM_BYTES = 1024 * 1024
READABLE_BY_ALL = 0o007


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True):
    """One side's files, PEM, and how they are called where they were given."""

    cert: str = ""
    """The certificate and, after it, those between it and the CA. Empty: none is shown."""
    key: str = ""
    ca: str = ""
    """Whoever shows a certificate must have it from one of these. Empty: a server asks for none, a client trusts what
    the system trusts."""
    min_version: str = DEFAULT_MIN_VERSION
    labels: tuple[str, str, str] = ("cert", "key", "ca")
    """What errors call `cert`, `key` and `ca`."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are named."""
        return tuple(path for path in (self.cert, self.key, self.ca) if path)


class Examined(msgspec.Struct, frozen=True):
    """What was found in files that can be used."""

    ends: tuple[tuple[str, str, datetime], ...]
    """(label, file, end) of each certificate, the shown one and the CA's."""
    hints: tuple[str, ...]
    """What people should look at, though it works."""


def wrong(label: str, path: str, problem: str) -> ConfigurationError:
    """The error of one file: which, and what is wrong with it."""
    return ConfigurationError(f"{label} is {path!r}: {problem}")


def examine(files: TlsFiles, *, member: str = "", server: bool = True, client: bool = False) -> Examined:
    """Look at the files: readable, in time, key and certificate of one pair, and fit for their use.

    `member`: the certificate must carry this name, see `Certified.may_be`. `server`, `client`: what it is shown as.
    Raises `ConfigurationError`, which names the setting, the file and what to do.
    """
    ends: list[tuple[str, str, datetime]] = []
    hints: list[str] = []
    cert, key, ca = files.labels
    if files.cert:
        leaf = _certificates(cert, files.cert)[0]
        _check_time(cert, files.cert, leaf)
        _check_use(cert, files.cert, leaf, server=server, client=client)
        if member and member not in dns_names(leaf):
            names = ", ".join(dns_names(leaf)) or "none"
            raise wrong(
                cert,
                files.cert,
                f"it is not {member}'s: among its DNS names (subjectAltName) there must be {member!r}; it has: {names}",
            )
        ends.append((cert, files.cert, leaf.not_valid_after_utc))
        hints += _check_key(key, files.key, cert, leaf)
    if files.ca:
        trusted = _certificates(ca, files.ca)
        last = max(trusted, key=lambda certificate: certificate.not_valid_after_utc)
        _check_time(ca, files.ca, last)
        ends.append((ca, files.ca, last.not_valid_after_utc))
    return Examined(tuple(ends), tuple(hints))


def server_context(files: TlsFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    """How connections are taken. With a CA, who dials must show a certificate. Raises `ConfigurationError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Nobody who dials us resumes sessions, and a resumed one would outlive a change of the CA.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    if files.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return _filled(context, files, protocols)


def client_context(files: TlsFiles, protocols: Sequence[str], *, check_host: bool) -> ssl.SSLContext:
    """How others are dialled. `check_host`: the certificate must be for the host that is dialled (RFC 9525); without,
    the caller looks who it is for. Raises `ConfigurationError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.check_hostname = check_host
    if not files.ca:
        context.load_default_certs()
    return _filled(context, files, protocols)


def _filled(context: ssl.SSLContext, files: TlsFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    cert, _, ca = files.labels
    context.minimum_version = MIN_VERSIONS[files.min_version]
    context.set_alpn_protocols(list(protocols))
    try:
        if files.cert:
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(files.cert, files.key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise wrong(cert, files.cert, f"OpenSSL does not take it: {error}") from error
    try:
        if files.ca:
            context.load_verify_locations(files.ca)
    except (OSError, ValueError) as error:
        raise wrong(ca, files.ca, f"OpenSSL does not take it: {error}") from error
    return context


def dns_names(certificate: Certificate) -> tuple[str, ...]:
    """The DNS names in a certificate's subjectAltName."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.get_values_for_type(x509.DNSName))


def read_pem(label: str, path: str) -> bytes:
    """A file's bytes. Raises `ConfigurationError`: unreadable or too large."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise wrong(label, path, f"it cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the name
        raise wrong(label, path, f"it cannot be read: {error}") from error
    if len(data) > MAX_PEM_BYTES:
        raise wrong(label, path, f"it is larger than {MAX_PEM_BYTES} bytes")
    return data


def _certificates(label: str, path: str) -> list[Certificate]:
    from cryptography import x509

    data = read_pem(label, path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise wrong(label, path, f"it must hold a PEM certificate: {error}") from error


def _check_time(label: str, path: str, certificate: Certificate) -> None:
    # Wall time, for once: certificates are written in it. It decides who may connect, and nothing of consensus.
    now = datetime.now(UTC)
    if now >= certificate.not_valid_after_utc:
        raise wrong(
            label,
            path,
            f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it (`coterie certs DIR "
            "--renew`, if `coterie certs` made it)",
        )
    if now < certificate.not_valid_before_utc:
        raise wrong(
            label,
            path,
            f"it is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on, which is yet to come: is this "
            "machine's clock right?",
        )


def _check_use(label: str, path: str, certificate: Certificate, *, server: bool, client: bool) -> None:
    """A certificate that limits its use must be for ours; else every handshake would fail, at the other side."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    kinds: list[tuple[bool, ObjectIdentifier, str]] = [
        (server, ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"),
        (client, ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth"),
    ]
    for needed, kind, name in kinds:
        if needed and kind not in uses and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in uses:
            raise wrong(label, path, f"its extended key usage must have {name}: have it made anew with that")


def _check_key(label: str, path: str, cert_label: str, certificate: Certificate) -> list[str]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    data = read_pem(label, path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as error:
        raise wrong(label, path, "it has a password, and nobody could type it: store it without, mode 0600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise wrong(label, path, "it must hold a PEM private key") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise wrong(label, path, f"it does not belong to the certificate in {cert_label}: give the pair's other half")
    if os.stat(path).st_mode & READABLE_BY_ALL:
        return [f"{label}: everybody on this machine may read {path}: chmod 600"]
    return []
