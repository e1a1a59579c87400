"""A machine is found by its name, or the error says which part of the name is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.machine.machines import Recorder

from coterie.core.errors import ConfigurationError
from coterie.machine.kv import KeyValue
from coterie.machine.loading import load_machine, machine_name

SOURCE = """
from coterie.machine.interface import StateMachine
from coterie.machine.kv import KeyValue

class Good(KeyValue):
    class Inner(KeyValue):
        pass

class Defaulted(KeyValue):
    def __init__(self, size=3):
        super().__init__()

class Needs(KeyValue):
    def __init__(self, size):
        super().__init__()

class Abstract(StateMachine):
    pass

class Raises(KeyValue):
    def __init__(self):
        raise RuntimeError("no disk")

class Other:
    pass

value = 3
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A directory with modules, on nobody's path; sys.path is put back afterwards."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "loading_package").mkdir()
    (tmp_path / "loading_package" / "mine.py").write_text(SOURCE)
    (tmp_path / "loading_broken.py").write_text("1 / 0\n")
    (tmp_path / "loading_needs.py").write_text("import surely_not_installed\n")
    return str(tmp_path)


@pytest.mark.parametrize("name", ["Good", "Good.Inner", "Defaulted"])
def test_a_machine_is_made_by_its_name(directory: str, name: str) -> None:
    machine = load_machine(f"loading_package.mine:{name}", directory=directory)
    assert isinstance(machine, KeyValue)
    assert machine_name(machine) == f"loading_package.mine:{name}"


def test_the_built_in_machine_has_its_public_name() -> None:
    assert machine_name(KeyValue) == machine_name(KeyValue()) == "coterie.machine.kv:KeyValue"
    assert type(load_machine("coterie.machine.kv:KeyValue")) is KeyValue
    assert machine_name(Recorder()) == "tests.machine.machines:Recorder"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "package.module:Class"),
        ("loading_package.mine", "package.module:Class"),
        ("loading_package/mine.py:Good", "package.module:Class"),
        (":Good", "package.module:Class"),
        ("loading_package.mine:", "package.module:Class"),
        ("no_such_package.mine:Good", "no module 'no_such_package'"),
        ("loading_package.no_such:Good", "no module 'loading_package.no_such'"),
        ("loading_needs:Good", "needs 'surely_not_installed'"),
        ("loading_broken:Good", "ZeroDivisionError"),
        ("loading_package.mine:Missing", "no class 'Missing'"),
        ("loading_package.mine:Other", "not a StateMachine"),
        ("loading_package.mine:value", "not a StateMachine"),
        ("loading_package.mine:Needs", "needs arguments"),
        ("loading_package.mine:Abstract", "apply, digest, query, restore, snapshot"),
        ("loading_package.mine:Raises", "RuntimeError: no disk"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(directory: str, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_machine(name, directory=directory)
    assert text in str(caught.value)
    assert repr(name) in str(caught.value)
