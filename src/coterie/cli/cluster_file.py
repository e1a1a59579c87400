"""A cluster on this machine, as its directory describes it: `DIR/cluster.json` and a TOML file a node."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from coterie.client.tls import TlsConfig
from coterie.core.errors import CoterieError

STATE_DIRECTORY = Path(".coterie")
"""Where `coterie up` keeps the local cluster, under the working directory."""
CLUSTER_FILE = "cluster.json"
LOCK_FILE = "cluster.lock"
RESTORE_FILE = "restore.unfinished"
"""There while `coterie restore` makes the nodes' directories."""
MAX_CLUSTER_FILE_BYTES = 1024 * 1024


class LocalClusterError(CoterieError):
    """The local cluster cannot be started, stopped or described; nothing is left half-done."""


class LocalNode(msgspec.Struct, frozen=True):
    """One node of the cluster. `pid` is 0 when it was stopped; a pid that is not 0 may be out of date."""

    name: str
    pid: int
    peer: str
    client: str
    data: str
    """The node's data directory, absolute."""
    removed: bool = False
    """It was removed from the cluster: it is not started any more."""


class LocalCluster(msgspec.Struct, frozen=True):
    """What `cluster.json` says."""

    nodes: tuple[LocalNode, ...]
    protocol: str
    client_port: int
    """The first node's client port; its peer port is the next one, and so on for each node."""
    machine: str
    tls: bool = False
    """Clients and members speak TLS, with certificates of the directory `tls` beside this file."""

    @property
    def present(self) -> tuple[LocalNode, ...]:
        """The nodes that were not removed from the cluster."""
        return tuple(node for node in self.nodes if not node.removed)

    @property
    def endpoints(self) -> str:
        """Client addresses, with commas between."""
        return ",".join(node.client for node in self.present)

    def without(self, names: Collection[str]) -> LocalCluster:
        """The same cluster, these nodes marked as removed."""
        nodes = tuple(msgspec.structs.replace(n, removed=n.removed or n.name in names) for n in self.nodes)
        return msgspec.structs.replace(self, nodes=nodes)

    def with_pids(self, pids: Mapping[str, int]) -> LocalCluster:
        """The same cluster with other pids, by name; 0 for a node that is not named."""
        nodes = tuple(msgspec.structs.replace(node, pid=pids.get(node.name, 0)) for node in self.nodes)
        return msgspec.structs.replace(self, nodes=nodes)


def read_cluster(directory: Path) -> LocalCluster | None:
    """The cluster of a directory, or None if there is none. Raises `LocalClusterError`: unreadable."""
    path = directory / CLUSTER_FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_CLUSTER_FILE_BYTES), type=LocalCluster)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalClusterError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise LocalClusterError(
            f"{path} does not describe a cluster: {error}", advice="choose another directory with --data"
        ) from error


def local_cluster(endpoints: str) -> LocalCluster | None:
    """The cluster that `coterie up` keeps here, if it is the one that the endpoints name."""
    try:
        cluster = read_cluster(STATE_DIRECTORY)
    except CoterieError:
        return None
    if cluster is None or not {node.client for node in cluster.nodes} & set(endpoints.replace(" ", "").split(",")):
        return None
    return cluster


def certificates_of(directory: Path) -> Path:
    """Where the certificates of a cluster are, if it speaks TLS."""
    return directory / "tls"


def client_tls(directory: Path, cluster: LocalCluster) -> TlsConfig | None:
    """How clients speak with the cluster; None: in plain text."""
    if not cluster.tls:
        return None
    files = certificates_of(directory)
    return TlsConfig(ca=str(files / "ca.crt"), cert=str(files / "client.crt"), key=str(files / "client.key"))


def node_tls(directory: Path, name: str) -> dict[str, str]:
    """The keys of a node's configuration that name its certificates."""
    files = certificates_of(directory)
    own = {"cert": str(files / f"{name}.crt"), "key": str(files / f"{name}.key"), "ca": str(files / "ca.crt")}
    return {f"{side}_{what}": path for side in ("client", "peer") for what, path in own.items()}


def write_cluster(directory: Path, cluster: LocalCluster) -> None:
    """Replace `cluster.json` in one step: a reader sees the old one or the new one, whole."""
    _replace(directory / CLUSTER_FILE, msgspec.json.format(msgspec.json.encode(cluster), indent=2) + b"\n")


def node_file(directory: Path, name: str) -> Path:
    """The configuration file of a node."""
    return directory / f"{name}.toml"


def log_file(directory: Path, name: str) -> Path:
    """Where a node's standard output and error go."""
    return directory / f"{name}.log"


def write_node_file(directory: Path, name: str, keys: Mapping[str, object]) -> None:
    """Write a node's TOML: text, whole numbers and lists of text only, which TOML writes as JSON does."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    text = f"# Node {name} of a local cluster. Settings that you change here stay; docs/configuration.md lists them.\n"
    _replace(node_file(directory, name), (text + "\n".join(lines) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other starts and stops out of the directory, which must exist. Raises `LocalClusterError`."""
    try:
        lock = os.open(directory / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise LocalClusterError(f"cannot write in {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalClusterError(
                f"{directory} is being used by another `coterie up` or `coterie down`", advice="wait until it is done"
            ) from None
        yield
    finally:
        os.close(lock)
