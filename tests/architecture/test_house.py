"""The house's rules that import-linter and ruff do not hold: see CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "coterie"
PURE_ROOMS = ("core", "engine", "check", "http2")
LONGEST_FILE_LINES = 450
OUTSIDE_WORLD = frozenset({"open", "print", "input", "eval", "exec", "hash", "breakpoint"})
"""Builtins that do I/O, or (`hash`) differ from process to process."""

MODULES = sorted(SOURCE.rglob("*.py"))
PURE_MODULES = [path for path in MODULES if path.relative_to(SOURCE).parts[0] in PURE_ROOMS]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_the_rules_see_the_house() -> None:
    assert SOURCE / "core" / "replica.py" in PURE_MODULES
    assert SOURCE / "engine" / "engine.py" in PURE_MODULES
    assert len(MODULES) > len(PURE_MODULES)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_and_is_short_enough_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE_LINES, f"{name_of(path)} is longer than {LONGEST_FILE_LINES} lines"
    if path.name != "__init__.py" or text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


@pytest.mark.parametrize("path", PURE_MODULES, ids=name_of)
def test_a_pure_room_is_told_the_time_and_handed_its_dice(path: Path) -> None:
    tree = parse(path)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Await | ast.AsyncFunctionDef), f"{name_of(path)}:{node.lineno} awaits"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr == "Random", f"{name_of(path)}:{node.lineno} uses the global random.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            assert [alias.name for alias in node.names] == ["Random"], f"{name_of(path)}:{node.lineno}"
    for call in calls(tree):
        where = f"{name_of(path)}:{call.lineno}"
        if isinstance(call.func, ast.Name):
            assert call.func.id not in OUTSIDE_WORLD, f"{where} calls {call.func.id}()"
            assert call.func.id != "Random", f"{where} makes a die of its own"
        if isinstance(call.func, ast.Attribute):
            assert ast.unparse(call.func) != "random.Random", f"{where} makes a die of its own"


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "manager", "misc"])
def test_no_room_or_file_is_a_place_that_everyone_imports_and_no_one_owns(name: str) -> None:
    assert not [name_of(path) for path in SOURCE.rglob("*") if path.stem == name]
