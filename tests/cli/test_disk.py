"""`coterie disk` measures, says so to people and programs, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from coterie.cli.disk import disk

app = typer.Typer()
app.command()(disk)


def test_a_report_for_programs_has_every_figure_in_order(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), "--json", "--rounds", "20"])
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert (report["rounds"], report["bytes_per_round"]) == (20, 4096)
    assert 0 <= report["p50_us"] <= report["p99_us"] <= report["p999_us"] <= report["max_us"]
    assert report["verdict"] in ("excellent", "good", "slow", "suspect")
    assert list(tmp_path.iterdir()) == []


def test_a_report_for_people_ends_with_a_verdict(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), "--rounds", "5", "--bytes", "100"])
    assert done.exit_code == 0
    assert done.stdout.startswith("5 writes of 100 bytes, each synced:")
    assert done.stdout.strip().splitlines()[-1].startswith(("excellent", "good", "slow", "suspect"))


def test_a_directory_that_is_not_there_and_a_bad_number_are_told_apart(tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, [str(tmp_path / "none")])
    assert missing.exit_code == 3
    assert "none" in missing.stderr
    wrong = CliRunner().invoke(app, [str(tmp_path), "--rounds", "0"])
    assert wrong.exit_code == 2
    assert "rounds is 0" in wrong.stderr
