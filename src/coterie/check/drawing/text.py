"""A counterexample for the terminal."""

from __future__ import annotations

from textwrap import wrap
from typing import Final

from coterie.check.counterexample import Counterexample
from coterie.check.drawing.timeline import Bar, timeline

WIDTH: Final = 100
"""Columns for the bars, if that is enough for all moments."""


def draw_text(counterexample: Counterexample) -> str:
    """A line an operation, in the order of starts: when it ran, whose it was, what it was. Time runs to the right."""
    drawn = timeline(counterexample)
    step = max(2, min(6, (WIDTH // 2) // max(1, drawn.moments)))
    names = max((len(lane) for lane in drawn.lanes), default=0)
    width = step * (drawn.moments + 1)
    lines = [
        f"{'✗' if bar.culprit else ' '} {drawn.lanes[bar.lane]:<{names}}  {_bar(bar, step, width)}  {bar.short}"
        + (f"  (line {bar.operation.line})" if bar.operation.line else "")
        for bar in drawn.bars
    ]
    why = wrap(f"{drawn.title}: {drawn.reason}", WIDTH)
    return "\n".join([*lines, "", *why]) + "\n"


def _bar(bar: Bar, step: int, width: int) -> str:
    begin = bar.start * step
    if bar.end is None:
        return (" " * begin + "├" + "╌" * (width - begin - 2) + "→").ljust(width)
    fill = "━" if bar.culprit else "─"
    return (" " * begin + "├" + fill * (bar.end * step - begin - 1) + "┤").ljust(width)
