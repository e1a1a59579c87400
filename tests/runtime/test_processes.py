"""Real processes, sockets and disks: what is acknowledged stays, and every refusal is one clear line."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.runtime.cluster import FAST, Caller, Process, leader_of, processes, put, until

from coterie.engine.protocol import CLIENT_MAGIC, Answer, Failure, FailureCode, Happened, Query, ReadMode
from coterie.machine.kv.protocol import Range, RangeReply, encoder, reply_decoder
from coterie.runtime.addresses import split_address
from coterie.runtime.handshake import PEER_MAGIC

pytestmark = pytest.mark.usefixtures("protocol")


def get(node: Process, key: bytes) -> bytes | None:
    caller = Caller(node.client)
    answer = caller.answer(Query(1, ReadMode.LINEARIZABLE, 0, encoder.encode(Range(key))))
    caller.close()
    assert isinstance(answer, Answer), answer
    reply = reply_decoder.decode(answer.body)
    assert isinstance(reply, RangeReply)
    return reply.items[0].value if reply.items else None


def last_line(node: Process) -> str:
    return node.lines().strip().splitlines()[-1]


def ready(nodes: list[Process]) -> Process:
    for node in nodes:
        node.start()
    until(lambda: leader_of(nodes) is not None)
    leader = leader_of(nodes)
    assert leader is not None
    return leader


@pytest.mark.any_protocol
def test_acknowledged_writes_survive_kill_and_restart_of_every_leader(tmp_path: Path) -> None:
    with processes(tmp_path, 3) as nodes:
        leader = ready(nodes)
        written: dict[bytes, bytes] = {}
        for round_number in range(3):
            for node in nodes:
                key = f"{round_number}-{node.name}".encode()
                put(node, key, key * 2)
                written[key] = key * 2
            leader.kill()
            rest = [node for node in nodes if node is not leader]
            until(partial(leader_of, rest))
            put(rest[0], b"after", b"%d" % round_number)
            leader.start()
            until(lambda: all(node.status() is not None for node in nodes))
            found = leader_of(nodes)
            assert found is not None
            leader = found
        for key, value in written.items():
            assert get(nodes[len(key) % 3], key) == value
        assert get(nodes[0], b"after") == b"2"
        for node in nodes:
            node.kill()
        assert ready(nodes) is not None
        for key, value in written.items():
            assert get(nodes[0], key) == value


@pytest.mark.any_protocol
def test_sigterm_under_load_answers_what_it_took_and_exits_0(tmp_path: Path) -> None:
    with processes(tmp_path, 1) as (node,):
        ready([node])
        acknowledged: list[bytes] = []
        ended = threading.Event()

        def load() -> None:
            caller = Caller(node.client)
            try:
                for number in range(100_000):
                    key = b"%d" % number
                    answer = caller.put(key, key)
                    if isinstance(answer, Failure):
                        assert (answer.code, answer.happened) == (FailureCode.STOPPING, Happened.NO)
                        break
                    acknowledged.append(key)
            except OSError:
                pass
            finally:
                caller.close()
                ended.set()

        thread = threading.Thread(target=load)
        thread.start()
        until(lambda: len(acknowledged) > 50)
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert ended.wait(10)
        thread.join()
        assert "stopped node=n1" in node.lines()
        node.start()
        until(lambda: leader_of([node]) is not None)
        assert get(node, acknowledged[0]) == acknowledged[0]
        assert get(node, acknowledged[-1]) == acknowledged[-1]
        node.signal(signal.SIGINT)
        assert node.wait() == 0


@pytest.mark.any_protocol
def test_sigterm_while_it_waits_for_its_first_start_exits_0(tmp_path: Path) -> None:
    with processes(tmp_path, 2) as nodes:
        nodes[0].start()
        until(lambda: nodes[0].log.exists() and "first-start-waits" in nodes[0].lines())
        nodes[0].signal(signal.SIGTERM)
        assert nodes[0].wait() == 0
        ready(nodes)


@pytest.mark.any_protocol
def test_a_first_start_survives_kills_at_any_point(tmp_path: Path) -> None:
    rng = random.Random(3)
    with processes(tmp_path, 3) as nodes:
        for _ in range(6):
            victim = rng.choice(nodes)
            for node in nodes:
                if node.process is None or node.process.poll() is not None:
                    node.start()
            assert victim.process is not None
            try:
                victim.process.wait(rng.random() * 0.6)
            except subprocess.TimeoutExpired:
                victim.kill()
        for node in nodes:
            if node.process is None or node.process.poll() is not None:
                node.start()
        until(lambda: leader_of(nodes) is not None)
        put(nodes[0], b"k", b"v")
        assert len({status.cluster for node in nodes if (status := node.status())}) == 1


@pytest.mark.any_protocol
def test_a_port_that_is_taken_is_one_line_exit_3_and_leaves_nothing(tmp_path: Path) -> None:
    with processes(tmp_path, 1) as (node,), socket.create_server(split_address(node.client)):
        node.start()
        assert node.wait() == 3
        assert node.lines().count("\n") == 1
        assert f"cannot listen on {node.client} (for clients): another process listens there already" in node.lines()
        assert not node.data.exists()


@pytest.mark.any_protocol
def test_a_directory_in_use_or_of_another_member_is_refused(tmp_path: Path) -> None:
    with processes(tmp_path, 1) as (first,), processes(tmp_path, 1) as (second,):
        ready([first])
        second.log = tmp_path / "second.log"
        second.start()
        assert second.wait() == 3
        assert "is in use by process" in last_line(second)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        other = second.arguments
        second.arguments = ["--name", "other", *other[2:-6], "--initial-members", f"other={second.peer}", *FAST]
        second.start()
        assert second.wait() == 3
        assert "belongs to member 'n1', not to 'other'" in last_line(second)
        assert second.lines().count("\n") == 2


@pytest.mark.any_protocol
def test_a_bad_configuration_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with processes(tmp_path, 1) as (node,):
        node.start("--election-timeout-ms", "0")
        assert node.wait() == 2
        assert "election_timeout_ms is 0: it must be a whole number above 0" in node.lines()
        node.start("--machine", "no.such:Machine")
        assert node.wait() == 2
        assert "no.such" in last_line(node)
        assert not node.data.exists()


@pytest.mark.any_protocol
def test_a_wiped_node_is_refused_with_what_to_do_and_the_others_live_on(tmp_path: Path) -> None:
    with processes(tmp_path, 3) as nodes:
        ready(nodes)
        put(nodes[0], b"k", b"v")
        nodes[2].kill()
        nodes[2].data.rename(tmp_path / "away")
        nodes[2].start()
        assert nodes[2].wait() == 3
        assert "it was wiped" in last_line(nodes[2])
        assert "remove the member from it, then add it again" in last_line(nodes[2])
        put(nodes[0], b"k", b"w")
        assert get(nodes[1], b"k") == b"w"


@pytest.mark.any_protocol
def test_a_restored_copy_of_a_disk_is_refused(tmp_path: Path) -> None:
    with processes(tmp_path, 3) as nodes:
        ready(nodes)
        nodes[2].kill()
        subprocess.run(["cp", "-r", str(nodes[2].data), str(tmp_path / "copy")], check=True)
        nodes[2].start()
        until(lambda: nodes[2].status() is not None and nodes[0].lines().count("peer-connected node=n1 peer=n3") == 2)
        nodes[2].kill()
        subprocess.run(["rm", "-r", str(nodes[2].data)], check=True)
        (tmp_path / "copy").rename(nodes[2].data)
        for _ in range(3):  # whoever starts it again and again does not make its counter good
            nodes[2].start()
            assert nodes[2].wait() == 3
            assert "its data directory is an old copy" in last_line(nodes[2])
            assert "Remove the member from the cluster, then add it again" in last_line(nodes[2])
        put(nodes[0], b"k", b"v")


@pytest.mark.any_protocol
def test_a_member_of_another_cluster_is_refused_on_both_sides(tmp_path: Path) -> None:
    with processes(tmp_path, 2) as nodes:
        ready(nodes)
        nodes[1].kill()
        peer, client = split_address(nodes[1].peer)[1], split_address(nodes[1].client)[1]
        stranger = Process("s", tmp_path / "s", peer, client, "")
        stranger.arguments = [*stranger.arguments[:8], "--initial-members", f"s={stranger.peer}", *FAST]
        try:
            stranger.start()
            until(lambda: "peer-refused node=s" in stranger.log.read_text() if stranger.log.exists() else False)
            until(lambda: "peer-refused-us node=n1" in nodes[0].lines())
            assert "belongs to cluster" in stranger.lines()
        finally:
            stranger.kill()


@pytest.mark.any_protocol
def test_garbage_on_both_ports_leaves_a_node_unharmed(tmp_path: Path) -> None:
    rng = random.Random(11)
    with processes(tmp_path, 1) as (node,):
        ready([node])
        put(node, b"k", b"v")
        for attempt in range(200):
            address = node.client if attempt % 2 else node.peer
            magic = (b"", CLIENT_MAGIC, PEER_MAGIC)[attempt % 3]
            try:
                with socket.create_connection(split_address(address), 2) as sock:
                    sock.sendall(magic + rng.randbytes(rng.randint(0, 2000)))
                    if attempt % 5:
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(4096):
                            pass
            except ConnectionError:
                continue
        assert get(node, b"k") == b"v"
        status = node.status()
        assert status is not None
        assert (status.role, status.boot) == ("leader", 1)
        assert "client-malformed node=n1" in node.lines()
        assert "peer-malformed node=n1" in node.lines()
        assert "Traceback" not in node.lines()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(where)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.any_protocol
def test_a_full_disk_refuses_writes_loses_nothing_and_recovers(small_disk: Path) -> None:
    with processes(small_disk, 1, ("--request-timeout-ms", "700", *FAST)) as (node,):
        node.log = small_disk.parent / "node.log"
        ready([node])
        put(node, b"before", b"1")
        filler = small_disk / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    os.write(file.fileno(), bytes(65536))
            except OSError:
                pass
        failures: list[Failure] = []
        caller = Caller(node.client)
        acknowledged: list[bytes] = []
        for number in range(200):
            key = b"full-%d" % number
            answer = caller.put(key, bytes(500_000))
            if isinstance(answer, Failure):
                failures.append(answer)
                break
            acknowledged.append(key)
        assert failures, "the disk should be full by now"
        until(lambda: "disk-full node=n1" in node.lines())
        filler.unlink()
        until(lambda: "disk-has-space-again node=n1" in node.lines())
        until(lambda: isinstance(caller.put(b"after", b"2"), Answer))
        caller.close()
        node.kill()
        node.start()
        until(lambda: leader_of([node]) is not None)
        assert get(node, b"before") == b"1"
        assert get(node, b"after") == b"2"
        for key in acknowledged:
            assert get(node, key) == bytes(500_000)


@pytest.mark.any_protocol
def test_a_read_only_directory_is_one_clear_line(small_disk: Path) -> None:
    with processes(small_disk, 1) as (node,):
        node.log = small_disk.parent / "node.log"
        ready([node])
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        node.start()
        assert node.wait() == 3
        assert "cannot be written" in last_line(node)
