"""The whole of `coterie lab flp`: every claim agrees with the code that ships, and not with code that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from coterie.lab.experiment import Conditions, Figure, Report, Table
from coterie.lab.flp.experiment import TITLE, flp
from coterie.lab.reports.page import page
from coterie.sim.mutants import Change, Mutant, plant

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

MINORITY = Mutant(
    row="X",
    name="one of three members is a majority",
    changes=(
        Change(
            "core/quorum.py",
            "return count // 2 + 1 if count else 0",
            "return (count + 1) // 2 - 1 if count > 1 else count",
        ),
    ),
)


@pytest.fixture(scope="module")
def report() -> Report:
    return flp(Conditions(seed=2, quick=True))


def test_every_claim_agrees(report: Report) -> None:
    assert [claim for claim in report.claims if not claim.agrees] == []
    assert len({claim.id for claim in report.claims}) == len(report.claims) == 18


def test_its_json_is_plain_and_holds_the_schedule_and_what_was_measured(report: Report) -> None:
    told = json.loads(json.dumps(report.to_json()))
    assert told["verdict"] == "agrees"
    assert {"undecided", "omega", "random_order", "ben_or", "partial_synchrony"} <= told.keys()
    schedule = told["undecided"]["schedule"]
    assert schedule[0]["event"] == "n1 starts: Prepare 1.n1"
    assert 0 < told["undecided"]["repeats_from"] < len(schedule)


def test_the_page_has_its_three_figures_and_asks_for_nothing_else(report: Report) -> None:
    pytest.importorskip("matplotlib")
    figures = [part for part in report.parts if isinstance(part, Figure)]
    assert len(figures) == 3
    for figure in figures:
        assert ET.fromstring(figure.draw()).tag.endswith("svg")
    whole = page(report, TITLE)
    assert "src=" not in whole
    assert "<script" not in whole


def test_every_table_has_rows_as_wide_as_its_header(report: Report) -> None:
    tables = [part for part in report.parts if isinstance(part, Table)]
    assert len(tables) == 10
    for table in tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_with_a_minority_for_a_majority_claims_differ_and_the_broken_laws_are_named(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(plant(MINORITY, tmp_path)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "coterie", "lab", "flp", "--quick", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert "agreement" in claims["safe-in-every-order"]["measured"]
    broken = claims["safe-whatever-the-delay"]["measured"]
    assert "vote-quorum" in broken
    assert "promise-quorum" in broken
    differ = {name for name, claim in claims.items() if not claim["agrees"]}
    assert {
        "undecided-for-ever",
        "omega-decides",
        "chance-decides",
        "timely-elects",
        *("safe-in-every-order",),
    } <= differ
