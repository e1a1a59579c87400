"""Certificates for tests: one CA and its members, a stranger's CA, and such as `coterie certs` would not make."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from coterie.cli.authority import DEFAULT_HOSTS, Authority
from coterie.client.tls import TlsConfig
from coterie.runtime.tls.files import TlsFiles

MEMBERS = ("n1", "n2", "n3")
DAY = timedelta(days=1)


class Certificates:
    """`home` has ca, n1, n2, n3, client; `abroad` the same names of another CA; `expired` n1 and client, too late."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.abroad = directory / "abroad"
        self.expired = directory / "expired"
        for place in (self.home, self.abroad):
            Authority(place).make(dict.fromkeys(MEMBERS, DEFAULT_HOSTS), ["client"])
        self.expired.mkdir()
        for name in ("n1", "client"):
            issue(self.home, self.expired, name, begins=-9 * DAY, ends=-DAY)

    def files(self, name: str, place: Path | None = None, ca: Path | None = None) -> TlsFiles:
        """A pair, and the CA to trust."""
        place = place or self.home
        return TlsFiles(
            cert=str(place / f"{name}.crt"), key=str(place / f"{name}.key"), ca=str((ca or self.home) / "ca.crt")
        )

    def client(self, place: Path | None = None) -> TlsConfig:
        """A client's configuration that trusts `home` and shows the certificate of `place`."""
        place = place or self.home
        return TlsConfig(ca=str(self.home / "ca.crt"), cert=str(place / "client.crt"), key=str(place / "client.key"))

    def context(self, name: str, place: Path | None = None, *, alpn: str | None = None) -> ssl.SSLContext:
        """How a bare socket dials, without a look at the host."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.home / "ca.crt")
        place = place or self.home
        context.load_cert_chain(place / f"{name}.crt", place / f"{name}.key")
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context


def issue(authority: Path, place: Path, name: str, *, begins: timedelta = -DAY, ends: timedelta = DAY) -> None:
    """A pair of the CA in `authority` in `place`, valid from and until so much after now; a member's, by its names."""
    issuer = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    issuer_key = load_pem_private_key((authority / "ca.key").read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (place / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (place / f"{name}.key").chmod(0o600)
    (place / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
