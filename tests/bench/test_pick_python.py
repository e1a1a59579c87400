"""Which Python `make` takes, where there are several."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pick_python import pick, timed


def python(directory: Path, name: str, says: str) -> str:
    """A program that takes part in the contest with what it says."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(("other", "wins"), [("0.5", True), ("0.85", True), ("0.95", False), ("1.5", False)])
def test_the_first_that_will_do_is_taken_unless_another_is_faster_by_a_tenth(
    tmp_path: Path, other: str, wins: bool
) -> None:
    none = python(tmp_path, "none", "exit 1")
    nonsense = python(tmp_path, "nonsense", "echo fast")
    first = python(tmp_path, "first", "echo 1.0")
    second = python(tmp_path, "second", f"echo {other}")
    missing = str(tmp_path / "missing")
    assert pick([missing, none, nonsense, first, second]) == (second if wins else first)


def test_where_none_will_do_there_is_none(tmp_path: Path) -> None:
    assert pick([]) is None
    assert pick([python(tmp_path, "old", "exit 1")]) is None


def test_a_real_one_is_timed_and_taken() -> None:
    took = timed(sys.executable)
    assert took is not None
    assert 0 < took < 60
    assert pick([sys.executable]) == sys.executable
