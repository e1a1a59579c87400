"""A counterexample as a drawing: one SVG, or one HTML page around it, that needs no other file.

The colours are those that people with any common colour blindness can tell apart (Okabe and Ito), and nothing is told
by colour alone: the operation that has no place has a thick border and a cross, an unknown outcome a broken bar.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Final
from xml.etree import ElementTree as ET

from coterie.check.counterexample import Counterexample
from coterie.check.drawing.timeline import Bar, Timeline, shortened, timeline

LEFT: Final = 110
TOP: Final = 48
LANE: Final = 58
BAR: Final = 22
CHARACTER: Final = 6.4
"""Pixels a character is wide, about."""
LEAST_STEP: Final = 34
LINE: Final = 16
MOST_IN_A_TABLE: Final = 1000
"""Characters of one operation."""
_STYLE = (
    "text{font:12px Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#000}.name,.title{font-weight:bold}"
    ".title{font-size:15px}.bar{fill:#d6e8f5;stroke:#0072B2}.culprit{fill:#fbe3d3;stroke:#D55E00;stroke-width:3}"
    ".unknown{stroke-dasharray:5 4;fill:#f2f2f2;stroke:#767676}.lane{stroke:#ccc}"
)
_PAGE_STYLE = (
    "body{font:15px/1.5 Helvetica,Arial,'DejaVu Sans',sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "svg{max-width:100%;height:auto}td,th{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #ccc}"
    "tr.culprit{font-weight:bold}td,p{overflow-wrap:anywhere}td{vertical-align:top}th{white-space:nowrap}table{border-collapse:collapse}"
)


def draw_svg(counterexample: Counterexample) -> str:
    """The drawing, as the text of an SVG file."""
    return ET.tostring(_drawing(timeline(counterexample)), encoding="unicode") + "\n"


def draw_html(counterexamples: list[Counterexample], title: str, facts: list[tuple[str, str]]) -> str:
    """A page with what is known of a history, and each counterexample with its operations in a table."""
    html = ET.Element("html", {"lang": "en"})
    head, body = ET.SubElement(html, "head"), ET.SubElement(html, "body")
    ET.SubElement(head, "meta", {"charset": "utf-8"})
    ET.SubElement(head, "title").text = title
    ET.SubElement(head, "style").text = _PAGE_STYLE
    ET.SubElement(body, "h1").text = title
    table = ET.SubElement(body, "table")
    for name, value in facts:
        row = ET.SubElement(table, "tr")
        ET.SubElement(row, "th").text, ET.SubElement(row, "td").text = name, value
    for counterexample in counterexamples:
        drawn = timeline(counterexample)
        ET.SubElement(body, "h2").text = drawn.title
        ET.SubElement(body, "p").text = drawn.reason
        body.append(_drawing(drawn._replace(title="", reason="")))
        body.append(_table(drawn))
    return "<!DOCTYPE html>\n" + ET.tostring(html, encoding="unicode", method="html") + "\n"


def _table(drawn: Timeline) -> ET.Element:
    table = ET.Element("table")
    head = ET.SubElement(table, "tr")
    for name in ("line", "process", "operation", "start", "end"):
        ET.SubElement(head, "th").text = name
    for bar in drawn.bars:
        row = ET.SubElement(table, "tr", {"class": "culprit"} if bar.culprit else {})
        called = shortened(bar.label, MOST_IN_A_TABLE)
        end = str(bar.operation.end) if bar.operation.known else "under way, or unknown"
        for cell in (bar.operation.line or "", bar.operation.process, called, bar.operation.start, end):
            ET.SubElement(row, "td").text = str(cell)
    return table


def _drawing(drawn: Timeline) -> ET.Element:
    step = _step(drawn)
    right = LEFT + step * (drawn.moments + 1)
    widest = max((LEFT + step * bar.start + CHARACTER * len(bar.short) for bar in drawn.bars), default=0)
    width = max(right, widest, 640) + 20
    why = wrap(drawn.reason, int((width - 20) / CHARACTER))
    top = TOP if drawn.title else 0
    bottom = top + LANE * len(drawn.lanes)
    height = bottom + 12 + (18 + LINE * len(why) if why else 0)
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:.0f} {height}",
            "width": f"{width:.0f}",
            "height": str(height),
            "role": "img",
        },
    )
    if drawn.title:
        ET.SubElement(svg, "title").text = f"{drawn.title}: {drawn.reason}"
    ET.SubElement(svg, "style").text = _STYLE
    _put(svg, "rect", width=width, height=height, fill="#fff")
    _write(svg, 10, 24, drawn.title, "title")
    for number, lane in enumerate(drawn.lanes):
        middle = top + LANE * number + LANE - BAR / 2 - 6
        _write(svg, 10, middle + 4, lane, "name")
        _put(svg, "line", x1=LEFT, y1=middle, x2=right, y2=middle, **{"class": "lane"})
    for bar in drawn.bars:
        _draw_bar(svg, bar, step, right, top)
    for number, line in enumerate(why):
        _write(svg, 10, bottom + 24 + LINE * number, line)
    return svg


def _step(drawn: Timeline) -> float:
    """Pixels from one moment to the next: so many that no label meets the next one in its lane."""
    step = float(LEAST_STEP)
    for one in drawn.bars:
        later = [bar.start for bar in drawn.bars if bar.lane == one.lane and bar.start > one.start]
        if later:
            step = max(step, CHARACTER * (len(one.short) + 2) / (min(later) - one.start))
    return step


def _draw_bar(svg: ET.Element, bar: Bar, step: float, right: float, top: int) -> None:
    x = LEFT + step * bar.start
    end = LEFT + step * bar.end if bar.end is not None else right
    y = top + LANE * bar.lane + LANE - BAR - 6
    style = "bar" + (" unknown" if bar.end is None else "") + (" culprit" if bar.culprit else "")
    group = ET.SubElement(svg, "g")
    ET.SubElement(group, "title").text = f"{bar.label}, line {bar.operation.line}"
    _put(group, "rect", x=x, y=y, width=end - x, height=BAR, rx=3, **{"class": style})
    _write(group, x, y - 5, ("✗ " if bar.culprit else "") + bar.short)


def _put(parent: ET.Element, tag: str, **attributes: float | str) -> None:
    ET.SubElement(
        parent,
        tag,
        {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()},
    )


def _write(parent: ET.Element, x: float, y: float, text: str, style: str = "") -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}"}
    ET.SubElement(parent, "text", place | ({"class": style} if style else {})).text = text
