"""`coterie sim`: what it says of seeds that hold, that fail, that do not come to their end; and what it refuses."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from coterie.sim.mutants import Change, Mutant, plant

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
EARLY_VOTE = Change(
    "core/raft/election.py",
    "state.outbox.promise(sender, VoteReply(state.epoch, True))",
    "state.outbox.post(sender, VoteReply(state.epoch, True))",
)
SEED_2 = "    world = World(options, witness=witness)\n"


def planted(directory: Path, *changes: Change) -> Path:
    directory.mkdir()
    return plant(Mutant(row="X", name="for this test", changes=changes), directory)


def run(*arguments: str, source: Path = ROOT / "src") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(source), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "sim", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout.count("\n") == 1, done.stderr
    decoded: dict[str, Any] = json.loads(done.stdout)
    return decoded


def test_seeds_that_hold_are_summed_up_in_one_object(protocol: str) -> None:
    done = run("--seeds", "1..3", "--seconds", "1", "--protocol", protocol, "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = outcome(done)
    assert {"protocol": protocol, "seeds": 3, "violations": 0, "liveness_failures": 0, "failing": []}.items() <= (
        told.items()
    )
    assert told["simulated_seconds"] >= 3
    assert told["ops"] > 0
    assert told["elections"] >= 1
    assert told["events"] > 1000
    assert told["wall_seconds"] > 0
    assert {"unknown", "crashes", "idle"} <= told.keys()
    assert set(told["faults"].values()) <= {1, 2, 3}


def test_callers_of_etcds_api_are_told_of_in_the_summary() -> None:
    done = run("--seeds", "1..2", "--seconds", "1", "--api", "etcd", "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert {"api": "etcd", "seeds": 2, "failing": []}.items() <= outcome(done).items()


def test_one_seed_tells_its_figures_and_draws_its_end(tmp_path: Path) -> None:
    path = tmp_path / "end.svg"
    done = run("--seed", "7", "--seconds", "1", "--faults", "none", "--nodes", "3", "--draw", str(path))
    assert done.returncode == 0, done.stderr
    assert "0 violations, 0 liveness failures" in done.stdout
    assert "seed 7: " in done.stdout
    assert "trace " in done.stdout
    assert ET.parse(path).getroot().tag == f"{SVG}svg"


def test_a_failure_is_made_small_drawn_and_shown_again_by_its_command(tmp_path: Path) -> None:
    source, path = planted(tmp_path / "mutant", EARLY_VOTE), tmp_path / "failure.svg"
    done = run("--seeds", "4..4", "--seconds", "2", "--draw", str(path), source=source)
    assert done.returncode == 1
    assert "seed 4: vote-durable" in done.stdout
    assert "smallest run that fails so" in done.stdout
    assert "‼ [vote-durable]" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    drawn = ET.parse(path).getroot()
    broken = drawn.findall(f".//{SVG}g[@class='violation']/{SVG}text")
    assert [element.text for element in broken if (element.text or "").startswith("[vote-durable]")]
    assert len(drawn.findall(f".//{SVG}g[@class='message']")) >= 3
    command = next(line.strip() for line in done.stdout.splitlines() if line.startswith("  coterie sim"))
    again = outcome(run(*shlex.split(command)[2:], "--no-shrink", "--json", source=source))
    assert [(failure["check"], failure["replay"]) for failure in again["failing"]] == [("vote-durable", command)]
    assert "--faults none" in command
    assert (again["violations"], again["seeds"]) == (1, 1)


def test_a_worker_that_dies_and_an_exception_are_told_with_their_seeds(tmp_path: Path) -> None:
    deadly = f"{SEED_2}    if options.seed == 2:\n        __import__('os')._exit(9)\n"
    deadly += "    if options.seed == 3:\n        raise KeyError('not foreseen')\n"
    source = planted(tmp_path / "mutant", Change("sim/world.py", SEED_2, deadly))
    done = run("--seeds", "1..4", "--seconds", "0.5", "--jobs", "2", "--no-shrink", "--json", source=source)
    assert done.returncode == 1
    told = outcome(done)
    assert [(failure["seed"], failure["check"]) for failure in told["failing"]] == [
        (2, "worker-died"),
        (3, "exception"),
    ]
    assert "KeyError: 'not foreseen'" in told["failing"][1]["detail"]
    assert (told["seeds"], told["violations"]) == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage"),
        (("--json",), "--seeds A..B"),
        (("--seed", "1", "--seeds", "1..2"), "--seeds A..B"),
        (("--seeds", "1-2"), "two whole numbers"),
        (("--seeds", "9..2"), "9 is larger than 2"),
        (("--seeds", f"0..{1 << 64}"), "a seed is at most"),
        (("--seed", "1", "--faults", "los"), "there is no class 'los'"),
        (("--seed", "1", "--protocol", "paxos"), "it must be one of raft, multipaxos"),
        (("--seed", "1", "--api", "rest"), "it must be one of native, etcd, both"),
        (("--seed", "1", "--nodes", "0"), "--nodes"),
        (("--seed", "1", "--draw", "/nowhere/at/all.svg"), "there is no directory /nowhere/at"),
        (("--seed", "1", "--dask", "tcp://127.0.0.1:1"), "--dask tcp://127.0.0.1:1"),
        (("mutants", "--only", "R01,XYZ"), "there is no 'XYZ'"),
    ],
)
def test_what_cannot_be_run_is_said_with_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr + (done.stdout if not arguments else "")
    assert "Traceback" not in done.stderr


def test_planted_bugs_are_hunted_and_reported_in_one_object() -> None:
    done = run("mutants", "--only", "R01", "--json")
    assert done.returncode == 0, done.stderr
    told = outcome(done)
    assert (told["tried"], told["killed"], told["survived"]) == (1, 1, [])
    assert [(kill["id"], kill["check"]) for kill in told["kills"]] == [("R01", "vote-durable")]
    assert told["controls"] == {"tried": 0, "passed": 0}
    assert told["median_seconds_to_kill"] == told["kills"][0]["seconds"] > 0
    assert all(row["why"] for row in told["not_applicable"])


def test_a_mutant_that_lives_is_exit_code_1() -> None:
    done = run("mutants", "--only", "M10", "--seeds", "1", "--json")
    assert done.returncode == 1
    assert outcome(done)["survived"] == ["M10"]


def test_outside_a_checkout_there_is_nothing_to_plant(tmp_path: Path) -> None:
    done = run("mutants", source=planted(tmp_path / "installed"))
    assert done.returncode == 2
    assert "source checkout" in done.stderr


def test_the_same_seeds_run_on_a_dask_cluster() -> None:
    pytest.importorskip("distributed")
    here = outcome(run("--seeds", "1..3", "--seconds", "0.5", "--json"))
    script = (
        "import subprocess, sys\n"
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "        command = [sys.executable, '-m', 'coterie', 'sim', '--dask', cluster.scheduler_address]\n"
        "        command += ['--seeds', '1..3', '--seconds', '0.5', '--json']\n"
        "        sys.exit(subprocess.run(command, check=False).returncode)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert outcome(done) | {"wall_seconds": 0} == here | {"wall_seconds": 0}
