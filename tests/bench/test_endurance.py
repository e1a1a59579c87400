"""The benchmarks of long runs: sizes, limits, plots, the printed command, and one tiny run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from catch_up import start_command
from coterie.core.settings import Settings
from coterie.storage.log_store import DEFAULT_SEGMENT_BYTES
from coterie.torture.hosts import Host
from endurance import log_limit
from node_samples import disk_bytes
from plots import Chart, Series, page, svg, ticks
from steady_puts import Acknowledgements, size

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024


@pytest.mark.parametrize(("text", "count"), [("4096", 4096), ("64M", 64_000_000), ("1G", 10**9), ("1.5kb", 1500)])
def test_a_size_is_written_with_its_unit(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "G", "0", "-1", "1T", "1 G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        size(text)


def test_the_limit_of_the_log_follows_the_snapshot_policy() -> None:
    settings = Settings(snapshot_log_bytes=64 * MIB, snapshot_log_ratio=4, snapshot_keep_entries=1000)
    slack = 1000 * 100 + 2 * DEFAULT_SEGMENT_BYTES
    assert log_limit(settings, 0, 100.0) == 64 * MIB + slack
    assert log_limit(settings, 100 * MIB, 100.0) == 400 * MIB + slack


def test_a_pause_that_goes_on_is_seen_before_it_ends() -> None:
    acknowledgements = Acknowledgements()
    acknowledgements.last -= 3_000_000_000
    assert 3 <= acknowledgements.take_longest() < 60
    assert 3 <= acknowledgements.take_longest() < 60, "it is not over"
    acknowledgements.record(1)
    assert acknowledgements.take_longest() >= 3, "it ended in this interval"
    assert acknowledgements.take_longest() < 3
    assert acknowledgements.total == 1


def test_a_directory_counts_with_what_the_disk_holds(tmp_path: Path) -> None:
    assert disk_bytes(tmp_path / "nothing") == 0
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "full").write_bytes(b"x" * MIB)
    assert disk_bytes(tmp_path) < 2 * MIB


@pytest.mark.parametrize("highest", [0.0, 0.007, 1.0, 3.0, 99.0, 100.0, 31_415.9])
def test_an_axis_has_few_marks_and_none_is_below_what_is_drawn(highest: float) -> None:
    marks = ticks(highest)
    assert marks[0] == 0
    assert marks[-1] >= highest
    assert 2 <= len(marks) <= 7


def test_a_page_of_plots_needs_nothing_else_and_is_well_formed() -> None:
    chart = Chart(
        "Log <on> disk", "MB", [Series("n1 & n2", [(0.0, 1.0), (1.0, 2.5)]), Series("limit", [], dashed=True)]
    )
    ET.fromstring(svg(chart))
    text = page("A run", {"rate": 5}, [chart])
    assert "<svg" in text
    assert "http" not in text
    assert "<script" not in text


HOST = Host("127.0.0.1", 7001, 7002)
EXPECTED = "node --name n4 --data /d --peer 127.0.0.1:7002 --client 127.0.0.1:7001 --join {}".format


@pytest.mark.parametrize(
    ("said", "joined"),
    [
        (
            '{"id": "00", "start": "coterie node --name n4 --data DIR --peer A:1 --client HOST:PORT --join b:2,c:3"}',
            "b:2,c:3",
        ),
        ('{"command": ["coterie", "node", "--name", "n4", "--join", "b:2"]}', "b:2"),
        ("Added n4. Start it with:\n  coterie node --name n4 --data DIR --join=b:2\n", "b:2"),
        ('{"id": "00"}', "e:1,f:2"),
    ],
)
def test_the_printed_command_is_followed_with_our_directory_and_addresses(said: str, joined: str) -> None:
    command = start_command(said, "n4", Path("/d"), HOST, "e:1,f:2")
    assert command[:3] == [sys.executable, "-m", "coterie"]
    assert " ".join(command[3:]) == EXPECTED(joined)


@pytest.mark.slow
def test_a_tiny_run_writes_its_figures_samples_and_plots(tmp_path: Path) -> None:
    arguments = ["--seconds", "2", "--restarts", "1", "--json", "--out", str(tmp_path)]
    command = [sys.executable, str(ROOT / "bench" / "endurance.py"), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "is in memory" in run.stderr:
        pytest.skip("the repository is not on a disk")
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    for name in ("log_limit", "log_bytes_max", "bytes_written", "restart_s", "restart_log_bytes", "pause_ms_max"):
        assert figures[name] > 0, name
    assert figures["rss_max"] > figures["own_memory_max"] > MIB
    assert figures["store_bytes"] >= 0
    assert figures["log_bytes_max"] >= figures["bytes_written"] / 2, "so little is not compacted"
    assert 1.9 <= figures["seconds"] < 10
    written = json.loads((tmp_path / "endurance.json").read_text(encoding="utf-8"))
    assert written["figures"] == figures
    assert len(written["samples"]) >= 2
    assert len(written["samples"][0]["nodes"]) == 3
    assert (tmp_path / "endurance.html").read_text(encoding="utf-8").count("<svg") == 7
