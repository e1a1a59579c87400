"""What `check --draw`, `sim --draw` and `torture --html` write needs nothing else, and fits what it is drawn on."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from tests.torture.test_report import REPORT

from coterie.check import REGISTER, Counterexample, Operation, smallest
from coterie.check.drawing import svg as check_svg
from coterie.check.drawing.text import draw_text
from coterie.lab.drawing import svg as lab_svg
from coterie.lab.film import film
from coterie.lab.recording import Event, Kind, Recording
from coterie.sim.options import SECOND, choose, with_faults
from coterie.torture.page import page

LONG = "a value of <any> length, " * 100
DETAIL = (
    "1 had one state after entry 4 when it ended; from what that left it comes to another, which nobody can have had"
)


def wrong() -> Counterexample:
    found = smallest(
        [
            Operation(process=0, f="write", argument=LONG, start=0, end=10),
            Operation(process=1, f="write", argument="b", start=20, end=35),
            Operation(process=2, f="read", result=LONG, start=40, end=50),
        ],
        REGISTER,
    )
    assert found is not None
    return found


def broken() -> Recording:
    """The end of a run of one member, with a law broken."""
    options = with_faults(choose(11, nodes=1, duration=SECOND // 2), ("crash",))
    _, whole = film(options)
    last = whole.events[-1].at_ms
    violation = Event(at_ms=last, kind=Kind.VIOLATION, source="n1", to="", text=f"[state-replayed] {DETAIL}")
    title = f"state-replayed, {len(whole.events)} last events of {options.replay()}"
    return Recording(title, "raft", 11, whole.lifelines, (*whole.events, violation))


PAGES: dict[str, Callable[[], str]] = {
    "check.html": lambda: check_svg.draw_html([wrong()], "History <x>", [("verdict", "NOT linearizable")]),
    "check.svg": lambda: check_svg.draw_svg(wrong()),
    "sim.svg": lambda: lab_svg.draw_svg(broken()),
    "torture.html": lambda: page(REPORT),
}


class Fetches(HTMLParser):
    """What a browser would get from elsewhere, or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "image", "iframe", "object", "embed", "base", "use"):
            self.found.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset") or name.startswith("on"):
                self.found.append(f"{tag} {name}={value}")
            if name == "style" and "url(" in (value or ""):
                self.found.append(f"{tag} style={value}")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fetches_nothing_and_runs_nothing(name: str) -> None:
    text = PAGES[name]()
    fetches = Fetches()
    fetches.feed(text)
    assert fetches.found == []
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"url\(|@import|javascript:", text)


def widest(drawn: ET.Element, character: float) -> float:
    """The right end of the text that reaches furthest, about."""
    upright = (t for t in drawn.iterfind(".//{*}text") if not t.get("transform") and t.get("text-anchor") is None)
    return max(float(text.get("x", "0")) + character * len(text.text or "") for text in upright)


def test_long_words_of_a_run_and_of_a_broken_law_are_not_cut_off() -> None:
    drawn = ET.fromstring(lab_svg.draw_svg(broken()))
    assert widest(drawn, 5.5) <= float(drawn.get("width", "0"))
    told = " ".join(text.text or "" for text in drawn.iterfind(".//{*}g[@class='violation']/{*}text"))
    assert told == f"[state-replayed] {DETAIL}"
    lowest = max(float(text.get("y", "0")) for text in drawn.iterfind(".//{*}text"))
    assert lowest < float(drawn.get("height", "0"))


def test_a_value_of_any_length_leaves_a_drawing_that_can_be_looked_at() -> None:
    drawn = ET.fromstring(check_svg.draw_svg(wrong()))
    assert widest(drawn, 6) <= float(drawn.get("width", "0")) < 1500
    assert float(drawn.get("height", "0")) < 500
    assert max(map(len, draw_text(wrong()).splitlines())) < 250


def test_a_torture_runs_line_of_time_has_round_seconds_and_no_rate_of_a_part_of_one() -> None:
    report = msgspec.structs.replace(REPORT, seconds=18.085, throughput=[30] * 18 + [1])
    drawn = page(report)
    assert re.findall(r">(\d+) s</text>", drawn) == [str(at) for at in range(0, 19, 2)]
    (curve,) = re.findall(r'<polyline points="([^"]*)"', drawn)
    assert len({point.split(",")[1] for point in curve.split()}) == 1, "it never falls: the last second is left out"
