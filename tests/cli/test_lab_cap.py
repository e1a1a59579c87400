"""`coterie lab cap` as users call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
def test_it_agrees_and_its_page_has_the_table_the_refusals_and_the_proof(tmp_path: Path) -> None:
    page = tmp_path / "cap.html"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "lab", "cap", "--quick", "--json", "--html", str(page)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    said = json.loads(done.stdout)
    assert (said["experiment"], said["verdict"]) == ("cap", "agrees")
    assert said["namespaces"] or said["no_namespaces_because"]
    for row in said["rows"]:
        refused = any(side["refusal"] for side in row["sides"].values())
        assert (row["gives_up"], bool(row["violation"]), refused) in {("C", True, False), ("A", False, True)}, row
    text = page.read_text()
    assert "The proof, step by step" in text
    assert "not linearizable" in text
    assert "no leader was found in time" in text
    assert "<svg" in text
