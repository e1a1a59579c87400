"""A recording as text: time runs down, a column a member, a row an event.

A message stands where it is sent; its row says when it arrives.
"""

from __future__ import annotations

from rich.text import Text

from coterie.lab.drawing.style import LEGEND, MARKS, Sort, sort_of, told
from coterie.lab.recording import Arrow, Event, Kind, Recording

COLUMN = 9
"""Characters from one lifeline to the next."""
_TIME = 9
_STYLES = {Sort.ELECTION: "bold blue", Sort.REPLICATION: "", Sort.READ: "green", Sort.CLIENTS: "magenta"}
_MARK_STYLES = {Kind.DURABLE: "bold", Kind.ROLE: "bold yellow", Kind.COMMIT: "bold cyan", Kind.CRASH: "bold red"}


def draw_text(recording: Recording) -> Text:
    """The drawing, with styles for terminals that have them; its `plain` for those that have none."""
    drawing = Text(no_wrap=True)
    names = "".join(who.center(COLUMN) for who in recording.lifelines)
    drawing.append(f"{'ms':>{_TIME - 2}}  {names}".rstrip() + "\n", "bold")
    arrows = {arrow.sent.message: arrow for arrow in recording.arrows()}
    for event in recording.events:
        if event.kind is Kind.SENT:
            _draw_arrow(drawing, recording, arrows[event.message])
        elif event.kind not in (Kind.RECEIVED, Kind.LOST):
            _draw_mark(drawing, recording, event)
    shown = {mark.kind for mark in recording.marks()}
    legend = "   ".join(f"{MARKS[kind]} {words}" for kind, words in LEGEND.items() if kind in shown)
    drawing.append(f"\n─▶ message   ┄▶ answer   ─✕ lost   {legend}\n", "dim")
    return drawing


def _draw_arrow(drawing: Text, recording: Recording, arrow: Arrow) -> None:
    sent = arrow.sent
    begin, end = _place(recording, sent.source), _place(recording, sent.to)
    cells = _lifelines(recording)
    line = "┄" if sent.answer else "─"
    step = 1 if end > begin else -1
    for place in range(begin + step, end, step):
        cells[place] = line
    cells[begin] = "├" if step > 0 else "┤"
    if arrow.lost:
        cells[(begin + end) // 2] = "✕"
        for place in range((begin + end) // 2 + step, end, step):
            cells[place] = "│" if place in _columns(recording) else " "
    else:
        cells[end - step] = "▶" if step > 0 else "◀"
    fate = "lost" if arrow.lost else f"arrives {arrow.came.at_ms:.1f}"
    style = "red" if arrow.lost else _STYLES[sort_of(sent)]
    _row(drawing, sent, cells, f"{sent.source} to {sent.to}: ", sent.text, style, f"  ({fate})")


def _draw_mark(drawing: Text, recording: Recording, mark: Event) -> None:
    if mark.kind is Kind.VIOLATION:
        drawing.append(f"{mark.at_ms:>{_TIME - 2}.1f}  ", "dim")
        drawing.append(f"{MARKS[mark.kind]} {mark.text}\n", "bold red")
        return
    cells = _lifelines(recording)
    for who in (mark.source, mark.to) if mark.kind in (Kind.CUT, Kind.HEAL) else (mark.source,):
        cells[_place(recording, who)] = MARKS[mark.kind]
    _row(drawing, mark, cells, f"{mark.source} ", told(mark), _MARK_STYLES.get(mark.kind, ""), "")


def _row(drawing: Text, event: Event, cells: list[str], before: str, words: str, style: str, after: str) -> None:
    drawing.append(f"{event.at_ms:>{_TIME - 2}.1f}  ", "dim")
    drawing.append("".join(cells), style)
    drawing.append(f" {before}")
    drawing.append(words, style)
    drawing.append(f"{after}\n", "dim")


def _place(recording: Recording, who: str) -> int:
    return recording.lifelines.index(who) * COLUMN + COLUMN // 2


def _columns(recording: Recording) -> set[int]:
    return {_place(recording, who) for who in recording.lifelines}


def _lifelines(recording: Recording) -> list[str]:
    columns = _columns(recording)
    return ["│" if place in columns else " " for place in range(len(recording.lifelines) * COLUMN)]
