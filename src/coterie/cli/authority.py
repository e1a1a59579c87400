"""A cluster's own certificate authority, in a directory: `ca.crt`, `ca.key`, and `NAME.crt`, `NAME.key` of each member
and client. Made with the `cryptography` library: nothing here is cryptography of our own.

Keys are of the curve P-256, which every TLS library takes. A member's certificate has the member's name and its hosts
as alternative names: other members look for the one, clients for the other. A client's has its name as CN alone, so
that it can never pass for a member, though one CA makes both.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coterie.core.errors import CoterieError
from coterie.engine.member_names import NAME_RULE, legal_name

CA = "ca"
"""The name of the CA's own pair of files."""
CA_DAYS = 3650
DEFAULT_DAYS = 365
MAX_DAYS = 3650
DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
BACKDATED = timedelta(minutes=5)
"""Other machines' clocks may be a little behind."""


class AuthorityError(CoterieError):
    """Certificates cannot be made, renewed or read; what was there is as it was."""


class Described(msgspec.Struct, frozen=True):
    """One certificate of the directory."""

    name: str
    kind: str
    """`ca`, `member` or `client`."""
    hosts: tuple[str, ...]
    """Alternative names, addresses included."""
    ends: datetime


class Authority:
    """The CA of a directory. Files are replaced in one step each, keys first, so that whoever reads them in between
    sees whole ones."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def certificate(self, name: str) -> Path:
        """Where the certificate of this name is."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Where its key is."""
        return self.directory / f"{name}.key"

    @property
    def exists(self) -> bool:
        """Whether the CA has been made."""
        return self.certificate(CA).exists() and self.key(CA).exists()

    def make(
        self,
        hosts: Mapping[str, Sequence[str]],
        clients: Sequence[str],
        *,
        days: int = DEFAULT_DAYS,
        force: bool = False,
    ) -> list[str]:
        """Make certificates for members (name -> hosts) and clients, and the CA if there is none; the names made.

        A CA that is there is used, never replaced. Raises `AuthorityError`: a file is there already (and not `force`).
        """
        names = [*hosts, *clients]
        self._check(names, days)
        alternatives = {name: _alternatives(name, hosts[name]) for name in hosts}
        half = [path for path in (self.certificate(CA), self.key(CA)) if path.exists()]
        if len(half) == 1:
            raise AuthorityError(
                f"{half[0]} is there, its other half is not: certificates cannot be made with it",
                advice="bring the missing file, or choose another directory",
            )
        self._check_apart(hosts)
        taken = [path for name in names for path in (self.certificate(name), self.key(name)) if path.exists()]
        if taken and not force:
            raise AuthorityError(
                f"{taken[0]} is there already, and nothing is replaced unasked",
                advice="leave its name out; or --renew makes all anew with the names that they have; or --force",
            )
        made = list(names)
        if not self.exists:
            self._make_ca()
            made.insert(0, CA)
        for name in hosts:
            self._issue(name, alternatives[name], days)
        for name in clients:
            self._issue(name, None, days)
        return made

    def renew(self, *, days: int = DEFAULT_DAYS) -> list[str]:
        """Make every member's and client's certificate anew, with a new key, for the names that it has; which. The CA
        stays. Raises `AuthorityError`."""
        self._check([], days)
        if not self.exists:
            raise AuthorityError(
                f"{self.directory} has no CA (ca.crt and ca.key) to renew with", advice="make one: coterie certs DIR"
            )
        renewed: list[str] = []
        for described in self.describe():
            if described.kind != CA:
                found = self._read(self.certificate(described.name))
                self._issue(described.name, _alternative_names(found), days)
                renewed.append(described.name)
        return renewed

    def describe(self) -> list[Described]:
        """Every certificate of the directory, the CA's first. Raises `AuthorityError`."""
        found: list[Described] = []
        for path in sorted(self.directory.glob("*.crt"), key=lambda path: (path.stem != CA, path.stem)):
            certificate = self._read(path)
            names = _alternative_names(certificate)
            kind = CA if path.stem == CA else "client" if names is None else "member"
            hosts = tuple(str(name.value) for name in names or ())
            found.append(Described(path.stem, kind, hosts, certificate.not_valid_after_utc))
        return found

    def _check(self, names: Sequence[str], days: int) -> None:
        for name in names:
            if not legal_name(name) or name == CA:
                raise AuthorityError(f"{name!r} cannot be the name of a member or client: {NAME_RULE}, and is not ca")
            if names.count(name) > 1:
                raise AuthorityError(f"{name} is named twice: a member and a client, too, must differ in name")
        if not 1 <= days <= MAX_DAYS:
            raise AuthorityError(f"--days is {days}: it must be 1 to {MAX_DAYS}")

    def _check_apart(self, hosts: Mapping[str, Sequence[str]]) -> None:
        """A host's name that is another member's name would let the one pass for the other."""
        known = {d.name: d.hosts for d in self.describe() if d.kind == "member"} if self.directory.exists() else {}
        for name, named in {**known, **hosts}.items():
            for other in {*known, *hosts}:
                if other != name and other in named:
                    raise AuthorityError(
                        f"{name}'s certificate would be for the host {other}, which is another member's name: {name} "
                        f"could then pass for {other}",
                        advice="say whose host each is, as --host NODE=HOST",
                    )

    def _read(self, path: Path) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except OSError as error:
            raise AuthorityError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise AuthorityError(f"{path} is no PEM certificate: {error}") from error

    def _make_ca(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Coterie CA")])
        builder = (
            _builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
        )
        self._write(CA, key, builder.sign(key, hashes.SHA256()))

    def _issue(self, name: str, alternatives: Sequence[x509.GeneralName] | None, days: int) -> None:
        """`alternatives` None: a client's."""
        issuer = self._read(self.certificate(CA))
        try:
            issuer_key = load_pem_private_key(self.key(CA).read_bytes(), None)
        except OSError as error:
            raise AuthorityError(f"cannot read {self.key(CA)}: {error.strerror}") from error
        except (TypeError, ValueError) as error:
            raise AuthorityError(f"{self.key(CA)} is no PEM key without a password") from error
        if not isinstance(issuer_key, ec.EllipticCurvePrivateKey) or issuer_key.public_key() != issuer.public_key():
            raise AuthorityError(f"{self.key(CA)} is not the key of {self.certificate(CA)}")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if alternatives is not None:
            uses.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(subject, issuer.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        self._write(name, key, builder.sign(issuer_key, hashes.SHA256()))

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(self.key(name), private, 0o600)
            _replace(self.certificate(name), certificate.public_bytes(Encoding.PEM), 0o644)
        except OSError as error:
            raise AuthorityError(f"cannot write in {self.directory}: {error.strerror}") from error


def _alternatives(name: str, hosts: Iterable[str]) -> list[x509.GeneralName]:
    """A member's name, then its hosts. Raises `AuthorityError` for what is no host."""
    found: list[x509.GeneralName] = [x509.DNSName(name)]
    for host in hosts:
        alternative: x509.GeneralName
        try:
            alternative = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            if not host.isascii() or not host.replace(".", "").replace("-", "").replace("_", "").isalnum():
                raise AuthorityError(
                    f"--host is {host!r}: it must be a host's name or address, without a port"
                ) from None
            alternative = x509.DNSName(host)
        if alternative not in found:
            found.append(alternative)
    return found


def _alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName] | None:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place, whole and with its mode from its first byte on."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
