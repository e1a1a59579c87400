"""The lattice as a figure: what implies what, what can be had under partition, and where Coterie's reads stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, Final

from coterie.lab.models.availability import NONE, STICKY, TOTAL
from coterie.lab.models.catalogue import IMPLIES
from coterie.lab.reports.plots import COLOURS, LINES, plot

_PLACES: Final[dict[str, tuple[float, float]]] = {
    "strict-serializable": (1.0, 5.0),
    "linearizable": (4.2, 4.0),
    "serializable": (1.0, 3.0),
    "snapshot-isolation": (1.0, 2.0),
    "sequential": (4.2, 3.0),
    "causal": (5.0, 2.0),
    "eventual": (2.5, 0.0),
    "pram": (5.7, 1.0),
    "writes-follow-reads": (3.7, 0.0),
    "monotonic-reads": (4.9, 0.0),
    "monotonic-writes": (6.1, 0.0),
    "read-your-writes": (7.3, 0.0),
}
_EDGES: Final = {NONE: (COLOURS[1], LINES[0]), STICKY: (COLOURS[0], LINES[1]), TOTAL: (COLOURS[2], LINES[3])}
_WORDS: Final = {
    NONE: "not available under partition",
    STICKY: "sticky: to who stays on one side",
    TOTAL: "to all, on every side",
}


def lattice(available: Mapping[str, str], given: Mapping[str, Sequence[str]]) -> str:
    """The <svg>. `available`: as found for each model; `given`: for each model the ways to read that reach it."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0.0, 8.0)
        axes.set_ylim(-0.95, 5.4)
        for above, below in IMPLIES.items():
            for name in below:
                (x0, y0), (x1, y1) = _PLACES[above], _PLACES[name]
                axes.annotate(
                    "",
                    xy=(x1, y1 + 0.19),
                    xytext=(x0, y0 - 0.19),
                    arrowprops={"arrowstyle": "-|>", "color": "#555555", "lw": 1.0, "shrinkA": 0, "shrinkB": 0},
                )
        for name, (x, y) in _PLACES.items():
            colour, line = _EDGES[available[name]]
            box = {
                "boxstyle": "round,pad=0.35",
                "facecolor": "white",
                "edgecolor": colour,
                "linestyle": line,
                "lw": 1.8,
            }
            axes.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box)
            if given.get(name):
                words = fill("Coterie: " + "; ".join(given[name]), 40)
                last = y == 0.0  # In the last row there is no room beside.
                place = (x, y - 0.3) if last else (x + 0.75, y)
                align = {"ha": "center", "va": "top"} if last else {"ha": "left", "va": "center"}
                axes.text(*place, words, fontsize=8, color="#333333", style="italic", **align)
        for kind, (colour, line) in _EDGES.items():
            axes.plot([], [], color=colour, linestyle=line, lw=1.8, label=_WORDS[kind])
        axes.legend(loc="upper right", fontsize=8, title="Can it be had while the network is parted?", title_fontsize=8)

    return plot(draw, width=10.0, height=5.6)
