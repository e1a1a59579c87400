"""The theorem's table as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from coterie.lab.cap.sides import NO, PARTLY, YES, Row
from coterie.lab.reports.plots import COLOURS, plot

_MARKS: Final = {YES: ("full", COLOURS[2]), PARTLY: ("left", COLOURS[5]), NO: ("none", COLOURS[1])}
"""How much of the circle is filled, so that colour alone tells nothing."""
_COLUMNS: Final = ("A: majority", "A: minority", "C", "gives up")


def table_drawn(rows: Sequence[Row]) -> str:
    """The <svg>: a line a mode, a circle for each side and for consistency."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(-3.4, len(_COLUMNS) - 0.4)
        axes.set_ylim(len(rows) - 0.4, -1.2)
        for x, column in enumerate(_COLUMNS):
            axes.text(x, -0.8, column, ha="center", va="center", fontsize=9, fontweight="bold")
        for y, one in enumerate(rows):
            axes.text(-3.3, y, f"{one.protocol}: {one.mode.name}", ha="left", va="center", fontsize=9)
            seen = [*(side.available for side in one.sides), YES if one.consistent else NO]
            for x, value in enumerate(seen):
                fill, colour = _MARKS[value]
                axes.plot([x], [y], marker="o", markersize=11, fillstyle=fill, color=colour, markeredgewidth=1.6)
            axes.text(len(seen), y, one.gives_up, ha="center", va="center", fontsize=10)
            axes.axhline(y + 0.5, color="#dddddd", lw=0.6)

    return plot(draw, width=7.5, height=0.8 + 0.34 * len(rows))
