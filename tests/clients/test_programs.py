"""Programs that use other people's etcd clients see on Coterie what they see on etcd, also while a leader dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.environments import Program, difference
from tests.clients.servers import Server, coterie_server, etcd_server

PROGRAMS = (
    pytest.param(Program("etcd3_python.py", "etcd3"), id="etcd3-python"),
    pytest.param(Program("etcd3_gateway.py", "etcd3gw"), id="etcd3gw"),
    pytest.param(Program("etcd3_node.mjs", "etcd3"), id="etcd3-node"),
)


class Servers:
    """A cluster of each."""

    def __init__(self, etcd: Server, coterie: Server, scratch: Path) -> None:
        self.etcd = etcd
        self.coterie = coterie
        self.scratch = scratch


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, protocol: str) -> Iterator[Servers]:
    scratch = tmp_path_factory.mktemp("programs")
    with etcd_server(scratch) as etcd, coterie_server(scratch) as coterie:
        yield Servers(etcd, coterie, scratch)


@pytest.mark.slow
@pytest.mark.any_protocol
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_client_sees_in_its_scenario_what_it_sees_on_etcd(program: Program, servers: Servers) -> None:
    theirs, ours = (program.scenario(server) for server in (servers.etcd, servers.coterie))
    assert not [line for line in theirs if " ended: " in line]
    assert theirs == ours, difference(theirs, ours)


@pytest.mark.clients
@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_client_that_sees_the_leader_die_loses_nothing_and_goes_on(program: Program, servers: Servers) -> None:
    theirs, ours = (program.failover(server, servers.scratch) for server in (servers.etcd, servers.coterie))
    assert theirs == ours, difference(theirs, ours)
