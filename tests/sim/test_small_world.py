"""Every order of events of three members of the shipped cores, within bounds, and what is found when they are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.mutants.catalogue import MUTANTS
from typer.testing import CliRunner

from coterie.cli.explore import Report
from coterie.cli.sim import app
from coterie.core.types import Role
from coterie.sim.explorer import explore
from coterie.sim.mutants import plant
from coterie.sim.small_world import Bounds, SmallWorld, State, explore_small_world

ORDER = Bounds(depth=13)
"""Messages and disks in every order."""
CRASH = Bounds(crashes=1, resends=1, depth=11)
"""A crash at any moment, in the middle of a batch, too."""
RIVALS = Bounds(candidates=2, elections=2, slow_disks=False, depth=9)
"""Two that want to lead."""
RIVALRY = "--candidates 2 --elections 2 --quick-disks"
PLANTED = {
    "R01": ("", 5, "VoteReply of n3 votes for n1 in 1; its disk has 0"),
    "R24": ("", 3, "RequestVote of n1 in 1; its disk has 0"),
    "R20": (RIVALRY, 6, "one-leader: [('1', 'n1'), ('1', 'n2')]"),
    "S01": ("", 8, "AppendReply of n2 acknowledges 2 in 1; its disk has 1"),
    "V07": ("", 3, "Prepare of n1"),
    "V08": ("", 5, "Promise of n3"),
    "P02": ("", 8, "Accepted of n3 acknowledges 2"),
}
"""Rows of the planted bugs: bounds, after how many events each shows at the earliest, and what is said then."""


@pytest.mark.parametrize("bounds", [ORDER, CRASH, RIVALS], ids=["order", "crash", "rivals"])
def test_no_order_of_events_breaks_a_law(bounds: Bounds, protocol: str) -> None:
    seen = explore_small_world(msgspec.structs.replace(bounds, protocol=protocol))
    assert seen.counterexample is None, str(seen)
    assert seen.states > 500, str(seen)
    assert seen.depth == bounds.depth
    print(f"{protocol}: {seen}")


def test_in_some_order_the_command_is_committed_by_all(protocol: str) -> None:
    """A system in which nothing happens keeps every law."""
    world = SmallWorld(Bounds(protocol=protocol, slow_disks=False))

    def not_yet(state: State) -> str | None:
        commits = [world.member(number).replica.commit for number in state.seats]
        roles = [world.member(number).replica.role for number in state.seats]
        return "it is" if min(commits) >= 3 and roles.count(Role.LEADER) == 1 and b"0" in state.chosen[2] else None

    seen = explore(world.initial, world.successors, not_yet, limit=20_000)
    assert seen.counterexample is not None


def test_members_that_call_no_election_may_change_places(protocol: str) -> None:
    bounds = Bounds(protocol=protocol, depth=9)
    merged = explore_small_world(bounds)
    told_apart = SmallWorld(bounds)
    told_apart.renamings = [{}]
    all_states = explore(told_apart.initial, told_apart.successors, told_apart.wrong)
    assert merged.states < all_states.states <= 2 * merged.states
    assert merged.depth == all_states.depth


@pytest.mark.parametrize("row", PLANTED)
def test_a_planted_bug_is_found_by_the_shortest_way(row: str, tmp_path: Path) -> None:
    mutant = next(m for m in MUTANTS if m.row == row)
    environment = {**os.environ, "PYTHONPATH": str(plant(mutant, tmp_path)), "PYTHONDONTWRITEBYTECODE": "1"}
    arguments, steps, reason = PLANTED[row]
    command = [
        sys.executable,
        "-m",
        "coterie",
        "sim",
        "explore",
        "--json",
        "--protocol",
        mutant.protocol,
        "--depth",
        "9",
    ]
    command += arguments.split()
    found = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False)
    assert found.returncode == 1, found.stderr.decode()
    report = msgspec.json.decode(found.stdout, type=Report)
    assert len(report.counterexample) == steps + 1
    assert reason in report.counterexample[-1]


def test_the_command_tells_the_number_of_states_and_a_limit_that_is_too_low() -> None:
    whole = CliRunner().invoke(app, ["explore", "--depth", "6"])
    assert whole.exit_code == 0
    assert "states" in whole.stdout
    cut = CliRunner().invoke(app, ["explore", "--depth", "9", "--limit", "5"])
    assert cut.exit_code == 2
    assert "more than 5 distinct states" in cut.stderr
