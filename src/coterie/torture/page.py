"""The report as one HTML page that needs nothing else: verdict, timeline, figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final, TypeAlias

from coterie.torture.report import LINEARIZABLE, UNAVAILABLE_S, FaultWindow, Report
from coterie.torture.schedule import FAULTS

WIDTH: Final = 1000
LEFT: Final = 130
MARGIN: Final = 24
"""On the right: half of the last tick's words."""
ROW: Final = 22
CURVE: Final = 160
"""Height of the throughput's curve."""
GAP: Final = 12
COLOURS: Final = dict(
    zip(FAULTS, ("#D55E00", "#A33B00", "#0072B2", "#8A5A83", "#009E73", "#56B4E9", "#B8860B", "#555555"), strict=True)
)
"""Okabe and Ito's, and darker ones; each kind has its row too, so nothing is told by colour alone."""
Scale: TypeAlias = Callable[[float], float]
"""Where a second stands in the drawing."""
MOST_TICKS: Final = 12
STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Seconds between two ticks; the first that gives few enough."""
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 2em auto; padding: 0 1em; color: #1a1a1a }
table { border-collapse: collapse } td, th { padding: .2em 1em .2em 0; text-align: left; vertical-align: top }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px }
.good { color: #006b4d } .bad { color: #b32400 } svg text { font: 12px system-ui, sans-serif }
"""


def page(report: Report) -> str:
    """The whole page."""
    good = report.verdict == LINEARIZABLE and report.whole
    title = f"{_system(report)}: {report.verdict}"
    reason = f": {escape(report.reason)}" if report.reason else ""
    parts = [
        f"<h1>{escape(_system(report))} under torture</h1>",
        f'<p class="{"good" if good else "bad"}"><strong>{escape(report.verdict)}</strong>{reason}</p>',
        f"<p>{escape(_summary(report))}</p>",
        drawing(report),
        _faults(report),
        _ended(report),
        _skipped(report),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _system(report: Report) -> str:
    return f"{report.system} ({report.protocol})" if report.protocol else report.system


def _summary(report: Report) -> str:
    whole = "whole again" if report.whole else f"not whole again ({report.trouble})"
    return (
        f"{report.seconds:g} s, seed {report.seed}, members joined by {report.network}: {report.operations} operations,"
        f" {report.acknowledged_writes} writes acknowledged, {report.unknown} of unknown outcome, {report.refused} "
        f"refused; {report.elections} changes of leader seen; longest time without an acknowledged write "
        f"{report.longest_gap_s:g} s; after the last fault {whole}."
    )


def drawing(report: Report) -> str:
    """Faults as bands, one row a kind; below, acknowledged writes a second, and the windows without any."""
    kinds = [kind for kind in FAULTS if kind in report.faults]
    span = max(report.seconds, 0.001)

    def x(second: float) -> float:
        return round(LEFT + (WIDTH - MARGIN - LEFT) * min(max(second, 0), span) / span, 1)

    top = ROW * len(kinds) + GAP
    height = top + CURVE + 30
    label = "Faults, writes acknowledged in each second, and windows without any"
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" aria-label="{label}">']
    for window in report.unavailable:
        width = max(1, x(window.end) - x(window.start))
        parts.append(
            f'<rect x="{x(window.start)}" y="0" width="{width:.1f}" height="{top + CURVE}" fill="#f3d1c4">'
            f"<title>no acknowledged write for {window.end - window.start:.3f} s</title></rect>"
        )
    for row, kind in enumerate(kinds):
        parts.append(f'<text x="0" y="{row * ROW + 15}">{kind}</text>')
        parts += [_band(fault, row, x) for fault in report.timeline if fault.kind == kind]
    # The last second is seldom a whole one: what it counts is no rate.
    parts += _curve(report.throughput[: int(span)], top, x)
    parts += _ticks(span, top + CURVE, x)
    return "\n".join([*parts, "</svg>", f"<p>Shaded: no acknowledged write for {UNAVAILABLE_S:g} s or longer.</p>"])


def _ticks(span: float, y: int, x: Scale) -> list[str]:
    """The line of time, with round seconds."""
    step = next((step for step in STEPS if span / step <= MOST_TICKS), STEPS[-1])
    parts = [f'<path d="M{LEFT} {y}H{WIDTH - MARGIN}" stroke="#767676"/>']
    for at in range(0, int(span) + 1, step):
        parts.append(f'<path d="M{x(at)} {y}v5" stroke="#767676"/>')
        parts.append(f'<text x="{x(at)}" y="{y + 20}" text-anchor="middle">{at} s</text>')
    return parts


def _band(fault: FaultWindow, row: int, x: Scale) -> str:
    width = max(2, x(fault.end) - x(fault.start))
    return (
        f'<rect x="{x(fault.start)}" y="{row * ROW + 3}" width="{width:.1f}" height="{ROW - 6}" '
        f'fill="{COLOURS[fault.kind]}"><title>{fault.kind} {escape(fault.member)}, {fault.start:g} s to {fault.end:g} s'
        "</title></rect>"
    )


def _curve(throughput: Sequence[int], top: int, x: Scale) -> list[str]:
    most = max([*throughput, 1])
    points: list[str] = []
    for second, count in enumerate(throughput):
        y = top + CURVE - CURVE * count / most
        points += [f"{x(second)},{y:.1f}", f"{x(second + 1)},{y:.1f}"]
    return [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="#000" stroke-width="1.2"/>',
        f'<text x="0" y="{top + 12}">{most} writes/s</text>',
        f'<text x="0" y="{top + CURVE}">0</text>',
    ]


def _faults(report: Report) -> str:
    rows = [
        f"<tr><td>{kind}</td><td>{FAULTS[kind]}</td><td>{figures.count}</td><td>{figures.longest_gap_s:g} s</td></tr>"
        for kind, figures in report.faults.items()
    ]
    head = "<tr><th>fault</th><th>what</th><th>times</th><th>longest time without an acknowledged write</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


def _ended(report: Report) -> str:
    rows = [
        f"<li>{escape(each.member)} at {each.at:g} s<pre>{escape(each.last_words)}</pre></li>"
        for each in report.ended_by_themselves
    ]
    return f"<p>Members that ended by themselves, and were started again:</p><ul>{''.join(rows)}</ul>" if rows else ""


def _skipped(report: Report) -> str:
    rows = [f"<li>{kind}: {escape(reason)}</li>" for kind, reason in report.skipped.items()]
    return f"<p>Not done here:</p><ul>{''.join(rows)}</ul>" if rows else ""
