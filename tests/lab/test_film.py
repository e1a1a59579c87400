"""A film of a simulated run: it shows the last stretch, and watching changes nothing."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from coterie.lab.drawing.svg import draw_svg
from coterie.lab.drawing.text import draw_text
from coterie.lab.film import COMMON, DECISIVE, READING, Camera, film
from coterie.lab.recording import CLIENT, Kind, Recording
from coterie.sim.options import SECOND, Options, choose, with_faults
from coterie.sim.verdict import Figures, Result
from coterie.sim.world import simulate


def options_of(protocol: str) -> Options:
    chosen = choose(11, nodes=3, duration=2 * SECOND, protocol=protocol)
    return with_faults(chosen, ("crash", "partition", "loss", "snapshot"))


@pytest.fixture(scope="module")
def filmed(protocol: str) -> tuple[Result, Recording]:
    return film(options_of(protocol))


def test_a_run_that_is_watched_is_the_same_run(filmed: tuple[Result, Recording], protocol: str) -> None:
    assert filmed[0] == simulate(options_of(protocol))


def test_it_is_bounded_in_order_and_each_message_comes_to_an_end(filmed: tuple[Result, Recording]) -> None:
    _, recording = filmed
    assert 50 < len(recording.events) <= 2 * (DECISIVE + COMMON + READING)
    times = [event.at_ms for event in recording.events]
    assert times == sorted(times)
    arrows = list(recording.arrows())
    assert len({arrow.sent.message for arrow in arrows}) == len(arrows) > 20
    for arrow in arrows:
        assert (arrow.came.source, arrow.came.to) == (arrow.sent.source, arrow.sent.to)
        assert arrow.came.at_ms >= arrow.sent.at_ms


def test_it_shows_members_clients_crashes_starts_leaders_and_commits(filmed: tuple[Result, Recording]) -> None:
    _, recording = filmed
    kinds = {event.kind for event in recording.events}
    assert {Kind.SENT, Kind.ROLE, Kind.COMMIT, Kind.CRASH, Kind.RESTART, Kind.DURABLE} <= kinds
    assert any(event.kind is Kind.ROLE and event.text.startswith("leads") for event in recording.events)
    assert recording.lifelines == (CLIENT, "n1", "n2", "n3")
    assert Kind.VIOLATION not in kinds


def test_both_drawings_show_where_a_law_was_broken(filmed: tuple[Result, Recording], protocol: str) -> None:
    _, whole = filmed
    broken = Result(
        seed=11, figures=filmed[0].figures, trace="", check="one-leader", detail="[one-leader] 1 & 2 <lead>"
    )
    empty = Camera().recording(options_of(protocol), broken)
    assert [event.text for event in empty.events] == ["[one-leader] 1 & 2 <lead>"]
    recording = Recording(whole.scenario, protocol, 11, whole.lifelines, (*whole.events, empty.events[0]))
    assert "‼ [one-leader] 1 & 2 <lead>" in draw_text(recording).plain
    root = ET.fromstring(draw_svg(recording))
    texts = [element.text for element in root.iterfind(".//{*}g[@class='violation']/{*}text")]
    assert texts == ["[one-leader] 1 & 2 <lead>"]


def test_partitions_are_told_by_pairs_and_by_direction() -> None:
    camera = Camera()
    camera.cut(5, [(1, 2), (2, 1), (3, 1)])
    camera.mended(9, [(3, 1)])
    recording = camera.recording(choose(1), Result(seed=1, figures=Figures(), trace=""))
    assert [(event.kind, event.source, event.to, event.text) for event in recording.events] == [
        (Kind.CUT, "n1", "n2", "link cut"),
        (Kind.CUT, "n3", "n1", "link cut, one way"),
        (Kind.HEAL, "n3", "n1", "link back, one way"),
    ]
