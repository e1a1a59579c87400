"""`coterie lab claims` as a person, and as a program, runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "lab", "claims", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.thorough
@pytest.mark.slow
def test_no_difference_is_unexplained_and_the_page_needs_nothing_else(tmp_path: Path) -> None:
    page, tables = tmp_path / "claims.html", tmp_path / "claims.csv"
    done = run("--quick", "--seed", "2", "--json", "--html", str(page), "--csv", str(tables))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["experiment"] == "claims"
    assert (report["seed"], report["quick"]) == (2, True)
    assert all(c["agrees"] or (c["explained"] and c["why"]) for c in report["claims"])
    sources = ("raft_9_3", "howard_abraham", "omnipaxos", "paxi", "flexible_paxos", "paxos_vs_raft", "damage", "fsync")
    assert set(report) >= {*sources, "leaseguard"}
    assert page.read_text().count("<svg") == 1
    assert tables.read_text().startswith("claims\n")


def test_a_seed_that_is_no_number_is_refused() -> None:
    done = run("--seed", "many")
    assert done.returncode == 2
    assert "seed" in done.stderr
    assert done.stdout == ""
