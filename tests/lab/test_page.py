"""Diagrams in a page are drawn anew in their places, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.__main__ import main
from coterie.lab.page import redraw

PAGE = "before\n<!-- sequence: read raft -->\nold\n<!-- sequence ends -->\nafter\n"


def test_a_diagram_is_drawn_between_its_comments_and_again_the_same() -> None:
    drawn = redraw(PAGE)
    assert drawn.startswith("before\n<!-- sequence: read raft -->\n```mermaid\nsequenceDiagram\n")
    assert drawn.endswith("\n```\n<!-- sequence ends -->\nafter\n")
    assert "old" not in drawn
    assert redraw(drawn) == drawn


def test_an_unknown_diagram_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be one of"):
        redraw(PAGE.replace("read", "raed"))


def test_the_command_rewrites_files_and_says_whether_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert main([str(page)]) == 0
    assert page.read_text() == redraw(PAGE)
    assert main([str(page)]) == 0
    assert main([]) == 2
    assert capsys.readouterr().out == f"{page}: drawn anew\n{page}: as it was\n"
