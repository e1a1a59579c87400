"""`coterie lab advise`, `measure`, `pacelc` as people call them: JSON, pages, files, errors."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coterie.client.one_status import ask_status

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
LIMIT_S = 170


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coterie", "lab", *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["advise", "pacelc"])
def test_json_has_what_every_experiment_has_and_the_page_fetches_nothing(experiment: str, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "tables.csv"
    done = run(
        experiment, "--network", "zones", "--quick", "--seed", "3", "--json", "--html", str(page), "--csv", str(table)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["experiment"], found["seed"], found["verdict"]) == (experiment, 3, "agrees")
    assert all({"id", "expected", "measured", "agrees", "why"} <= claim.keys() for claim in found["claims"])
    text = page.read_text()
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|url\((?!#)|<script', text) == []
    assert "<svg" in text
    assert table.read_text().startswith("claims\n")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("advise", "--network", "nowhere"), 2, "--network nowhere"),
        (("advise", "--network", "zones", "--clients", "mars=1"), 2, "'mars' is no site of this network"),
        (("advise", "--network", "zones", "--model", "hope"), 2, "it must be one of linearizable, session, stale"),
        (("advise", "--network", "zones", "--survive-site", "--write-within", "0.5"), 3, "this can't be had"),
        (("advise", "--seed", "x"), 2, "seed"),
        (("pacelc", "--network", "zones", "--leader", "mars"), 2, "'mars' is no site"),
        (("pacelc", "--seed", "-1"), 2, "seed"),
        (("measure", "=host"), 2, "it must be HOST, HOST:PORT or SITE=HOST:PORT"),
        (("measure", "127.0.0.1:1"), 3, "name a port where something listens"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.thorough
@pytest.mark.slow
def test_what_is_advised_is_written_runs_and_can_be_measured(tmp_path: Path) -> None:
    port = free_port()
    network = tmp_path / "network.toml"
    network.write_text(
        f'sites = ["here"]\nround_trip_ms = [[0.1]]\ndisk_ms = 1\n[addresses]\nhere = ["127.0.0.1:{port}"]\n'
    )
    conf = tmp_path / "conf"
    done = run("advise", "--network", str(network), "--survive", "0", "--quick", "--json", "--write", str(conf))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in conf.iterdir()) == ["afterwards.sh", "here.toml"]
    command = [sys.executable, "-m", "coterie", "node", "--config", str(conf / "here.toml")]
    node = subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while ask_status(f"127.0.0.1:{port}") is None:
            assert node.poll() is None, "the node that was advised has ended"
            assert time.monotonic() < deadline, "the node that was advised does not answer"
        written = tmp_path / "measured.toml"
        found = run(
            "measure", f"there=127.0.0.1:{port}", "--quick", "--json", "--write", str(written), "--data", str(tmp_path)
        )
        assert found.returncode in (0, 1), found.stderr  # A busy machine may not be steady.
        assert json.loads(found.stdout)["sites"] == ["here", "there"]
        again = run("measure", f"there=127.0.0.1:{port}", "--quick", "--data", str(tmp_path))
        assert "answers of a member" in again.stdout
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(30)
