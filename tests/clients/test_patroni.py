"""Patroni keeps one PostgreSQL primary, and one only, with its state in Coterie, whatever dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.patroni import run
from tests.clients.postgres import Machine, Writers, now
from tests.clients.servers import Server, coterie_server
from tests.runtime.cluster import ROOT, free_port_block, until

pytestmark = [pytest.mark.slow, pytest.mark.clients, pytest.mark.any_protocol]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the user postgres can reach; pytest's own can't be."""
    if not run.PATRONI.exists():
        pytest.skip("patroni is not installed: run 'make clients' (it needs the network)")
    try:
        run.binaries()
        run.identity()
    except SystemExit as missing:
        pytest.skip(str(missing))
    path = Path(tempfile.mkdtemp(prefix="patroni-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def server(place: Path, protocol: str) -> Iterator[Server]:
    with coterie_server(place) as started:
        yield started


@pytest.fixture
def machines(server: Server, place: Path) -> Iterator[list[Machine]]:
    first = free_port_block(6)
    started: list[Machine] = []
    try:
        for node, name in enumerate(run.NAMES):
            started.append(Machine(place, name, first + node, first + 3 + node, ", ".join(server.endpoints)))
        run.await_all([first + 3 + node for node in range(3)])
        yield started
    finally:
        run.stop([machine.process for machine in started])


@pytest.fixture
def writers(machines: list[Machine]) -> Iterator[Writers]:
    started = Writers([machine.port for machine in machines])
    yield started
    started.stop()


def test_there_is_one_primary_at_any_moment_and_no_commit_is_lost(
    machines: list[Machine], writers: Writers, server: Server, place: Path
) -> None:
    reigns = [writers.primary(0.0)]

    def followed() -> None:
        """All replicas stream, and one of them is synchronous: the next primary will have all."""
        until(lambda: machines[reigns[-1]].control("list").count("streaming") == 2, 60)
        until(lambda: "Sync Standby" in machines[reigns[-1]].control("list"), 60)

    def after(event: str, begun: float) -> None:
        reigns.append(writers.primary(now()))
        print(f"{event}: no write for {writers.gap(begun):.2f} s; pg{reigns[-2] + 1} to pg{reigns[-1] + 1}")

    followed()
    begun = now()
    until(lambda: "Successfully switched over" in machines[0].control("switchover", "--force"), 60)
    after("switchover", begun)
    assert reigns[-1] != reigns[-2]

    followed()
    begun = now()
    machines[reigns[-1]].kill_postgres()
    after("kill -9 of the primary's PostgreSQL", begun)
    assert reigns[-1] != reigns[-2]

    followed()
    begun = now()
    leader = server.leader()
    server.kill(leader)
    after("kill -9 of Coterie's leader", begun)
    assert reigns[-1] == reigns[-2]
    server.start(leader, place)

    followed()
    begun = now()
    machines[reigns[-1]].kill()
    after("kill -9 of the primary's PostgreSQL and Patroni", begun)
    assert reigns[-1] != reigns[-2]
    machines[reigns[-2]].start()

    followed()
    writers.stop()
    assert not writers.overlaps()
    assert writers.reigns() == [node for at, node in enumerate(reigns) if at == 0 or reigns[at - 1] != node]
    acknowledged = {write.number for write in writers.writes}
    assert acknowledged <= machines[reigns[-1]].numbers()


def test_the_example_starts_all_with_one_command_and_stops_all_with_one_key(place: Path) -> None:
    coterie, postgres = free_port_block(6), free_port_block(13)
    program = ROOT / "examples" / "patroni" / "run.py"
    command = [sys.executable, "-u", str(program), "--data", str(place / "data")]
    process = subprocess.Popen(
        [*command, "--port", str(postgres), "--coterie-port", str(coterie)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        cwd=place,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if line.startswith("Ctrl-C stops all"):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, "".join([*printed, rest])
    assert "".join(printed).count("streaming") == 2
    assert not any(run.answers(postgres + 10 + node, "/health") for node in range(3))
