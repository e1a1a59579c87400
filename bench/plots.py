"""Line charts as SVG, in one HTML page that needs nothing else."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import msgspec

WIDTH, HEIGHT = 860, 250
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 16, 34
COLOURS = ("#3366aa", "#cc6633", "#339966", "#884499", "#666666")
TICKS = 5
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td { padding: 1px 1.5em 1px 0 } td + td { font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif } h2 { font-size: 1.1em; margin: 1.5em 0 0 }
"""


class Series(msgspec.Struct, frozen=True):
    """One line."""

    label: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Chart(msgspec.Struct, frozen=True):
    """One picture; the horizontal axis is seconds."""

    title: str
    unit: str
    series: Sequence[Series]


def ticks(highest: float, count: int = TICKS) -> list[float]:
    """Round numbers from 0 to at least `highest`, about `count` of them."""
    if not highest > 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / count))
    step = next(power * each for each in (1, 2, 5, 10) if power * each * count >= highest)
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]


def svg(chart: Chart) -> str:
    """The chart as an SVG element."""
    points = [point for each in chart.series for point in each.points]
    across = ticks(max((x for x, _ in points), default=0.0), 10)
    up = ticks(max((y for _, y in points), default=0.0))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(x: float) -> float:
        return round(LEFT + (right - LEFT) * x / across[-1], 1)

    def y_of(y: float) -> float:
        return round(bottom - (bottom - TOP) * y / up[-1], 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(chart.title)}">']
    for y in up:
        parts.append(f'<path d="M{LEFT} {y_of(y)}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y_of(y) + 4}" text-anchor="end">{y:,.10g}</text>')
    for x in across:
        parts.append(f'<path d="M{x_of(x)} {bottom}v5" stroke="#888"/>')
        parts.append(f'<text x="{x_of(x)}" y="{bottom + 18}" text-anchor="middle">{x:,.10g}</text>')
    parts.append(f'<text x="{right + 12}" y="{bottom + 18}">seconds</text>')
    for number, each in enumerate(chart.series):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if each.dashed else ""
        line = " ".join(f"{x_of(x)},{y_of(y)}" for x, y in each.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
        y = TOP + 8 + 18 * number
        parts.append(f'<path d="M{right + 12} {y}h18" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{right + 36}" y="{y + 4}">{html.escape(each.label)}</text>')
    return "\n".join([*parts, "</svg>"])


def page(title: str, facts: Mapping[str, object], charts: Sequence[Chart]) -> str:
    """A whole HTML document: a table of facts, then the charts."""
    rows = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in facts.items()
    )
    pictures = "\n".join(
        f"<h2>{html.escape(each.title)}, {html.escape(each.unit)}</h2>\n{svg(each)}" for each in charts
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n<table>\n{rows}\n</table>\n{pictures}\n"
        "</body></html>\n"
    )
