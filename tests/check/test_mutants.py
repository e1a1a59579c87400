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

from coterie.sim.mutants import PACKAGE, Mutant, plant

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
    return re.findall(r"^FAILED \S+?::(\w+)(?:\[.*\])? - ((?:\w+: |assert ).*)$", output, re.MULTILINE)


def tried(config: pytest.Config) -> list[Mutant]:
    return [mutant for mutant in MUTANTS if config.getoption("every_mutant") or not mutant.by_command]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mutant" in metafunc.fixturenames:
        metafunc.parametrize("mutant", tried(metafunc.config), ids=lambda mutant: mutant.row)


def test_the_mutant_fails_a_test_that_is_named_for_it(mutant: Mutant, tmp_path: Path) -> None:
    done = run_tests(mutant, tmp_path)
    failed = failures(done.stdout)
    assert failed, f"{mutant.row} ({mutant.name}) lived:\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    name, why = failed[0]
    assert name in {test.split("::")[1] for test in mutant.killers}
    # A test that only stumbled has noticed nothing.
    assert re.match(r"(AssertionError|assert |Failed: DID NOT RAISE|ExceptionGroup: Hypothesis found)", why), why


def test_the_same_tests_pass_where_nothing_is_changed(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tests = frozenset[str]().union(*(mutant.killers for mutant in tried(request.config)))
    done = run_tests(Mutant(row="none", name="nothing is changed", changes=(), killers=tests), tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


def test_each_row_has_a_name_of_its_own_a_test_and_a_text_that_is_there_once() -> None:
    assert len({mutant.row for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(not mutant.by_command for mutant in MUTANTS) >= 4
    for mutant in MUTANTS:
        assert mutant.killers
        for change in mutant.changes:
            source = (PACKAGE / change.file).read_text(encoding="utf-8")
            assert source.count(change.old) == 1, (mutant.row, change.file)
            assert change.old != change.new
