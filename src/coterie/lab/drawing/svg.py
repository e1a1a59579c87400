"""A recording as a space-time diagram: lifelines run down, a message slants from when it is sent to when it arrives.

One file that needs no other: no script, no font, no style from elsewhere. It can be printed, and read without colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap
from xml.sax.saxutils import escape

from coterie.lab.drawing.layout import Axis, Label, Labels
from coterie.lab.drawing.style import COLOURS, LEGEND, LOST_COLOUR, Sort, sort_of, told
from coterie.lab.recording import Arrow, Event, Kind, Recording

GAP = 250
"""Pixels from one lifeline to the next."""
LEFT, TOP, BOTTOM = 80, 78, 62
LEGEND_LINE = 24
ASIDE = 80
"""How far from its lifeline a mark's words may begin: beside the shapes, and out of the way of others."""
LINE = 19
"""From a line of the title, or of what was broken, to the next."""
TICK_MS = 10
ALMOST_THERE, HALF_WAY = 0.95, 0.5
"""How much of its way a lost message is drawn: one that finds nobody, and one that the network loses."""
_INK, _PALE = "#000000", "#767676"
_STYLE = (
    "text{font:11px Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#000;stroke:#fff;stroke-width:3px;paint-order:stroke;"
    "stroke-linejoin:round}.name{font-size:15px;font-weight:bold}.title{font-size:15px}.pale{fill:#767676}"
    ".mark{font-size:10px}"
)
_FILLS = {Kind.ROLE: "#E69F00", Kind.COMMIT: "#009E73", Kind.RESTART: "#56B4E9", Kind.CRASH: LOST_COLOUR}


def draw_svg(recording: Recording) -> str:
    """The drawing, as the text of an SVG file."""
    return "\n".join(_Drawing(recording).lines()) + "\n"


class _Drawing:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._columns = {who: LEFT + GAP // 2 + GAP * place for place, who in enumerate(recording.lifelines)}
        self._width = max(LEFT + GAP * len(recording.lifelines) + GAP // 2, self._reach())
        self._title = self._wrapped(f"{recording.scenario}, {recording.protocol}, seed {recording.seed}", 7.2)
        self._top = TOP + LINE * (len(self._title) - 1)
        broken = [mark.text for mark in recording.marks() if mark.kind is Kind.VIOLATION]
        self._under = max((len(self._wrapped(text, 8.6)) for text in broken), default=0) * LINE
        began = [event.began_ms for event in recording.events if event.began_ms is not None]
        self._axis = Axis([*(event.at_ms for event in recording.events), *began], self._top)
        self._labels = Labels()

    def _reach(self) -> int:
        """As far to the right as the words of the last lifeline may go."""
        last, x = list(self._columns.items())[-1]
        marks = (m for m in self._recording.marks() if m.source == last and m.kind is not Kind.VIOLATION)
        return x + ASIDE + max((math.ceil(Labels.CHARACTER * len(told(mark))) for mark in marks), default=0)

    def _wrapped(self, text: str, character: float) -> list[str]:
        """In lines that fit between left and right; `character`: how many pixels wide one is, about."""
        return wrap(text, int((self._width - LEFT * 1.5) / character))

    def lines(self) -> Iterator[str]:
        recording = self._recording
        lines = max(line for *_, line in self._legend_places())
        height = self._axis.end + BOTTOM + self._under + LEGEND_LINE * lines
        title = " ".join(self._title)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {height:.0f}" '
            f'width="{self._width}" height="{height:.0f}" role="img">'
        )
        yield f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        yield f'<rect width="{self._width}" height="{height:.0f}" fill="#fff"/>'
        for number, line in enumerate(self._title):
            yield _text(LEFT // 2, 24 + LINE * number, line, "title")
        yield from self._frame()
        # Labels of marks first: they have one place each, those of arrows have many.
        marks = list(self._marks())
        yield from (line for arrow in recording.arrows() for line in self._arrow(arrow))
        yield from marks
        yield from self._legend()
        yield "</svg>"

    # -- time and lifelines ------------------------------------------------------------------

    def _frame(self) -> Iterator[str]:
        for tick, height in self._axis.ticks(TICK_MS):
            yield _text(LEFT // 2, height + 4, f"{tick} ms", "pale", "middle")
            yield _line(LEFT - 8, height, LEFT, height, _PALE)
        for who, x in self._columns.items():
            yield _text(x, self._top - 22, who, "name", "middle")
            for begin, end, alive in self._lives(who):
                broken = "" if alive else "2 5"
                yield _line(x, begin, x, end, _PALE, 1.2, broken)
        for height, passed in self._axis.idle:
            yield _text(LEFT // 2, height + 4, f"{passed:.0f} ms", "pale", "middle")
            for x in self._columns.values():
                yield _line(x - 5, height - 1, x + 5, height - 5, _PALE)
                yield _line(x - 5, height + 5, x + 5, height + 1, _PALE)

    def _lives(self, who: str) -> Iterator[tuple[float, float, bool]]:
        """Stretches of a lifeline in which its process runs, or does not."""
        since, alive = self._top - 14.0, True
        for event in self._recording.events:
            if event.source == who and event.kind in (Kind.CRASH, Kind.RESTART):
                height = self._axis.height(event.at_ms)
                # One that starts again within the recording was down before.
                yield since, height, alive and event.kind is Kind.CRASH
                since, alive = height, event.kind is Kind.RESTART
        yield since, self._axis.end + 12, alive

    # -- what happens on a lifeline ----------------------------------------------------------

    def _marks(self) -> Iterator[str]:
        yield from self._violations()
        ordinary = (mark for mark in self._recording.marks() if mark.kind is not Kind.VIOLATION)
        marks = sorted(ordinary, key=lambda mark: (mark.at_ms, mark.source))
        groups = [(at, who, list(group)) for (at, who), group in groupby(marks, key=lambda m: (m.at_ms, m.source))]
        for at_ms, who, group in groups:
            x, y = self._columns[who], self._axis.height(at_ms)
            for mark in group:
                if mark.began_ms is not None:
                    top = self._axis.height(mark.began_ms)
                    yield f'<rect x="{x - 4}" y="{top:.1f}" width="8" height="{y - top:.1f}" fill="{_INK}"/>'
        # All shapes before all words: the words of one time give way to the shapes of the next.
        for at_ms, who, group in groups:
            x, y = self._columns[who], self._axis.height(at_ms)
            for place, kind in enumerate(_shapes(group)):
                self._labels.take(x + 12 * place, y)
                yield _shape(kind, x + 12 * place, y)
        for at_ms, who, group in groups:
            yield from self._told(
                group, self._columns[who] + max(8, 12 * len(_shapes(group))), self._axis.height(at_ms)
            )

    def _violations(self) -> Iterator[str]:
        """A law that was broken is across all lifelines, at the bottom."""
        for mark in self._recording.marks():
            if mark.kind is Kind.VIOLATION:
                y = self._axis.height(mark.at_ms) + 10
                yield f'<g class="{mark.kind}">{_line(LEFT, y, self._width - GAP // 4, y, LOST_COLOUR, 3)}'
                lines = self._wrapped(mark.text, 8.6)
                yield from (_text(LEFT, y + 17 + LINE * number, line, "name") for number, line in enumerate(lines))
                yield "</g>"

    def _told(self, group: list[Event], x: float, y: float) -> Iterator[str]:
        for line, mark in enumerate(group):
            text = told(mark)
            start = y + 3 + 11 * line
            aside = ((0, 0), (0, 11), (0, -11), (14, 0), (28, 0), (14, 11), (28, 11), (0, 22), (0, -22))
            candidates = (Label(x + right, start + down, 0, text) for right, down in aside)
            chosen = self._labels.best(candidates)
            yield f'<g class="{mark.kind}">{_text(chosen.x, chosen.y, text, "mark")}</g>'

    # -- messages ----------------------------------------------------------------------------

    def _arrow(self, arrow: Arrow) -> Iterator[str]:
        sent, came = arrow
        x, y = float(self._columns[sent.source]), self._axis.height(sent.at_ms)
        end_x, end_y = float(self._columns[sent.to]), self._axis.height(came.at_ms)
        if arrow.lost:
            end_x = x + (end_x - x) * (ALMOST_THERE if self._down(sent.to, came.at_ms) else HALF_WAY)
        label = self._labels.best(self._label_places(sent, x, y, end_x, end_y))
        colour = LOST_COLOUR if arrow.lost else COLOURS[sort_of(sent)]
        fate = f"lost at {came.at_ms} ms" if arrow.lost else f"arrives at {came.at_ms} ms"
        yield '<g class="message">'
        yield f"<title>{escape(f'{sent.source} to {sent.to}, sent at {sent.at_ms} ms, {fate}')}</title>"
        yield _line(x, y, end_x, end_y, colour, 1.4, "6 4" if sent.answer else "")
        yield _cross(end_x, end_y, colour) if arrow.lost else _head(x, y, end_x, end_y, colour)
        turn = f' transform="rotate({label.degrees:.1f} {label.x:.1f} {label.y:.1f})"'
        yield f'<text x="{label.x:.1f}" y="{label.y:.1f}"{turn} style="fill:{colour}">{escape(label.text)}</text>'
        yield "</g>"

    def _down(self, who: str, at_ms: float) -> bool:
        """Whether a member's process does not run at a time."""
        changes = [
            event.kind
            for event in self._recording.events
            if event.source == who and event.kind in (Kind.CRASH, Kind.RESTART) and event.at_ms <= at_ms
        ]
        return bool(changes) and changes[-1] is Kind.CRASH

    def _label_places(self, sent: Event, x: float, y: float, end_x: float, end_y: float) -> Iterator[Label]:
        """Along the arrow, above it or below: rather between the last two lifelines that it comes to, in the middle."""
        right = end_x > x
        slope = (end_y - y) / (end_x - x)
        degrees = math.degrees(math.atan(slope))
        width = self._labels.width(sent.text)
        gaps = max(1, round(abs(end_x - x) / GAP))
        gap_width = abs(end_x - x) / gaps
        for gap in range(gaps):
            left = (end_x - gap_width * (gap + 1)) if right else (end_x + gap_width * gap)
            for shift in (0, -18, 18, -34, 34, -50, 50):
                begin = left + (gap_width - width * math.cos(math.radians(degrees))) / 2 + shift
                height = y + (begin - x) * slope
                for above in (-4.0, 12.0):
                    yield Label(begin, height + above, degrees, sent.text)

    # -- legend ------------------------------------------------------------------------------

    def _legend(self) -> Iterator[str]:
        top = self._axis.end + 40 + self._under
        for kind, words, x, line in self._legend_places():
            y = top + LEGEND_LINE * line
            yield from self._sample(kind, x, y)
            yield _text(x + 36, y + 4, words)

    def _legend_places(self) -> Iterator[tuple[Sort | Kind | str, str, float, int]]:
        """Each entry, where it begins, and in which line: as many lines as the width makes it."""
        x, line = float(LEFT), 0
        for kind, words in self._legend_entries():
            width = 60 + Labels.CHARACTER * len(words)
            if x > LEFT and x + width > self._width:
                x, line = float(LEFT), line + 1
            yield kind, words, x, line
            x += width

    def _legend_entries(self) -> list[tuple[Sort | Kind | str, str]]:
        """What is to be explained, and how: sorts of messages that there are, and marks."""
        sorts = {sort_of(arrow.sent) for arrow in self._recording.arrows()}
        kinds = {mark.kind for mark in self._recording.marks()}
        durable = {Kind.DURABLE: "the disk writes; at the lower end it is durable"}
        return [
            *((sort, sort.value) for sort in Sort if sort in sorts),
            ("answer", "answer"),
            ("lost", "lost"),
            *((kind, words) for kind, words in (LEGEND | durable).items() if kind in kinds),
        ]

    @staticmethod
    def _sample(kind: Sort | Kind | str, x: float, y: float) -> Iterator[str]:
        if isinstance(kind, Sort):
            yield _line(x, y, x + 30, y, COLOURS[kind], 1.4)
            yield _head(x, y, x + 30, y, COLOURS[kind])
        elif kind == "answer":
            yield _line(x, y, x + 30, y, _INK, 1.4, "6 4")
        elif kind == "lost":
            yield _line(x, y, x + 24, y, LOST_COLOUR, 1.4) + _cross(x + 24, y, LOST_COLOUR)
        elif kind is Kind.DURABLE:
            yield f'<rect x="{x + 14}" y="{y - 8}" width="8" height="16" fill="{_INK}"/>'
        elif isinstance(kind, Kind):
            yield _shape(kind, x + 18, y)


def _shapes(group: list[Event]) -> list[Kind]:
    """The shapes that stand for what happens at one time to one member, side by side."""
    return list(dict.fromkeys(mark.kind for mark in group if mark.kind is not Kind.DURABLE))


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    of = f' class="{style}"' if style else ""
    where = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{of}{where}>{escape(text)}</text>'


def _line(x: float, y: float, end_x: float, end_y: float, colour: str, width: float = 1.0, broken: str = "") -> str:
    dashes = f' stroke-dasharray="{broken}"' if broken else ""
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"{dashes}/>'
    )


def _head(x: float, y: float, end_x: float, end_y: float, colour: str) -> str:
    turn = math.degrees(math.atan2(end_y - y, end_x - x))
    place = f'transform="translate({end_x:.1f} {end_y:.1f}) rotate({turn:.1f})"'
    return f'<path d="M0 0L-9 -4L-9 4Z" fill="{colour}" {place}/>'


def _cross(x: float, y: float, colour: str) -> str:
    return f'<path d="M-5 -5L5 5M-5 5L5 -5" stroke="{colour}" stroke-width="2" transform="translate({x:.1f} {y:.1f})"/>'


def _shape(kind: Kind, x: float, y: float) -> str:
    """Each mark has a shape of its own, so that it can be told without its colour."""
    place = f'transform="translate({x:.1f} {y:.1f})"'
    if kind is Kind.CRASH:
        return f'<path d="M-6 -6L6 6M-6 6L6 -6" stroke="{LOST_COLOUR}" stroke-width="3" {place}/>'
    if kind is Kind.VIOLATION:
        return _line(x - 6, y, x + 6, y, LOST_COLOUR, 3)
    outline = f'fill="{_FILLS.get(kind, "#fff")}" stroke="{_INK}"'
    if kind is Kind.ROLE:
        return f'<path d="M0 -6L6 0L0 6L-6 0Z" {outline} {place}/>'
    if kind is Kind.RESTART:
        return f'<path d="M0 -6L6 5L-6 5Z" {outline} {place}/>'
    if kind is Kind.COMMIT:
        return f'<circle r="5.5" {outline} {place}/><path d="M-3 0L-1 3L3 -3" fill="none" stroke="#fff" {place}/>'
    if kind is Kind.CUT:
        return f'<path d="M-6 -5L6 5M-6 5L6 -5M-6 0H6" stroke="{_INK}" {place}/>'
    if kind is Kind.CLOSED:
        return f'<circle r="5" {outline} {place}/><path d="M-4 4L4 -4" stroke="{_INK}" {place}/>'
    if kind is Kind.MEMBERSHIP:
        return f'<circle r="6" {outline} {place}/><circle r="3" {outline} {place}/>'
    return f'<circle r="3" {outline} {place}/>'
