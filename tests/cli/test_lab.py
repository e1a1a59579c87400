"""`coterie lab sequence`: what it prints, and what it says when it is asked for what is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coterie.lab.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "lab", "sequence", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_without_a_scenario_it_lists_them() -> None:
    listed = run()
    assert listed.returncode == 0
    for name, scenario in SCENARIOS.items():
        assert name in listed.stdout
        assert scenario.line in listed.stdout
    assert json.loads(run("--json").stdout) == {"scenarios": {name: s.line for name, s in SCENARIOS.items()}}


def test_it_draws_text_in_each_protocols_words() -> None:
    raft, paxos = run("write"), run("write", "--protocol", "multipaxos")
    assert (raft.returncode, paxos.returncode) == (0, 0)
    assert "AppendEntries 3:x=1" in raft.stdout
    assert "Accept(1.n1) 3:x=1" in paxos.stdout
    assert "\x1b" not in raft.stdout


def test_json_is_one_object_with_the_events() -> None:
    done = run("read", "--json", "--seed", "3")
    assert done.stdout.count("\n") == 1
    recording = json.loads(done.stdout)
    assert recording["seed"] == 3
    assert {"at_ms", "kind", "from", "to", "text"} <= set(recording["events"][0])


def test_markdown_is_a_fenced_diagram_and_svg_a_file(tmp_path: Path) -> None:
    assert run("read", "--markdown").stdout.startswith("```mermaid\nsequenceDiagram\n")
    path = tmp_path / "read.svg"
    assert run("read", "--svg", str(path)).returncode == 0
    assert ET.fromstring(path.read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("failovr",), 2, "it must be one of election, write, read, failover, repair, partition, membership"),
        (("read", "--protocol", "paxos"), 2, "it must be one of raft, multipaxos"),
        (("read", "--json", "--markdown"), 2, "choose one"),
        (("read", "--svg", "/nowhere/at/all.svg"), 3, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
