"""The tests of the checker notice when it is wrong: each planted change makes a test fail that is named for it.

A few rows are tried in every run; `pytest tests/check/test_mutants.py --every-mutant` tries all.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.check.mutants import MUTANTS

from coterie.sim.mutants import Mutant, plant

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


def run_tests(mutant: Mutant, directory: Path) -> subprocess.CompletedProcess[str]:
    """The tests that must notice it, against a copy of the package with the change; Hypothesis draws the same each
    time, and keeps nothing."""
    tests = sorted(mutant.killers)
    environment = {
        **os.environ,
        "PYTHONPATH": str(plant(mutant, directory)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "300",
    }
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-rf", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *("--override-ini", "pythonpath=.", "--hypothesis-seed=1", "--hypothesis-profile=no-shrink"),
        *(str(HERE / test) for test in tests),
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def failures(output: str) -> list[tuple[str, str]]:
    """Which tests failed, by name without parameters, and the first words of why."""
    return re.findall(r"^FAILED \S+?::(\w+)\S* - (.*)$", output, re.MULTILINE)


@pytest.fixture
def every_mutant(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("every_mutant"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.row)
def test_the_mutant_fails_a_test_that_is_named_for_it(mutant: Mutant, tmp_path: Path, every_mutant: bool) -> None:
    if mutant.by_command and not every_mutant:
        assert (plant(mutant, tmp_path) / "coterie").is_dir(), "its text is there still"
        return
    done = run_tests(mutant, tmp_path)
    failed = failures(done.stdout)
    assert failed, f"{mutant.row} ({mutant.name}) lived:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    name, why = failed[0]
    assert name in {test.split("::")[1] for test in mutant.killers}
    # A test that only stumbled has noticed nothing.
    assert re.match(r"(AssertionError|assert |Failed: DID NOT RAISE|ExceptionGroup: Hypothesis found)", why), why


def test_the_same_tests_pass_where_nothing_is_changed(tmp_path: Path, every_mutant: bool) -> None:
    tried = [mutant for mutant in MUTANTS if every_mutant or not mutant.by_command]
    untouched = Mutant(
        row="none", name="nothing is changed", changes=(), killers=frozenset().union(*(m.killers for m in tried))
    )
    done = run_tests(untouched, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_planted_change_is_what_the_tests_run_against(tmp_path: Path) -> None:
    """Were it not, every mutant would live, and nothing would be wrong with the tests."""
    assert len({mutant.row for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(not mutant.by_command for mutant in MUTANTS) >= 6
