"""The runtime's own planted bugs (section 12): what real processes of the package do, and those of each planted copy do
not."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - the intruder's
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.architecture import test_house
from tests.mutants.runtime import RUNTIME_ROWS
from tests.runtime.cluster import ROOT, Caller, Process, leader_of, processes, put, until

from coterie.engine.protocol import Answer, Failure, Query, ReadMode, Submit, View
from coterie.machine.kv.protocol import Put, Range
from coterie.machine.kv.protocol import encoder as machine_encoder
from coterie.runtime.addresses import split_address
from coterie.runtime.frames import pack_length
from coterie.runtime.handshake import PEER_MAGIC
from coterie.sim.mutants import Mutant, plant

pytestmark = [pytest.mark.usefixtures("protocol"), pytest.mark.any_protocol, pytest.mark.slow]

SHIPPED = ROOT / "src"
MACHINE = ROOT / "tests" / "mutants" / "machine"
PATIENT = ("--election-timeout-ms", "2000", "--heartbeat-interval-ms", "50")
"""Members that do not depose a leader for a pause."""
PAUSE_S = 0.7
READS = 8
FLOOD_BYTES = 64 * 1024 * 1024
WELL_S = 10.0
"""What is well is so within this time, on a busy machine, too."""


def run_from(source: Path, nodes: list[Process], **disturbances: Path) -> None:
    """The nodes run this copy of the package, on machines that these files disturb (`machine/sitecustomize.py`)."""
    for node in nodes:
        node.environment = {"PYTHONPATH": os.pathsep.join((str(source), str(MACHINE)))}
        node.environment |= {name: str(path) for name, path in disturbances.items()}


def ready(nodes: list[Process]) -> Process:
    for node in nodes:
        node.start()
    until(lambda: leader_of(nodes) is not None)
    leader = leader_of(nodes)
    assert leader is not None
    return leader


def sent_to_the_peers_port(node: Process, data: bytes) -> None:
    """Send it, and wait until the node has hung up. Raises `OSError` if it hangs up before all is sent."""
    with socket.create_connection(split_address(node.peer), WELL_S) as stranger:
        stranger.sendall(PEER_MAGIC + data)
        while stranger.recv(65536):
            pass


class Intruder:
    """What makes `pickle.loads` create a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


# -- what must hold of the package in a directory --------------------------------------------------


def nothing_in_the_engine_waits(source: Path, directory: Path) -> None:
    test_house.test_a_pure_room_is_told_the_time_and_handed_its_dice(source / "coterie" / "engine" / "engine.py")


def an_answer_that_comes_twice_is_ignored(source: Path, directory: Path) -> None:
    with processes(directory, 3, PATIENT) as nodes:
        run_from(source, nodes)
        leader = ready(nodes)
        follower = next(node for node in nodes if node is not leader)
        caller = Caller(follower.client, timeout=WELL_S)
        leader.signal(signal.SIGSTOP)
        for number in range(READS):
            caller.send(Query(number + 1, ReadMode.LINEARIZABLE, 0, machine_encoder.encode(Range(b"k"))))
        # Meanwhile the follower asks again and again; in the end it is answered as often.
        time.sleep(PAUSE_S)
        leader.signal(signal.SIGCONT)
        answered = 0
        try:
            while answered < READS:
                answered += isinstance(caller.receive(), Answer)
            put(follower, b"k", b"v")
        except OSError as error:
            raise AssertionError(f"the follower answered {answered} of {READS} reads: {error}") from error
        finally:
            caller.close()


def a_link_knows_that_its_stream_closed(source: Path, directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    program = [sys.executable, str(ROOT / "tests" / "mutants" / "half_open.py")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "connected once: True" in done.stdout
    assert "connected still: False" in done.stdout


def an_election_needs_no_wall_clock(source: Path, directory: Path) -> None:
    back = directory / "back"
    with processes(directory, 3) as nodes:
        run_from(source, nodes, WALL_CLOCK_IS_BACK=back)
        leader = ready(nodes)
        back.touch()
        leader.signal(signal.SIGSTOP)  # its connections stay open: nothing but time tells that it is gone
        rest = [node for node in nodes if node is not leader]
        until(lambda: leader_of(rest) is not None, WELL_S)


def a_peers_bytes_are_only_data(source: Path, directory: Path) -> None:
    prey = directory / "prey"
    body = pickle.dumps(Intruder(prey))
    with processes(directory, 1) as nodes:
        run_from(source, nodes)
        ready(nodes)
        sent_to_the_peers_port(nodes[0], pack_length(len(body)) + body)
        assert not prey.exists(), "a peer made the node run what it sent"


def no_more_is_taken_than_a_frame_may_have(source: Path, directory: Path) -> None:
    with processes(directory, 1) as nodes:
        run_from(source, nodes)
        ready(nodes)
        try:
            sent_to_the_peers_port(nodes[0], pack_length(2**32 - 1) + bytes(FLOOD_BYTES))
        except ConnectionError:
            return
        raise AssertionError(f"the node took {FLOOD_BYTES} bytes of what cannot be a frame")


def a_disk_that_hangs_stops_nothing_else(source: Path, directory: Path) -> None:
    hangs = directory / "hangs"
    with processes(directory, 1) as nodes:
        run_from(source, nodes, DISK_HANGS=hangs)
        ready(nodes)
        caller = Caller(nodes[0].client, timeout=WELL_S)
        hangs.touch()
        try:
            caller.send(Submit(1, 0, 0, 0, machine_encoder.encode(Put(b"k", b"v"))))
            for _ in range(5):
                assert nodes[0].status() is not None, "the node waits for its disk, and answers nobody"
            hangs.unlink()
            while isinstance(response := caller.receive(), View):
                pass
            assert isinstance(response, Answer | Failure)
        finally:
            hangs.unlink(missing_ok=True)
            caller.close()


PROBES: dict[str, Callable[[Path, Path], None]] = {
    "A02": nothing_in_the_engine_waits,
    "A03": an_answer_that_comes_twice_is_ignored,
    "A04": a_link_knows_that_its_stream_closed,
    "A05": an_election_needs_no_wall_clock,
    "A06-pickle": a_peers_bytes_are_only_data,
    "A06-length": no_more_is_taken_than_a_frame_may_have,
    "A07": a_disk_that_hangs_stops_nothing_else,
}


SLOW = ("A03", "A05", "A06-length")
"""Rows that take longer than five seconds to be seen."""


@pytest.mark.thorough
@pytest.mark.parametrize("row", PROBES)
def test_what_ships_holds_what_the_planted_bug_breaks(row: str, tmp_path: Path) -> None:
    PROBES[row](SHIPPED, tmp_path)


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(m, marks=pytest.mark.thorough if m.row in SLOW else (), id=m.row) for m in RUNTIME_ROWS],
)
def test_a_planted_bug_of_the_runtime_is_seen(mutant: Mutant, tmp_path: Path) -> None:
    copy = plant(mutant, tmp_path / "copy")
    directory = tmp_path / "run"
    directory.mkdir()
    with pytest.raises(AssertionError):
        PROBES[mutant.row](copy, directory)


def test_every_planted_bug_of_the_runtime_has_a_probe() -> None:
    assert [mutant.row for mutant in RUNTIME_ROWS] == list(PROBES)
