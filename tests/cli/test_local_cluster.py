"""`coterie up` and `coterie down`: real processes, real directories."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coterie.cli.cluster_file import LocalCluster, LocalNode, locked, read_cluster, write_cluster
from coterie.cli.local_cluster import Wanted, start_cluster, stop_cluster
from coterie.cli.node_process import runs, stop_nodes
from coterie.client.one_status import ask_status
from coterie.core.errors import CoterieError

DEADLINE_S = 60.0


def free_port_block(count: int = 6) -> int:
    """The first of `count` ports in a row that are free."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        if first + count < 65536 and all(_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no free ports in a row")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-m", "coterie", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False, timeout=120)


def cluster_in(directory: Path) -> LocalCluster:
    cluster = read_cluster(directory)
    assert cluster is not None
    return cluster


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A working directory whose cluster in `.coterie` is stopped in the end."""
    yield tmp_path
    if read_cluster(tmp_path / ".coterie") is not None:
        stop_cluster(tmp_path / ".coterie")


def node(directory: Path, pid: int) -> LocalNode:
    return LocalNode(name="n1", pid=pid, peer="127.0.0.1:2", client="127.0.0.1:1", data=str(directory / "n1"))


def test_a_cluster_file_reads_as_it_was_written(tmp_path: Path) -> None:
    cluster = LocalCluster(nodes=(node(tmp_path, 7),), protocol="raft", client_port=1, machine="m:M")
    write_cluster(tmp_path, cluster)
    assert read_cluster(tmp_path) == cluster
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_a_cluster_file_that_is_not_one_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"nodes": 3}', encoding="utf-8")
    with pytest.raises(CoterieError, match=r"cluster\.json"):
        start_cluster(tmp_path, Wanted())
    assert (tmp_path / "cluster.json").read_text(encoding="utf-8") == '{"nodes": 3}'


def test_a_pid_that_another_program_has_now_is_not_our_node_and_is_not_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stranger = node(tmp_path, other.pid)
        assert not runs(tmp_path, stranger)
        assert stop_nodes(tmp_path, [stranger]) == {"n1": "was not running"}
        assert other.poll() is None
        other.kill()


def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    command = [sys.executable, "-c", deaf, "node", str(tmp_path / "n1.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert runs(tmp_path, node(tmp_path, process.pid))
        assert stop_nodes(tmp_path, [node(tmp_path, process.pid)], timeout=0.2) == {"n1": "killed"}
        assert process.wait() == -signal.SIGKILL


def test_a_taken_port_is_named_and_nothing_is_made(tmp_path: Path) -> None:
    first = free_port_block()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 3))
        taken.listen()
        with pytest.raises(CoterieError, match=f"127.0.0.1:{first + 3} is taken"):
            start_cluster(tmp_path / "deep" / "cluster", Wanted(client_port=first))
    assert not (tmp_path / "deep").exists()


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(CoterieError, match=r"in use.*thesis\.tex"):
        start_cluster(tmp_path, Wanted(client_port=free_port_block()))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        (Wanted(protocol="paxos"), "protocol"),
        (Wanted(nodes=0), "--nodes"),
        (Wanted(client_port=65535), "--client-port"),
        (Wanted(machine="no.such:Machine"), "no.such"),
    ],
)
def test_a_bad_value_is_named_and_nothing_is_made(tmp_path: Path, wanted: Wanted, named: str) -> None:
    with pytest.raises(CoterieError, match=named):
        start_cluster(tmp_path / "cluster", wanted)
    assert not (tmp_path / "cluster").exists()


def test_two_starts_at_once_do_not_meet_in_one_directory(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(CoterieError, match="another"):
        start_cluster(tmp_path, Wanted(client_port=free_port_block()))


def test_nothing_is_up_where_nothing_was_started(tmp_path: Path) -> None:
    assert run("down", cwd=tmp_path).stdout.startswith("Nothing is up")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_node_that_is_not_there_says_nothing(address: str) -> None:
    assert ask_status(address) is None


def test_the_life_of_a_cluster(home: Path, protocol: str) -> None:
    port = str(free_port_block())
    up = run("up", "--detach", "--client-port", port, "--protocol", protocol, cwd=home)
    assert up.returncode == 0, up.stderr
    assert f"3 nodes are up, {protocol}, leader" in up.stdout
    directory = home / ".coterie"
    first = cluster_in(directory)
    described = json.loads((directory / "cluster.json").read_text(encoding="utf-8"))
    assert described["client_port"] == int(port)
    assert described["protocol"] == protocol
    assert [set(each) for each in described["nodes"]] == [{"name", "pid", "peer", "client", "data", "removed"}] * 3
    assert all(runs(directory, each) for each in first.nodes)

    again = run("up", "--detach", "--client-port", port, cwd=home)
    assert again.returncode == 0
    assert "Already up" in again.stdout
    assert cluster_in(directory) == first

    other = run("up", "--detach", "--client-port", "2379", cwd=home)
    assert other.returncode == 3
    assert port in other.stderr

    other = run("up", "--detach", "--protocol", "zab", cwd=home)
    assert other.returncode == 3
    assert f"was made with --protocol {protocol}, not zab" in other.stderr

    os.kill(first.nodes[0].pid, signal.SIGKILL)
    wait_until(lambda: not runs(directory, first.nodes[0]))
    assert "Started n1 again" in run("up", "--detach", cwd=home).stdout
    second = cluster_in(directory)
    assert [each.pid for each in second.nodes[1:]] == [each.pid for each in first.nodes[1:]]
    before = {status.member for each in second.nodes if (status := ask_status(each.client))}
    assert len(before) == 3

    down = run("down", cwd=home)
    assert down.stdout.split() == ["n1", "stopped", "n2", "stopped", "n3", "stopped"]
    assert [each.pid for each in cluster_in(directory).nodes] == [0, 0, 0]
    assert not any(runs(directory, each) for each in second.nodes)

    assert run("up", "--detach", cwd=home).returncode == 0
    after = {status.member for each in cluster_in(directory).nodes if (status := ask_status(each.client))}
    assert after == before


def test_a_first_start_that_fails_says_why_and_leaves_nothing(home: Path) -> None:
    source = "import sys\nfrom examples.bank import Bank\n"
    source += "class Shy(Bank):\n    def __init__(self):\n        assert 'node' not in sys.argv, 'too shy'\n"
    (home / "shy.py").write_text(source + "        super().__init__()\n", encoding="utf-8")
    (home / "examples").symlink_to(Path(__file__).parents[2] / "examples")
    up = run("up", "--detach", "--machine", "shy:Shy", "--client-port", str(free_port_block()), cwd=home)
    assert up.returncode == 3
    assert "too shy" in up.stderr
    assert not (home / ".coterie").exists()


def test_ctrl_c_stops_every_node(home: Path) -> None:
    command = [sys.executable, "-m", "coterie", "up", "--client-port", str(free_port_block())]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "nodes are up" in process.stdout.readline()
        nodes = cluster_in(home / ".coterie").nodes
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    assert said.count("stopped") == 3
    assert not any(runs(home / ".coterie", each) for each in nodes)
