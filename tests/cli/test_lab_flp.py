"""`coterie lab flp` on the command line."""

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
    command = [sys.executable, "-m", "coterie", "lab", "flp", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.thorough
@pytest.mark.slow
def test_json_is_one_object_and_page_and_tables_are_written(tmp_path: Path) -> None:
    page, tables = tmp_path / "flp.html", tmp_path / "flp.csv"
    done = run("--quick", "--json", "--seed", "5", "--html", str(page), "--csv", str(tables))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["experiment"], report["seed"], report["verdict"]) == ("flp", 5, "agrees")
    assert report["claims"]
    assert page.read_text().startswith("<!doctype html>")
    assert tables.read_text().startswith("claims\nclaim,expected,measured,verdict,why\n")


@pytest.mark.thorough
@pytest.mark.slow
def test_people_see_the_schedule_and_the_claims() -> None:
    done = run("--quick")
    assert done.returncode == 0, done.stderr
    assert "n1 starts: Prepare 1.n1" in done.stdout
    assert "from here again and again" in done.stdout
    assert "undecided-for-ever" in done.stdout


def test_a_seed_that_is_no_number_is_refused() -> None:
    done = run("--seed", "one")
    assert done.returncode == 2
    assert "--seed" in done.stderr
    assert "Traceback" not in done.stderr
