"""The walk as a picture: down the middle the configurations that can still come to both values, left and right the
ways out that the adversary did not take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from coterie.lab.flp.system import Value
from coterie.lab.flp.wording import Step
from coterie.lab.reports.plots import COLOURS

WIDTH: Final = 900
TOP: Final = 66
STEP: Final = 24
MIDDLE: Final = 210
ASIDE: Final = 70
"""How far a way out leads to either side."""
RADIUS: Final = 7
LOOP: Final = 60
TEXT: Final = 320
INK, FAINT = "#1a1a1a", "#777777"


def draw_walk(listed: Sequence[Step], values: tuple[Value, Value], repeats_from: int | None) -> str:
    """The <svg>. `values`: left, right. `repeats_from`: the number of the first event that comes again."""
    sides = {values[0]: (-1, COLOURS[0]), values[1]: (1, COLOURS[1])}
    bottom = TOP + len(listed) * STEP
    parts = [*_legend(values, sides)]
    parts.append(f'<line x1="{MIDDLE}" y1="{TOP}" x2="{MIDDLE}" y2="{bottom}" stroke="{INK}" stroke-width="1.5"/>')
    for row, step in enumerate(listed):
        y = TOP + row * STEP
        parts += _exits(step, y, sides)
        parts.append(_circle(MIDDLE, y, sides))
        weight = "" if step.owed else ' font-style="italic"'
        before = "" if step.owed else "first: "
        parts.append(
            f'<text x="{TEXT}" y="{y + STEP / 2 + 4}"{weight}>{step.number}. {escape(before + step.words)}</text>'
        )
    parts.append(_circle(MIDDLE, bottom, sides))
    if repeats_from is not None:
        parts += _loop(TOP + (repeats_from - 1) * STEP, bottom)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" width="{WIDTH}" '
        f'height="{bottom + 30}" font-family="DejaVu Sans, Liberation Sans, Arial, sans-serif" font-size="12" '
        f'fill="{INK}" role="img"><title>The schedule that decides nothing</title>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>'
    )


def _legend(values: tuple[Value, Value], sides: dict[Value, tuple[int, str]]) -> Iterator[str]:
    yield _circle(20, 18, sides)
    yield '<text x="34" y="22">both values can still be decided (bivalent)</text>'
    for place, value in enumerate(values):
        x = 330 + place * 190
        yield _mark(x, 18, sides[value])
        yield f'<text x="{x + 14}" y="22">only {escape(value)} can be decided</text>'
    yield '<text x="710" y="22" font-style="italic">a detour, first</text>'
    for value, (side, _) in sides.items():
        yield (
            f'<text x="{MIDDLE + side * ASIDE}" y="{TOP - 16}" text-anchor="middle" fill="{FAINT}">'
            f"{escape(value)} only</text>"
        )


def _circle(x: float, y: float, sides: dict[Value, tuple[int, str]]) -> str:
    """Half of either colour."""
    halves = "".join(
        f'<path d="M {x} {y - RADIUS} A {RADIUS} {RADIUS} 0 0 {int(side > 0)} {x} {y + RADIUS} Z" fill="{colour}"/>'
        for side, colour in sides.values()
    )
    return f'{halves}<circle cx="{x}" cy="{y}" r="{RADIUS}" fill="none" stroke="{INK}"/>'


def _mark(x: float, y: float, side: tuple[int, str]) -> str:
    """A square on the left side, a triangle on the right one."""
    left, colour = side[0] < 0, side[1]
    points = f"{x - 5},{y - 5} {x + 5},{y - 5} {x + 5},{y + 5} {x - 5},{y + 5}"
    return f'<polygon points="{points if left else f"{x},{y - 6} {x + 6},{y + 5} {x - 6},{y + 5}"}" fill="{colour}"/>'


def _exits(step: Step, y: float, sides: dict[Value, tuple[int, str]]) -> Iterator[str]:
    for value, (side, colour) in sides.items():
        words = list(step.instead.get(value, ()))
        if not words:
            continue
        x, end = MIDDLE + side * ASIDE, y + STEP / 2
        trap = step.trap == value
        dashes = ' stroke-dasharray="4 3"' if trap else ""
        title = escape("; ".join(words))
        yield (
            f'<g><title>{title}</title><line x1="{MIDDLE}" y1="{y}" x2="{x}" y2="{end}" stroke="{colour}" '
            f'stroke-width="1.5"{dashes}/>{_mark(x, end, (side, colour))}'
        )
        if len(words) > 1:
            away = "end" if side < 0 else "start"
            yield f'<text x="{x + side * 10}" y="{end + 4}" text-anchor="{away}" fill="{FAINT}">{len(words)}x</text>'
        yield "</g>"


def _loop(top: float, bottom: float) -> Iterator[str]:
    near = MIDDLE - RADIUS - 3
    yield (
        f'<path d="M {near} {bottom} H {LOOP + 12} Q {LOOP} {bottom} {LOOP} {bottom - 12} V {top + 12} '
        f'Q {LOOP} {top} {LOOP + 12} {top} H {near}" fill="none" stroke="{INK}" stroke-width="1.5"/>'
    )
    yield f'<polygon points="{near},{top} {near - 9},{top - 5} {near - 9},{top + 5}" fill="{INK}"/>'
    middle = (top + bottom) / 2
    yield (
        f'<text x="{LOOP - 10}" y="{middle}" text-anchor="middle" transform="rotate(-90 {LOOP - 10} {middle})">'
        "for ever, in higher and higher ballots</text>"
    )
