"""The probe of a disk's fsync latency."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.core.errors import ConfigurationError
from coterie.storage.probe import Verdict, probe_disk, report
from coterie.storage.refusal import DirectoryRefused, Refusal

US = 1000
MS = 1000 * US


def test_a_probe_measures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    found = probe_disk(str(tmp_path), rounds=30, bytes_per_round=512)
    assert found.rounds == 30
    assert found.bytes_per_round == 512
    assert 0 <= found.p50_us <= found.p99_us <= found.p999_us <= found.max_us
    assert found.max_us > 0
    assert found.sentence.startswith(found.verdict.value)
    assert list(tmp_path.iterdir()) == []


def test_a_probe_ends_in_time_with_at_least_one_round(tmp_path: Path) -> None:
    clock = iter(range(0, 10**12, 600 * MS))  # two readings a round: each round takes 0.6 s, and as much lies between
    found = probe_disk(str(tmp_path), rounds=1000, time_limit_s=3.0, now=lambda: next(clock))
    assert found.rounds == 3
    assert found.p50_us == 600 * MS // US
    assert found.verdict is Verdict.SLOW


def test_percentiles_are_nearest_ranks() -> None:
    found = report([n * US for n in range(1000, 0, -1)], 4096)
    assert (found.p50_us, found.p99_us, found.p999_us, found.max_us) == (500, 990, 999, 1000)
    one = report([7 * US], 4096)
    assert (one.p50_us, one.p99_us, one.p999_us, one.max_us) == (7, 7, 7, 7)


@pytest.mark.parametrize(
    ("latency", "verdict", "word"),
    [
        (1 * US, Verdict.SUSPECT, "lost with the power"),
        (900 * US, Verdict.EXCELLENT, "0.90 ms"),
        (9 * MS, Verdict.GOOD, "9.00 ms"),
        (10 * MS, Verdict.SLOW, "election timeout"),
    ],
)
def test_the_verdict_follows_the_99th_percentile(latency: int, verdict: Verdict, word: str) -> None:
    found = report([latency] * 99 + [50 * MS], 4096)
    assert found.verdict is verdict
    assert word in found.sentence


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DirectoryRefused, match="No such file") as refused:
        probe_disk(str(tmp_path / "nowhere"), rounds=1)
    assert refused.value.reason is Refusal.DISK_ERROR
    assert refused.value.advice


@pytest.mark.parametrize("numbers", [{"rounds": 0}, {"rounds": 10**7}, {"bytes_per_round": 0}])
def test_a_number_out_of_range_is_refused(tmp_path: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be"):
        probe_disk(str(tmp_path), rounds=numbers.get("rounds", 1), bytes_per_round=numbers.get("bytes_per_round", 1))
