"""A recording as a Mermaid `sequenceDiagram`, for Markdown: GitHub and many editors draw it.

Mermaid knows no time: a message stands where it is sent, and nothing is slanted.
"""

from __future__ import annotations

from itertools import groupby

from coterie.lab.drawing.style import MARKS, told
from coterie.lab.recording import Arrow, Event, Kind, Recording

_ARROWS = {(False, False): "->>", (True, False): "-->>", (False, True): "-x", (True, True): "--x"}
"""By whether it answers and whether it is lost."""
_ENTITIES = str.maketrans({"#": "#35;", ";": "#59;"})


def draw_mermaid(recording: Recording) -> str:
    """The diagram, without the fence around it."""
    lines = ["sequenceDiagram", *(f"    participant {who}" for who in recording.lifelines)]
    arrows = {arrow.sent.message: arrow for arrow in recording.arrows()}
    events = [event for event in recording.events if event.kind not in (Kind.RECEIVED, Kind.LOST)]
    for _, together in groupby(enumerate(events), key=_note_of):
        group = [event for _, event in together]
        if group[0].kind is Kind.SENT:
            lines.append(f"    {_message(arrows[group[0].message])}")
        else:
            lines.append(f"    {_note(group)}")
    return "\n".join(lines)


def _note_of(numbered: tuple[int, Event]) -> tuple[float, str, int]:
    """Events of one member at one time are one note; each message stands for itself."""
    number, event = numbered
    return (event.at_ms, event.source, -1) if event.kind is not Kind.SENT else (event.at_ms, event.source, number)


def _message(arrow: Arrow) -> str:
    sent = arrow.sent
    kind = _ARROWS[sent.answer, arrow.lost]
    return f"{sent.source}{kind}{sent.to}: {_clean(sent.text)}{' (lost)' if arrow.lost else ''}"


def _note(group: list[Event]) -> str:
    words = "<br/>".join(f"{MARKS[event.kind]} {_clean(told(event))}" for event in group)
    return f"Note over {group[0].source}: {words}"


def _clean(text: str) -> str:
    """A semicolon would be the end of the statement, and a number sign begin an entity."""
    return text.translate(_ENTITIES)
