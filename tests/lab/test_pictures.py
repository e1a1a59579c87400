"""The documents' pictures: each is there, each is shown, and when they are drawn anew they are the same bytes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab import pictures
from coterie.lab.__main__ import main
from coterie.lab.errors import LabError
from coterie.lab.experiment import Figure
from coterie.lab.pictures import NAMES, SOURCES, Source, drawn_with
from coterie.lab.reports.plots import COLOURS, release

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "lab" / "pictures"
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
MOST_BYTES = 64 * 1024


def shown() -> dict[Path, str]:
    """Every picture that a document shows, and what stands in its place for who cannot see it."""
    found = {}
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for words, target in SHOWN.findall(page.read_text(encoding="utf-8")):
            if "://" not in target:
                found[(page.parent / target).resolve()] = words
    return found


def test_what_is_stored_is_what_can_be_drawn_and_what_documents_show() -> None:
    stored = {path.resolve() for path in STORED.iterdir()}
    assert {path.name for path in stored} == {f"{name}.svg" for name in NAMES}
    assert set(shown()) == stored
    assert all(len(words) > 20 for words in shown().values()), "each is told in words, too"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small_fetches_nothing_and_says_what_drew_it(name: str) -> None:
    text = (STORED / f"{name}.svg").read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert re.findall(r'href="(?!#)[^"]*"|url\((?!#)|<script|<image|<style[^>]*>[^<]*@', text) == []
    assert drawn_with(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_colours_that_everybody_tells_apart_and_grey(name: str) -> None:
    used = {colour.lower() for colour in re.findall(r"#[0-9a-fA-F]{6}\b", (STORED / f"{name}.svg").read_text("utf-8"))}
    grey = {colour for colour in used if colour[1:3] == colour[3:5] == colour[5:7]}
    assert used - grey <= {colour.lower() for colour in COLOURS}
    assert used


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.command.split()[1])
def test_drawing_them_anew_gives_the_same_bytes(source: Source) -> None:
    stored = {name: (STORED / f"{name}.svg").read_text(encoding="utf-8") for name in source.kept}
    if any(drawn_with(text) != release() for text in stored.values()):
        pytest.skip(f"matplotlib {release()} is installed, and they were drawn with another")
    drawn = dict(pictures.pictures(tuple(source.kept)))
    assert [name for name in stored if drawn[name] != stored[name]] == []


def test_the_command_draws_what_it_is_told_and_says_whether_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []

    def run() -> list[Figure]:
        runs.append(1)
        return [Figure(title=title, draw=lambda: "<svg/>") for title in ("first", "second", "none of them")]

    kept = {NAMES[0]: "first", NAMES[1]: "second"}
    monkeypatch.setattr(pictures, "SOURCES", (Source("lab trial", run, kept),))
    one, other = (tmp_path / f"{name}.svg" for name in kept)
    assert main([str(one), str(other)]) == 0
    assert len(runs) == 1, "what several need is run once"
    assert one.read_text().endswith("make pictures -->\n<svg/>\n")
    assert main([str(one)]) == 0
    assert capsys.readouterr().out == f"{one}: drawn anew\n{other}: drawn anew\n{one}: as it was\n"


def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "flp-wlak.svg")]) == 2
    assert "picture 'flp-wlak': it must be one of models-lattice, " in capsys.readouterr().err
    assert main([str(tmp_path / "none.md")]) == 3
    monkeypatch.setattr(pictures, "SOURCES", (Source("lab trial", list, {NAMES[0]: "gone"}),))
    with pytest.raises(LabError, match="coterie lab trial has no figure 'gone' any more"):
        list(pictures.pictures((NAMES[0],)))
    with pytest.raises(ConfigurationError, match="its first line must say what drew it"):
        drawn_with("<svg/>")
