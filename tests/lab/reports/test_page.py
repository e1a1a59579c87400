"""An experiment's page shows what was found, and fetches nothing."""

import re

from coterie.lab.experiment import Claim, Figure, Report, Table, Text
from coterie.lab.reports.page import page
from coterie.lab.reports.plots import plot


def report(*claims: Claim) -> Report:
    def draw() -> str:
        return plot(lambda figure: figure.add_subplot().plot([1, 2], [3, 4]))

    return Report(
        experiment="trial",
        seed=7,
        claims=claims,
        summary="a < b",
        data={"n": 1},
        parts=[
            Table(title="numbers", columns=("a", "b"), rows=((1.5, None), (True, "<x>"))),
            Figure(title="curve", draw=draw),
            Text(title="words", body="one\n<two>"),
        ],
    )


def claim(*, agrees: bool, explained: bool = False) -> Claim:
    return Claim(id="one", expected="1", measured="2", agrees=agrees, why="because", explained=explained)


def test_a_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    made = page(report(claim(agrees=True)), "Trial & error")
    assert "Trial &amp; error" in made
    assert "&lt;x&gt;" in made
    assert "&lt;two&gt;" in made
    assert "<svg" in made
    fetched = re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|url\((?!#)|<script|<link(?! rel="icon" href="data:,")', made)
    assert fetched == []


def test_the_verdict_is_that_of_the_claims() -> None:
    assert report(claim(agrees=True)).verdict == "agrees"
    differs = report(claim(agrees=True), claim(agrees=False))
    assert (differs.verdict, len(differs.unexplained)) == ("differs", 1)
    shown = report(claim(agrees=False, explained=True))
    assert (shown.verdict, shown.unexplained) == ("differs", [])


def test_the_same_data_give_the_same_figure() -> None:
    one, other = (page(report(claim(agrees=True)), "t") for _ in range(2))
    assert one == other
