"""The trade-offs as pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from coterie.core.protocols import PROTOCOLS
from coterie.lab.pacelc.contention import Contention
from coterie.lab.pacelc.latencies import Latency, at
from coterie.lab.pacelc.modes import Mode
from coterie.lab.reports.plots import COLOURS, LINES, MARKERS, PLAIN, plot
from coterie.lab.stage.geography import Geography


def read_median(found: Sequence[Latency], mode: Mode, leader: int) -> float:
    """Mean over the regions of the medians, ms."""
    return statistics.fmean(at(one.reads, 0.5) for one in found if one.mode == mode and one.leader == leader)


def write_median(found: Sequence[Latency], mode: Mode, leader: int) -> float:
    """The same of writes."""
    return statistics.fmean(at(one.writes, 0.5) for one in found if one.mode == mode and one.leader == leader)


def front(points: Mapping[Mode, tuple[float, float]]) -> list[Mode]:
    """Those that no other beats in one without being worse in the other, by the first coordinate."""
    return sorted(
        (
            mode
            for mode, (x, y) in points.items()
            if not any(a <= x and b <= y and (a, b) != (x, y) for other, (a, b) in points.items() if other != mode)
        ),
        key=lambda mode: points[mode],
    )


def pareto_points(
    found: Sequence[Latency], contentions: Mapping[Mode, Contention], leader: int
) -> dict[Mode, tuple[float, float]]:
    """(median of reads, how stale a value may be) of each mode, ms."""
    modes = {one.mode: None for one in found if one.leader == leader}
    return {mode: (read_median(found, mode, leader), contentions[mode].stalest_ms) for mode in modes}


def pareto(points: Mapping[Mode, tuple[float, float]]) -> str:
    """Latency against staleness. One protocol stands for both, for they are alike."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        kept = {mode: point for mode, point in points.items() if mode.store not in PROTOCOLS[1:]}
        for i, (mode, (x, y)) in enumerate(kept.items()):
            # Modes that cost the same lie on each other: large and open, then small and filled, both are seen.
            small = i % 2 == 1
            axes.plot(
                [x],
                [y],
                linestyle="none",
                marker=MARKERS[i % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)],
                markerfacecolor=None if small else "none",
                markeredgewidth=1.6,
                markersize=6 if small else 13,
                clip_on=False,
                label=mode.title,
            )
        best = front(kept)
        axes.step(
            [kept[mode][0] for mode in best],
            [kept[mode][1] for mode in best],
            where="post",
            color="#666666",
            linestyle=LINES[1],
            linewidth=1,
            label="Pareto front",
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("median of reads, ms (mean of the regions)")
        axes.set_ylabel("stalest value read, ms")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return plot(draw, width=9.5, height=4.2)


def leaders(geography: Geography, found: Sequence[Latency], mode: Mode) -> str:
    """Writes of every region, for every placement of the leader."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        placed = sorted({one.leader for one in found if one.mode == mode})
        for i, leader in enumerate(placed):
            own = sorted((one for one in found if one.mode == mode and one.leader == leader), key=lambda one: one.site)
            axes.plot(
                [one.site + (i - len(placed) / 2) * 0.08 for one in own],
                [at(one.writes, 0.5) for one in own],
                marker=MARKERS[i % len(MARKERS)],
                color=COLOURS[i % len(COLOURS)],
                linestyle="none",
                label=f"led from {geography.sites[leader]}",
            )
        axes.set_xticks(range(len(geography.sites)), geography.sites, rotation=25)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("median of writes, ms")
        axes.set_xlabel("clients in")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    return plot(draw, width=9.5, height=3.8)
