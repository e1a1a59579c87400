"""Starting and stopping a cluster of processes on this machine: all or nothing."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from coterie.cli.cluster_file import (
    CLUSTER_FILE,
    LOCK_FILE,
    RESTORE_FILE,
    LocalCluster,
    LocalClusterError,
    LocalNode,
    certificates_of,
    client_tls,
    locked,
    log_file,
    node_file,
    node_tls,
    read_cluster,
    write_cluster,
    write_node_file,
)
from coterie.cli.node_process import POLL_S, last_log_lines, runs, start_node, stop_nodes
from coterie.client.one_status import ask_status
from coterie.client.tls import ClientTls
from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.machine.loading import load_machine
from coterie.runtime.addresses import AddressError, listen
from coterie.runtime.configuration import DEFAULT_MACHINE, MAX_MEMBERS, NodeConfiguration, read_file

DEFAULT_NODES = 3
DEFAULT_CLIENT_PORT = 2379
DEFAULT_CLIENT = "client"
"""Whose certificate client commands show."""
LEADER_TIMEOUT_S = 60.0
"""From the start of the processes until all agree on a leader. A slow disk takes seconds, not a minute."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What `coterie up` was asked for; None where it was not said."""

    nodes: int | None = None
    protocol: str | None = None
    client_port: int | None = None
    machine: str | None = None
    tls: bool | None = None


class Started(msgspec.Struct, frozen=True):
    """A cluster that is up."""

    cluster: LocalCluster
    processes: dict[str, subprocess.Popen[bytes]]
    """Those that this call started, by name: their parent must reap them."""
    leader: str
    removed: tuple[str, ...] = ()
    """Nodes that ended at once, because they were removed from the cluster meanwhile."""


def start_cluster(directory: Path, wanted: Wanted) -> Started:
    """Start the directory's cluster, or what is down of it; wait until all nodes agree on a leader.

    A new directory gets a new cluster; one that has a cluster starts the same members again. Raises
    `LocalClusterError` (then what this call started is stopped, and a new directory is gone again) and
    `ConfigurationError`.
    """
    directory = directory.resolve()
    _prepare(directory, wanted)  # whatever is wrong is told before anything is made
    made = make_directory(directory)
    try:
        with locked(directory):
            new = read_cluster(directory) is None
            cluster, dead = _prepare(directory, wanted)
            try:
                return _start(directory, cluster, dead)
            except BaseException:
                if new:
                    _remove(directory, cluster)
                raise
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if it is empty
        raise


def stop_cluster(directory: Path) -> dict[str, str]:
    """Stop the directory's cluster; what became of each node, by name. The data stay.

    An empty result means that there is no cluster. Raises `LocalClusterError`.
    """
    directory = directory.resolve()
    if read_cluster(directory) is None:
        return {}
    with locked(directory):
        cluster = read_cluster(directory)
        if cluster is None:
            return {}
        result = stop_nodes(directory, cluster.nodes)
        write_cluster(directory, cluster.with_pids({}))
        return result


def _prepare(directory: Path, wanted: Wanted) -> tuple[LocalCluster, list[LocalNode]]:
    """The cluster and those of its nodes that are to be started; raises if they cannot be."""
    cluster = read_cluster(directory)
    if cluster is None:
        cluster = plan(directory, wanted)
        load_machine(cluster.machine)
        check_empty(directory)
    else:
        _check_same(directory, cluster, wanted)
    dead = [node for node in cluster.present if not runs(directory, node)]
    _check_ports(dead)
    return cluster, dead


def plan(directory: Path, wanted: Wanted) -> LocalCluster:
    """A new cluster: client and peer ports take turns from the first client port on. Raises `LocalClusterError`,
    `ConfigurationError`."""
    count = DEFAULT_NODES if wanted.nodes is None else wanted.nodes
    first = DEFAULT_CLIENT_PORT if wanted.client_port is None else wanted.client_port
    if not 1 <= count <= MAX_MEMBERS:
        raise LocalClusterError(f"--nodes is {count}: it must be 1 to {MAX_MEMBERS}")
    if not 1 <= first <= 65536 - 2 * count:
        raise LocalClusterError(
            f"--client-port is {first}: {count} nodes need {2 * count} ports from there on, none above 65535"
        )
    nodes = tuple(
        LocalNode(
            name=f"n{i + 1}",
            pid=0,
            peer=f"127.0.0.1:{first + 2 * i + 1}",
            client=f"127.0.0.1:{first + 2 * i}",
            data=str(directory / f"n{i + 1}"),
        )
        for i in range(count)
    )
    cluster = LocalCluster(
        nodes=nodes,
        protocol=wanted.protocol or DEFAULT_PROTOCOL,
        client_port=first,
        machine=wanted.machine or DEFAULT_MACHINE,
        tls=bool(wanted.tls),
    )
    for node in nodes:  # so that a bad value is told before anything is made
        NodeConfiguration(
            name=node.name,
            data=node.data,
            protocol=cluster.protocol,
            peer=node.peer,
            client=node.client,
            machine=cluster.machine,
        )
    return cluster


def check_empty(directory: Path) -> None:
    """A new cluster may not move in where something else lives. Raises `LocalClusterError`."""
    try:
        found = [path.name for path in directory.iterdir() if path.name != LOCK_FILE]
    except FileNotFoundError:
        return
    except OSError as error:
        raise LocalClusterError(f"cannot use {directory}: {error.strerror}") from error
    if RESTORE_FILE in found:
        raise LocalClusterError(
            f"a snapshot file was being restored into {directory}, and that was not finished",
            advice="run the same `coterie restore` again: it begins anew; or remove the directory",
        )
    if found:
        raise LocalClusterError(
            f"{directory} is in use: it holds {min(found)!r}, but no {CLUSTER_FILE}",
            advice="choose another directory with --data",
        )


def _check_same(directory: Path, cluster: LocalCluster, wanted: Wanted) -> None:
    """Members, ports, protocol and machine were fixed when the cluster was made."""
    was = {
        "--nodes": (len(cluster.nodes), wanted.nodes),
        "--protocol": (cluster.protocol, wanted.protocol),
        "--client-port": (cluster.client_port, wanted.client_port),
        "--machine": (cluster.machine, wanted.machine),
    }
    if wanted.tls not in (None, cluster.tls):
        raise LocalClusterError(
            f"the cluster in {directory} was made {'with' if cluster.tls else 'without'} --tls",
            advice="leave the option out, or make another cluster with --data",
        )
    for option, (value, asked) in was.items():
        if asked is not None and asked != value:
            raise LocalClusterError(
                f"the cluster in {directory} was made with {option} {value}, not {asked}",
                advice="leave the option out, or make another cluster with --data",
            )


def _check_ports(nodes: Sequence[LocalNode]) -> None:
    """Each port must be free before anything is made or started."""
    for node in nodes:
        for address in (node.client, node.peer):
            try:
                for listener in listen(address, "for a new node"):
                    listener.close()
            except AddressError as error:
                raise LocalClusterError(
                    f"{address} is taken by another process",
                    advice="choose other ports with --client-port, or with PORT= for make",
                ) from error


def make_directory(directory: Path) -> list[Path]:
    """Make the cluster's directory; those that had to be made, innermost first. Raises `LocalClusterError`."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalClusterError(f"cannot make {directory}: {error.strerror}") from error
    return missing


def _remove(directory: Path, cluster: LocalCluster) -> None:
    """Undo a first start that failed: all that it made, and nothing else."""
    for node in cluster.nodes:
        shutil.rmtree(node.data, ignore_errors=True)
        node_file(directory, node.name).unlink(missing_ok=True)
        log_file(directory, node.name).unlink(missing_ok=True)
    shutil.rmtree(certificates_of(directory), ignore_errors=True)
    for name in (CLUSTER_FILE, LOCK_FILE):
        (directory / name).unlink(missing_ok=True)


def _start(directory: Path, cluster: LocalCluster, dead: Sequence[LocalNode]) -> Started:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    pids = {node.name: node.pid for node in cluster.nodes if node not in dead}
    members = [f"{node.name}={node.peer}" for node in cluster.nodes]
    try:
        if cluster.tls:
            _make_certificates(directory, cluster)
        for node in cluster.nodes:
            kept = read_file(str(path)) if (path := node_file(directory, node.name)).exists() else {}
            own = {"name": node.name, "data": str(directory / node.name), "peer": node.peer, "client": node.client}
            shared = {"protocol": cluster.protocol, "machine": cluster.machine, "initial_members": members}
            files = node_tls(directory, node.name) if cluster.tls else {}
            write_node_file(directory, node.name, files | kept | own | shared)
        for node in dead:
            processes[node.name] = start_node(directory, node.name)
            pids[node.name] = processes[node.name].pid
            write_cluster(directory, cluster.with_pids(pids))
        leader, removed = _wait_for_leader(directory, cluster.with_pids(pids), processes)
        for name in removed:
            processes.pop(name)
            pids[name] = 0
        cluster = cluster.with_pids(pids).without(removed)
        write_cluster(directory, cluster)
        return Started(cluster, processes, leader, tuple(sorted(removed)))
    except BaseException:
        started = cluster.with_pids({name: process.pid for name, process in processes.items()})
        stop_nodes(directory, started.nodes)
        for process in processes.values():
            process.wait()
        write_cluster(directory, cluster.with_pids({n.name: n.pid for n in cluster.nodes if n not in dead}))
        raise


def _make_certificates(directory: Path, cluster: LocalCluster) -> None:
    """Those that are missing; what is there stays."""
    from coterie.cli.authority import DEFAULT_HOSTS, Authority

    authority = Authority(certificates_of(directory))
    missing = {node.name: DEFAULT_HOSTS for node in cluster.present if not authority.certificate(node.name).exists()}
    clients = [] if authority.certificate(DEFAULT_CLIENT).exists() else [DEFAULT_CLIENT]
    if missing or clients:
        authority.make(missing, clients, force=True)


def _wait_for_leader(
    directory: Path, cluster: LocalCluster, processes: dict[str, subprocess.Popen[bytes]]
) -> tuple[str, set[str]]:
    """The leader's name, once every node says the same, and the nodes that turned out to be removed from the
    cluster. Raises `LocalClusterError`."""
    deadline = time.monotonic() + LEADER_TIMEOUT_S
    removed: set[str] = set()
    config = client_tls(directory, cluster)
    tls = ClientTls(config) if config is not None else None
    while True:
        for name, process in processes.items():
            if process.poll() == 0:
                removed.add(name)  # It says so in its log, and ends without an error.
            elif process.poll() is not None:
                raise LocalClusterError(
                    f"node {name} ended at its start with code {process.returncode}; its last words:\n"
                    f"{last_log_lines(directory, name)}"
                )
        nodes = [node for node in cluster.present if node.name not in removed]
        if not nodes:
            raise LocalClusterError(
                f"every node of {directory} was removed from its cluster",
                advice="make another cluster with --data; the members that were added are started by hand",
            )
        statuses = [ask_status(node.client, tls=tls) for node in nodes]
        said = {status.leader if status else 0 for status in statuses}
        if len(said) == 1 and 0 not in said:
            leader = said.pop()
            known = {member.id: member.name for status in statuses if status is not None for member in status.members}
            if leader in known:
                return known[leader], removed
        if time.monotonic() > deadline:
            silent = [node.name for node, status in zip(nodes, statuses, strict=True) if status is None]
            raise LocalClusterError(
                f"no leader within {LEADER_TIMEOUT_S:.0f} s"
                + (f"; no answer from {', '.join(silent)}" if silent else "; the nodes do not agree on one"),
                advice=f"see {log_file(directory, nodes[0].name)} and the logs beside it",
            )
        time.sleep(POLL_S)
