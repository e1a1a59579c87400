"""Comparisons: what a row says, and Coterie beside itself with another protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import compare
from coterie.core.protocols import PROTOCOLS
from limit import Limit
from measure import Sample
from peer_coterie import Coterie

ROOT = Path(__file__).parents[2]
KEYS = {
    "peer", "work", "in_flight", "ours", "peers", "ratio", "our_p50_ms", "peer_p50_ms", "our_cpu_us", "peer_cpu_us",
    "cpu_ratio", "limit", "share_of_limit", "peer_share_of_limit",
}  # fmt: skip


def samples(*rates: float) -> list[Sample]:
    return [Sample(ops_per_s=rate, p50_ms=1.0, cpu_us=1000 / rate) for rate in rates]


def test_beside_another_system_the_ratio_is_that_of_the_medians() -> None:
    results = {("coterie", 1): samples(90, 40, 30), ("etcd", 1): samples(100, 50, 20), ("limit", 1): samples(200)}
    row = compare.row("etcd", "put", 1, results)
    assert set(row) == KEYS
    assert (row["ours"], row["peers"], row["ratio"], row["cpu_ratio"]) == (40.0, 50.0, 0.8, 1.25)


def test_beside_another_protocol_each_round_is_compared_with_itself() -> None:
    results = {("coterie", 1): samples(90, 40, 30), ("raft", 1): samples(100, 50, 20), ("limit", 1): samples(200)}
    row = compare.row("raft", "put", 1, results, paired=True)
    assert set(row) == KEYS
    assert (row["ours"], row["peers"], row["ratio"], row["cpu_ratio"]) == (40.0, 50.0, 0.9, 1.1111)


def test_every_second_round_begins_with_the_other_cluster() -> None:
    subjects = [compare.make_peer("raft"), Coterie("raft"), Limit()]
    turns = [[subject.name for subject in compare.in_turn(subjects, number)] for number in range(2)]
    assert turns == [["raft", "coterie", "limit"], ["coterie", "raft", "limit"]]


@pytest.mark.parametrize("name", ["etcd", "pysyncobj", *PROTOCOLS])
def test_every_peer_is_known_by_its_name(name: str) -> None:
    assert compare.make_peer(name).name == name
    assert compare.IN_FLIGHT[name][:2] == (1, 64)


@pytest.mark.slow
def test_two_protocols_are_measured_and_the_answer_is_json() -> None:
    command = [sys.executable, str(ROOT / "bench" / "compare.py"), "--peer", PROTOCOLS[0], "--protocol", PROTOCOLS[-1]]
    command += ["--work", "put", "--rounds", "1", "--seconds", "0.2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rounds"], found["seconds"]) == (1, 0.2)
    assert [(row["peer"], row["in_flight"]) for row in found["rows"]] == [(PROTOCOLS[0], n) for n in (1, 64, 1000)]
    assert all(row.keys() == KEYS and row["ratio"] > 0 for row in found["rows"])
    turns = [line.split()[0] for line in done.stderr.splitlines() if " in flight " in line]
    assert turns[::3] == [PROTOCOLS[0], "coterie", "limit"]
