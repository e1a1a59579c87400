"""Beginnings and ends of operations, as a file has them one after the other, put together to operations.

What the formats share: `invoke` begins an operation; `ok` ends it with an answer; `fail` says that it did not happen;
`info` that nobody knows. The order in the file is the order in real time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, NoReturn

import msgspec

from coterie.check.formats.limits import MOST_EVENTS
from coterie.check.history import FOREVER, HistoryError, Operation

TYPES: Final = ("invoke", "ok", "fail", "info")


class Event(msgspec.Struct, frozen=True):
    """One line of a history."""

    line: int
    process: int | str
    type: str
    """One of `TYPES`."""
    f: str
    key: Hashable
    value: Hashable
    """Of an `invoke` the argument, of an `ok` the answer."""
    time: int | None = None
    """Nanoseconds, if the file has them; they may not go back."""
    failed_look: bool = False
    """A `fail` that is an answer: the comparison was made, and did not hold."""


def operations(events: Iterable[Event]) -> list[Operation]:
    """The operations, in the order of their beginnings; times are the positions of events in the file.

    An operation whose end is missing has an unknown outcome. One that failed is left out: it did not happen.
    Raises `HistoryError` for an end without a beginning, two beginnings without an end between, an end that belongs to
    another operation, a clock that goes back, or too many events.
    """
    open_calls: dict[int | str, tuple[int, Event]] = {}
    found: dict[int, Operation] = {}
    latest: Event | None = None
    for position, event in enumerate(events):
        if position >= MOST_EVENTS:
            _fail(event, f"there are more than {MOST_EVENTS} events; split the history")
        if event.time is not None:
            if latest is not None and latest.time is not None and event.time < latest.time:
                _fail(
                    event,
                    f"field 'time' is {event.time}, before the {latest.time} of line {latest.line}: events stand in "
                    "the order in which they happened",
                )
            latest = event
        begun = open_calls.get(event.process)
        if event.type == "invoke":
            if begun is not None:
                _fail(
                    event,
                    f"field 'process': {event.process} begins {event.f}, and its {begun[1].f} of line {begun[1].line} "
                    "has not ended: a process has one operation at a time",
                )
            open_calls[event.process] = (position, event)
            continue
        if begun is None:
            _fail(event, f"field 'process': {event.process} ends {event.f}, and has begun nothing")
        _pair(begun[1], event)
        del open_calls[event.process]
        start, call = begun
        if event.type == "ok" or event.failed_look:
            found[start] = _operation(call, start, position, False if event.failed_look else event.value)
        elif event.type == "info":
            found[start] = _operation(call, start, FOREVER, None)
    for start, call in open_calls.values():
        found[start] = _operation(call, start, FOREVER, None)
    return [found[start] for start in sorted(found)]


def _pair(call: Event, end: Event) -> None:
    if call.f != end.f:
        _fail(end, f"field 'f': process {end.process} ends {end.f}, and began {call.f} at line {call.line}")
    if call.key != end.key and end.key is not None:
        _fail(end, f"field 'key' is {end.key!r}; at line {call.line} the operation began with {call.key!r}")


def _operation(call: Event, start: int, end: int, result: Hashable) -> Operation:
    return Operation(
        process=call.process,
        f=call.f,
        key=call.key,
        argument=call.value,
        result=result,
        start=start,
        end=end,
        line=call.line,
    )


def _fail(event: Event, what: str) -> NoReturn:
    raise HistoryError(f"line {event.line}: {what}")
