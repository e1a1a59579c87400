"""`coterie lab models` as users call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "lab", "models", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.thorough
def test_the_quick_run_agrees_and_writes_a_page_and_tables(tmp_path: Path) -> None:
    page, tables = tmp_path / "models.html", tmp_path / "models.csv"
    done = run("--quick", "--json", "--html", str(page), "--csv", str(tables))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["experiment"], said["verdict"]) == ("models", "agrees")
    assert {"raft-session-reads", "multipaxos-lease-reads-beyond-the-bound"} <= {c["id"] for c in said["claims"]}
    apart = {model["name"]: model["allowed_and_forbidden_by"] for model in said["models"]}
    assert all(apart[name] for name in apart if name != "strict-serializable" and name != "linearizable")
    assert "<svg" in page.read_text()
    assert "not linearizable" in page.read_text()
    assert tables.read_text().startswith("claims\n")


def test_a_seed_that_is_no_number_is_refused() -> None:
    done = run("--seed", "seven")
    assert done.returncode == 2
    assert "--seed" in done.stderr
