"""`--user`: where it may stand, and what is said when the password is missing."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from coterie.cli.application import application

run = CliRunner()


@pytest.mark.parametrize("arguments", [["--user", "ann", "get", "k"], ["get", "k", "--user", "ann"]])
def test_without_a_password_and_a_person_it_is_said_how_to_give_one(arguments: list[str]) -> None:
    done = run.invoke(application, arguments, env={"COTERIE_ENDPOINTS": "127.0.0.1:1"})
    assert done.exit_code == 2
    assert "--user ann: no password; say NAME:PASSWORD, or set COTERIE_PASSWORD" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["get", "k", "--user", ":x"], {}),
        (["get", "k"], {"COTERIE_USER": ":x"}),
        (["bench", "get", "--user", ":x"], {}),
    ],
)
def test_a_user_without_a_name_is_refused_wherever_it_was_said(arguments: list[str], variables: dict[str, str]) -> None:
    done = run.invoke(application, arguments, env={"COTERIE_ENDPOINTS": "127.0.0.1:1", **variables})
    assert (done.exit_code, "the user's name is empty" in done.stderr) == (2, True)
