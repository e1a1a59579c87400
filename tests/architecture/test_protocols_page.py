"""docs/protocols.md: what it names is in the code, and its diagrams are what runs give now."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.page import redraw
from coterie.lab.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "coterie"
PAGE = ROOT / "docs" / "protocols.md"
TEXT = PAGE.read_text(encoding="utf-8")
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py): ([\w., ]+)`", TEXT)))
MECHANISMS = (
    "Epoch",
    "Vote",
    "Leader's authority",
    "Log repair",
    "Commit",
    "Reads",
    "Membership",
    "Compaction",
    "Who may lead",
    "Pre-vote, canvass",
    "Leases",
    "Transfer",
    "Snapshots",
    "Quorums",
)


@cache
def names_in(path: str) -> set[str]:
    """What a file defines: functions, classes, constants; methods and fields behind their class and a dot."""
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    return {name for node in tree.body for name in defined(node)}


def defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.ClassDef):
        yield node.name
        for inner in node.body:
            yield from (f"{node.name}.{name}" for name in defined(inner))
            if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
                yield from (f"{node.name}.{name}" for name in assigned_to_self(inner))
    else:
        yield from assigned(node)


def assigned(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def assigned_to_self(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                yield target.attr


def test_the_references_are_found() -> None:
    assert len(REFERENCES) > 40
    assert "Epoch" in names_in("core/types.py")
    assert "Log.put" in names_in("core/log.py")
    assert "Progress.match" in names_in("core/leading/progress.py")


@pytest.mark.parametrize(("path", "names"), REFERENCES)
def test_a_name_on_the_page_is_in_the_file_that_the_page_says(path: str, names: str) -> None:
    assert (SOURCE / path).is_file(), f"docs/protocols.md names {path}"
    for name in names.split(", "):
        assert name in names_in(path), f"docs/protocols.md says that {path} has {name}"


def test_every_mention_of_a_file_is_in_the_notation_that_is_checked() -> None:
    mentioned = set(re.findall(r"\b((?:core|engine|lab)/[\w/]+\.py)", TEXT))
    assert mentioned == {path for path, _ in REFERENCES}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_has_its_row(mechanism: str) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith(f"| **{mechanism}** |")]
    assert len(rows) == 1
    assert len([cell for cell in rows[0].strip("|").split("|") if cell.strip()]) == 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_is_drawn_for_each_protocol(scenario: str, protocol: str) -> None:
    assert TEXT.count(f"<!-- sequence: {scenario} {protocol} -->") == 1


def test_the_diagrams_are_what_runs_give_now() -> None:
    assert redraw(TEXT) == TEXT, "draw them anew: python -m coterie.lab docs/protocols.md"
