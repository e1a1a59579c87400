"""What the commands draw opens in a real browser: nothing complains, nothing is fetched, nothing is cut off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.browser import Browser, Seen
from tests.cli.test_pages import PAGES

from coterie.core.protocols import PROTOCOLS
from coterie.lab.drawing.svg import draw_svg
from coterie.lab.pictures import NAMES
from coterie.lab.scenarios import SCENARIOS, play

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "lab" / "pictures"
EXPERIMENTS = {
    "models": ("Consistency models", 1),
    "cap": ("CAP", 1),
    "pacelc": ("PACELC", 2),
    "flp": ("FLP", 3),
    "compare": ("compared", 4),
    "advise": ("Advice", 1),
    "measure": ("", 0),
    "claims": ("", 1),
}
"""A word of the page's heading, and how many figures it has."""


def assert_sound(seen: Seen, page: Path) -> None:
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]
    assert seen.outside == []
    assert all(width > 100 and height > 40 for width, height in seen.drawings), seen.drawings


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_complaint_and_asks_for_nothing_else(
    name: str, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / name
    page.write_text(PAGES[name]())
    seen = browser.open(page)
    assert_sound(seen, page)
    assert seen.root == name.rpartition(".")[2]
    assert seen.drawings
    assert not seen.wide or seen.root == "svg"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_sequence_is_drawn_as_a_file_that_a_browser_shows(
    scenario: str, protocol: str, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / f"{scenario}.svg"
    page.write_text(draw_svg(play(scenario, protocol)))
    seen = browser.open(page)
    assert_sound(seen, page)
    assert len(seen.drawings) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_the_documents_is_shown_whole(name: str, browser: Browser) -> None:
    page = PICTURES / f"{name}.svg"
    seen = browser.open(page)
    assert_sound(seen, page)
    assert seen.covered == []
    assert seen.root == "svg"
    assert len(seen.drawings) == 1


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiments_page_opens_with_its_heading_claims_and_figures(
    experiment: str, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / f"{experiment}.html"
    command = [sys.executable, "-m", "coterie", "lab", experiment, "--quick", "--html", str(page)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr  # Whether claims agree is for the tests of each experiment.
    seen = browser.open(page)
    assert_sound(seen, page)
    assert seen.covered == []
    word, figures = EXPERIMENTS[experiment]
    assert seen.headings[:2] == [seen.title, "Claims"]
    assert word in seen.title
    assert seen.rows > 2
    assert len(seen.drawings) == figures
    assert not seen.wide
    assert "agrees" in seen.text


# -- that all this can fail ---------------------------------------------------------------------------

FLAWS: dict[str, tuple[str, Callable[[Seen], object]]] = {
    "an exception": ("<script>nothing.there</script>", lambda seen: seen.complaints),
    "a word to the console": ('<script>console.error("no")</script>', lambda seen: seen.complaints),
    "a picture from elsewhere": ('<img src="https://example.org/x.png">', lambda seen: seen.requests[1:]),
    "a font from elsewhere": (
        '<style>@font-face { font-family: F; src: url("http://example.org/f.woff") } p { font-family: F }</style><p>f',
        lambda seen: seen.requests[1:],
    ),
    "a file beside it": ('<link rel="stylesheet" href="style.css">', lambda seen: seen.requests[1:]),
    "a word that is cut off": (
        '<svg width="200" height="50"><text x="150" y="20">a long word</text></svg>',
        lambda seen: seen.outside,
    ),
    "words on words": (
        '<svg width="200" height="50"><text x="5" y="20">some words</text><text x="30" y="22">others</text></svg>',
        lambda seen: seen.covered,
    ),
    "a line too long": ("<pre>" + "x" * 1000 + "</pre>", lambda seen: seen.wide),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_of_a_page_is_seen(flaw: str, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    body, found = FLAWS[flaw]
    page.write_text(f'<!doctype html><link rel="icon" href="data:,"><title>t</title>{body}')
    assert found(browser.open(page))
    page.write_text('<!doctype html><link rel="icon" href="data:,"><title>t</title><p>nothing')
    assert not found(browser.open(page))


def test_a_picture_that_is_no_xml_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.svg"
    page.write_text('<!-- a --b --><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>')
    assert browser.open(page).complaints
