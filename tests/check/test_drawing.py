"""A drawing shows each operation when it ran and what it was, and which one has no place."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from coterie.check import REGISTER, Counterexample, Operation, smallest
from coterie.check.drawing.svg import draw_html, draw_svg
from coterie.check.drawing.text import draw_text

HISTORY = [
    Operation(process=0, f="write", argument="<a>", start=0, end=10, line=1),
    Operation(process=1, f="write", argument="b", start=20, end=35, line=3),
    Operation(process=2, f="read", result="<a>", start=40, end=50, line=5),
]
SVG = "{http://www.w3.org/2000/svg}"


def example() -> Counterexample:
    found = smallest(HISTORY, REGISTER)
    assert found is not None
    return found


def test_text_has_a_line_an_operation_in_real_time_and_the_reason() -> None:
    lines = draw_text(example()).splitlines()
    assert [line[0] for line in lines[:3]] == [" ", " ", "✗"]
    starts, ends = [line.index("├") for line in lines[:3]], [line.index("┤") for line in lines[:3]]
    assert starts == sorted(starts)
    assert all(end < start for end, start in zip(ends, starts[1:], strict=False)), "they did not overlap"
    assert lines[0].endswith("write('<a>')  (line 1)")
    assert "not linearizable" in lines[4]


def test_an_operation_under_way_has_no_end() -> None:
    unknown = Operation(process=0, f="write", argument=1, start=0)
    text = draw_text(Counterexample("causal", (unknown,), None, "because"))
    assert "→  write(1) ..." in text
    assert "┤" not in text


def test_svg_is_one_file_that_marks_the_culprit_in_its_own_lane() -> None:
    drawn = ET.fromstring(draw_svg(example()))
    bars = [rect for rect in drawn.iter(f"{SVG}rect") if rect.get("class")]
    assert [bar.get("class") for bar in bars] == ["bar", "bar", "bar culprit"]
    assert len({bar.get("y") for bar in bars}) == 3
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "✗ read(): '<a>'" in texts
    assert {"process 0", "process 1", "process 2"} <= set(texts)
    assert "http" not in draw_svg(example()).replace("http://www.w3.org/2000/svg", "")


def test_html_has_the_facts_each_drawing_and_a_table() -> None:
    page = draw_html([example(), example()], "History <x>", [("verdict", "NOT linearizable")])
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 2
    assert "History &lt;x&gt;" in page
    assert page.count('<tr class="culprit">') == 2
    assert "<script" not in page
