"""The three hosts of a cut: reached, cut off, reached again, and gone at the end."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coterie.torture.hosts import Host
from coterie.torture.namespaces import BRIDGE, Network, NoNamespaces, network

PORT = 7001
SERVER = f"""
import socket
with socket.create_server(("0.0.0.0", {PORT})) as server:
    print("ready", flush=True)
    while True:
        server.accept()[0].close()
"""


QUESTIONS = (("netns", "list"), ("-brief", "link"))


def left() -> list[str]:
    """What there is of the benchmark's hosts."""
    shown = [subprocess.run(["ip", *what], capture_output=True, text=True, check=True).stdout for what in QUESTIONS]
    return [line for text in shown for line in text.splitlines() if BRIDGE in line or "coterie-host" in line]


def reached(host: Host, seconds: float) -> bool:
    try:
        with socket.create_connection((host.address, PORT), seconds):
            return True
    except OSError:
        return False


@pytest.fixture
def hosts() -> Iterator[Network]:
    try:
        with network(3) as found:
            yield found
    except NoNamespaces as error:
        pytest.skip(str(error))


def test_a_host_that_is_cut_off_is_not_reached_until_it_is_healed(hosts: Network) -> None:
    children = []
    try:
        for host in hosts.hosts:
            command = [*host.enter, sys.executable, "-c", SERVER]
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        assert all(reached(host, 5) for host in hosts.hosts)
        hosts.cut(1)
        assert [reached(host, 0.3) for host in hosts.hosts] == [True, False, True]
        hosts.heal(1)
        assert reached(hosts.hosts[1], 10)
    finally:
        for child in children:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()


def test_nothing_stays_behind_not_even_what_an_earlier_run_left_with_its_processes(hosts: Network) -> None:
    with pytest.raises(NoNamespaces, match="another run"), network(1):
        pass
    assert len(left()) == 7, "three namespaces, three cables, one bridge"
    child = subprocess.Popen([*hosts.hosts[0].enter, sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    hosts.remove()
    assert left() == []
    assert child.wait(10) != 0
    child.stdout.close()
