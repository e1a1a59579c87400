"""What a node's configuration says of TLS, as the node uses it."""

from __future__ import annotations

from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.log_lines import Lines
from coterie.runtime.tls.alpn import CLIENT_PORT, MEMBER_PORT
from coterie.runtime.tls.files import TlsFiles
from coterie.runtime.tls.reloading import TlsSide


class NodeTls:
    """Both ports' certificates; a side is None if its port speaks plain text."""

    def __init__(self, config: NodeConfiguration, lines: Lines) -> None:
        """Reads and checks the files. Raises `ConfigurationError`."""
        self.clients: TlsSide | None = None
        self.members: TlsSide | None = None
        if config.client_cert:
            files = TlsFiles(
                cert=config.client_cert,
                key=config.client_key,
                ca=config.client_ca,
                min_version=config.tls_min_version,
                labels=("client_cert", "client_key", "client_ca"),
            )
            # A node that joins is a client of the other members: it shows them what it shows its own clients.
            dial = TlsFiles(
                cert=config.client_cert,
                key=config.client_key,
                ca=config.client_ca or config.peer_ca,
                min_version=config.tls_min_version,
                labels=("client_cert", "client_key", "client_ca"),
            )
            self.clients = TlsSide(files, lines, CLIENT_PORT, dial=dial, check_host=True)
        if config.peer_cert:
            files = TlsFiles(
                cert=config.peer_cert,
                key=config.peer_key,
                ca=config.peer_ca,
                min_version=config.tls_min_version,
                labels=("peer_cert", "peer_key", "peer_ca"),
            )
            self.members = TlsSide(files, lines, MEMBER_PORT, member=config.name, shown_as_client=True)

    @property
    def sides(self) -> tuple[TlsSide, ...]:
        """Those that speak TLS."""
        return tuple(side for side in (self.clients, self.members) if side is not None)
