"""Three hosts, each with a configuration file of its own: network namespaces, where the machine allows them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.protocol import protocol_under_test

import coterie
from coterie.client.blocking import Client
from coterie.torture.namespaces import Network, NoNamespaces, network

NAMES = ("n1", "n2", "n3")


@pytest.fixture
def hosts() -> Iterator[Network]:
    try:
        with network(3) as made:
            yield made
    except NoNamespaces as reason:
        pytest.skip(str(reason))


def configuration(hosts: Network, number: int, directory: Path) -> Path:
    members = ", ".join(f'"{name}={host.peer}"' for name, host in zip(NAMES, hosts.hosts, strict=True))
    path = directory / f"{NAMES[number]}.toml"
    path.write_text(
        f'name = "{NAMES[number]}"\n'
        f'data = "{directory / NAMES[number]}"\n'
        f'peer = "{hosts.hosts[number].peer}"\n'
        f'client = "{hosts.hosts[number].client}"\n'
        f"initial_members = [{members}]\n"
        f'protocol = "{protocol_under_test()}"\n'
    )
    return path


def leader_of(client: Client) -> str:
    status = client.status()
    return next((member.name for member in status.members if member.id == status.leader), "")


@pytest.mark.any_protocol
@pytest.mark.slow
def test_a_cluster_of_three_hosts_survives_the_loss_of_the_leaders_network(hosts: Network, tmp_path: Path) -> None:
    nodes = [
        subprocess.Popen(
            [*host.enter, sys.executable, "-m", "coterie", "node", "--config", str(configuration(hosts, i, tmp_path))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for i, host in enumerate(hosts.hosts)
    ]
    try:
        with coterie.connect(",".join(f"{host.client}" for host in hosts.hosts)) as client:
            client.put("before", "1", timeout=60)
            cut = NAMES.index(leader_of(client))
            hosts.cut(cut)
            client.put("during", "2", timeout=60)
            assert leader_of(client) != NAMES[cut]
            hosts.heal(cut)
            item = client.get("before")
            assert item is not None
            assert item.value == b"1"
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(20)
