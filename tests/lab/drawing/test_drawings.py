"""The drawings: each shows every message once, and needs nothing else to be seen."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from coterie.core.protocols import PROTOCOLS
from coterie.lab.drawing.layout import Axis, Label, Labels
from coterie.lab.drawing.mermaid import draw_mermaid
from coterie.lab.drawing.svg import draw_svg
from coterie.lab.drawing.text import draw_text
from coterie.lab.recording import Event, Kind, Recording
from coterie.lab.scenarios import SCENARIOS, play

SVG = "{http://www.w3.org/2000/svg}"
RECORDINGS = [play(scenario, protocol) for scenario in SCENARIOS for protocol in PROTOCOLS]
each_recording = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: f"{r.scenario}-{r.protocol}")


def arrows_told(recording: Recording) -> list[tuple[str, str, str]]:
    return [(arrow.sent.source, arrow.sent.to, arrow.sent.text) for arrow in recording.arrows()]


@each_recording
def test_text_has_each_message_once_in_order_and_all_marks(recording: Recording) -> None:
    drawn = draw_text(recording).plain
    rows = re.findall(r" (\w+) to (\w+): (.*?)  \((?:lost|arrives)", drawn)
    assert rows == arrows_told(recording)
    for mark in recording.marks():
        assert mark.text in drawn
    assert drawn.count("(lost)") == sum(arrow.lost for arrow in recording.arrows())


@each_recording
def test_mermaid_has_each_message_once_in_order(recording: Recording) -> None:
    drawn = draw_mermaid(recording)
    assert drawn.startswith("sequenceDiagram\n")
    rows = re.findall(r"^    (\w+?)-(?:-)?(?:>>|x)(\w+): (.*?)(?: \(lost\))?$", drawn, re.MULTILINE)
    assert rows == arrows_told(recording)
    assert ";" not in drawn
    for mark in recording.marks():
        assert mark.text in drawn


@each_recording
def test_svg_is_xml_has_each_message_once_and_refers_to_nothing_outside(recording: Recording) -> None:
    drawn = draw_svg(recording)
    root = ET.fromstring(drawn)  # our own text
    messages = root.findall(f".//{SVG}g[@class='message']")
    assert [message.findtext(f"{SVG}text") for message in messages] == [told for _, _, told in arrows_told(recording)]
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    for mark in recording.marks():
        assert any(mark.text in text for text in texts), mark
    assert not re.search(r"href|url\(|@import|<script|<image", drawn)
    assert drawn.replace("http://www.w3.org/2000/svg", "").count("://") == 0
    assert draw_svg(recording) == drawn


@each_recording
def test_svg_slants_every_message_that_arrives_downwards(recording: Recording) -> None:
    root = ET.fromstring(draw_svg(recording))
    for message in root.findall(f".//{SVG}g[@class='message']"):
        line = message.find(f"{SVG}line")
        assert line is not None
        assert float(line.attrib["y2"]) > float(line.attrib["y1"])


def test_what_would_end_a_mermaid_statement_is_written_as_an_entity() -> None:
    note = Event(at_ms=0, kind=Kind.NOTE, source="n1", to="", text="a; b #1")
    assert "a#59; b #35;1" in draw_mermaid(Recording("s", "raft", 1, ("n1",), (note,)))


def test_the_axis_leaves_out_idle_time_and_keeps_the_rest_to_scale() -> None:
    axis = Axis([0.0, 10.0, 20.0, 520.0, 525.0], top=0)
    assert axis.height(20.0) - axis.height(10.0) == axis.height(10.0) - axis.height(0.0)
    assert axis.height(525.0) - axis.height(520.0) == (axis.height(10.0) - axis.height(0.0)) / 2
    assert axis.height(520.0) - axis.height(20.0) < axis.height(10.0)
    assert [passed for _, passed in axis.idle] == [500.0]
    assert [tick for tick, _ in axis.ticks(10)] == [0, 10, 520]


def test_a_label_avoids_those_before_it() -> None:
    labels = Labels()
    first = labels.best([Label(0, 0, 0, "first label")])
    assert labels.best([first, Label(0, 50, 0, "elsewhere")]).y == 50
