"""The simulated world finds real bugs: each planted one is named by a check, correct variants by none."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from tests.mutants.catalogue import CATALOGUE, CONTROLS, MUTANTS

from coterie.sim.mutants import CONTROL_SEEDS, Budget, Change, Mutant, StaleMutant, hunt, plant

HUNTED = Budget(seeds=80, wall_seconds=300.0)
PASSED = Budget(seeds=CONTROL_SEEDS, wall_seconds=300.0, simulated_seconds=6.0)
ALWAYS = ("K0", "K1", "K2", "K5")
"""Correct variants that `make test` runs; `make test-thorough` runs the others, too, as `make mutants` does."""

pytestmark = pytest.mark.slow


def first_of_their_kind() -> frozenset[str]:
    """Rows that `make test` hunts: the first for each protocol, API and set of checks that are to name it."""
    kinds: dict[tuple[str, str, frozenset[str]], str] = {}
    for mutant in MUTANTS:
        if not mutant.by_command:
            kinds.setdefault((mutant.protocol, mutant.api, mutant.killers), mutant.row)
    return frozenset(kinds.values())


def hunted(mutant: Mutant, always: Collection[str]) -> ParameterSet:
    return pytest.param(mutant, id=mutant.row, marks=[] if mutant.row in always else [pytest.mark.thorough])


@pytest.mark.parametrize("mutant", [hunted(m, first_of_their_kind()) for m in MUTANTS if not m.by_command])
def test_the_mutant_is_killed_by_a_check_that_names_it(mutant: Mutant, tmp_path: Path) -> None:
    verdict = hunt(mutant, tmp_path, HUNTED)
    assert verdict.killed_by in mutant.killers, (
        f"{mutant.row} ({mutant.name}) lived through {verdict.seeds} seeds; failures that do not name it: "
        f"{verdict.others[:3]}"
    )


@pytest.mark.parametrize("control", [hunted(m, ALWAYS) for m in CONTROLS])
def test_a_correct_variant_is_not_flagged(control: Mutant, tmp_path: Path) -> None:
    verdict = hunt(control, tmp_path, PASSED)
    assert verdict.seeds == CONTROL_SEEDS
    assert verdict.others == []
    assert verdict.passes
    if control.row == "K1":
        assert verdict.early_commits > 0
    if control.row == "K2":
        assert verdict.crashes > CONTROL_SEEDS


def test_a_mutant_whose_text_is_gone_is_refused(tmp_path: Path) -> None:
    stale = Mutant(row="X", name="stale", changes=(Change("core/log.py", "no such text", ""),))
    with pytest.raises(StaleMutant, match="stands 0 times"):
        plant(stale, tmp_path)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.by_command], ids=lambda m: m.row)
def test_a_mutant_that_the_command_hunts_can_still_be_planted(mutant: Mutant, tmp_path: Path) -> None:
    assert (plant(mutant, tmp_path) / "coterie").is_dir()


def test_every_row_is_planted_once_or_not_at_all_with_a_reason() -> None:
    planted_rows = [mutant.row for mutant in (*CATALOGUE.mutants, *CATALOGUE.controls)]
    reasons = {row.id: row.why for row in CATALOGUE.not_applicable}
    rows = [*planted_rows, *reasons]
    assert len(rows) == len(set(rows))
    assert all(len(why) > 40 for why in reasons.values())
    assert all(mutant.killers and mutant.changes for mutant in CATALOGUE.mutants)
