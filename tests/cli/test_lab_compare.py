"""`coterie lab compare`: one command, the whole report."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "lab", "compare", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.thorough
def test_the_quick_comparison_agrees_and_is_written_as_json_page_and_tables(tmp_path: Path) -> None:
    page, tables = tmp_path / "compare.html", tmp_path / "compare.csv"
    done = run("--quick", "--no-processes", "--json", "--html", str(page), "--csv", str(tables))
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    report = json.loads(done.stdout)
    assert (report["experiment"], report["seed"], report["verdict"]) == ("compare", 1, "agrees")
    ids = [claim["id"] for claim in report["claims"]]
    assert len(set(ids)) == len(ids) > 40
    assert {"costs", "geography", "variations", "capacity", "outage", "partial_partitions", "given_up"} <= set(report)
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "no order has room" in text or "✗" in text
    rows = list(csv.reader(tables.read_text().splitlines()))
    assert rows[0] == ["claims"]


def test_a_seed_that_is_no_number_is_refused_with_the_field() -> None:
    done = run("--seed", "seven")
    assert done.returncode == 2
    assert "--seed" in done.stderr
    assert "Traceback" not in done.stderr
