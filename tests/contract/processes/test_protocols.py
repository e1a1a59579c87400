"""A cluster keeps the protocol that it began with: whoever comes with another one is told both names and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.processes.cluster import PATIENT, Cluster, cluster, status_of
from tests.contract.processes.members import Ended, coterie, here, joined, members
from tests.runtime.cluster import Process, free_ports, put, until

from coterie.core.protocols import PROTOCOLS
from coterie.storage.directory import DataDirectory
from coterie.storage.disk import DiskFiles

OTHER = "zab"
"""One that this version does not have."""


def without_protocol(node: Process) -> None:
    """From now on its command does not name the protocol."""
    at = node.arguments.index("--protocol")
    del node.arguments[at : at + 2]


def run_for_nothing(home: Path, *arguments: str) -> Ended:
    """A `coterie node` that must not start."""
    port = free_ports(2)
    done = here(home, "node", "--peer", f"127.0.0.1:{port[0]}", "--client", f"127.0.0.1:{port[1]}", *arguments)
    assert done.err.count("\n") == 1, done.err
    return done


def test_a_directory_of_another_protocol_is_refused_with_both_names(tmp_path: Path, protocol: str) -> None:
    DataDirectory.open(DiskFiles(), str(tmp_path / "n1"), "n1", OTHER).close()
    done = run_for_nothing(tmp_path, "--name", "n1", "--data", "n1", "--protocol", protocol)
    assert done.code == 3
    assert f"holds a log of protocol {OTHER!r}, not {protocol!r}" in done.err
    assert f"set the protocol to {OTHER!r}: a cluster keeps the one that it began with" in done.err


def test_a_log_of_each_protocol_is_refused_by_each_other(tmp_path: Path, protocol: str) -> None:
    with cluster(tmp_path, 1, PATIENT) as one:
        node = one.ready()
        put(node, b"k", b"v")
        assert one.stop(node) == [0]
        for other in set(PROTOCOLS) - {protocol}:
            done = run_for_nothing(tmp_path, "--name", "n1", "--data", "n1", "--protocol", other)
            assert done.code == 3
            assert f"{protocol!r}, not {other!r}" in done.err
        # The refused changed nothing; and where the protocol is not named, the directory tells it.
        without_protocol(node)
        one.ready()
        assert status_of(node).protocol == protocol
        assert coterie(tmp_path, one.endpoints, "get", "k").succeeded().out == "v\n"


def test_a_protocol_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = run_for_nothing(tmp_path, "--name", "n1", "--data", "n1", "--protocol", OTHER)
    assert (done.code, (tmp_path / "n1").exists()) == (2, False)
    assert f"protocol is {OTHER!r}: it must be one of: {', '.join(PROTOCOLS)}" in done.err


@pytest.mark.slow
def test_a_node_that_joins_runs_the_protocol_of_its_cluster(tmp_path: Path, protocol: str) -> None:
    with cluster(tmp_path, 1, PATIENT) as one:
        one.ready()
        status = coterie(tmp_path, one.endpoints, "status", "--json").succeeded().json
        assert status["protocol"] == protocol
        added = add(tmp_path, one)
        bare = added.replace(f" --protocol {protocol}", "")
        for other in set(PROTOCOLS) - {protocol}:
            done = here(tmp_path, *bare.split()[1:], "--protocol", other)
            assert done.code == 3
            assert f"the cluster runs {protocol}, this node is configured for {other}" in done.err
            assert not (tmp_path / "n2.coterie").exists(), "it looked before it made anything"
        with joined(tmp_path, bare) as n2:
            until(lambda: members(tmp_path, one.endpoints)["n2"]["caught_up"], 60)
            assert n2.stop() == 0
            n2.start()
            client = n2.options["--client"]
            until(lambda: here(tmp_path, "get", "nothing", "--endpoints", client).code == 1, 60)
            shown = coterie(tmp_path, client, "status").succeeded().out
            assert protocol in shown


def add(home: Path, one: Cluster) -> str:
    """Add n2; the command that starts it."""
    peer, client = free_ports(2)
    where = ("--peer", f"127.0.0.1:{peer}", "--client", f"127.0.0.1:{client}")
    return str(coterie(home, one.endpoints, "member", "add", "n2", *where, "--json").succeeded().json["command"])
