"""Jepsen's histories: its EDN files, and the lines that its log has of them.

EDN: one map an operation's beginning or end, each on its own or all in one vector, with `:process`, `:type`, `:f`,
`:value`, and perhaps `:time` and `:key`. Where every value is a pair of key and value, as `jepsen.independent` writes
it, the keys are separate objects. Log lines: `INFO  jepsen.util - PROCESS :TYPE :F VALUE`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import NoReturn

from coterie.check.formats.edn import FALSE, Form, Reader, Word
from coterie.check.formats.events import TYPES, Event
from coterie.check.formats.limits import MOST_EVENTS
from coterie.check.history import HistoryError

LOG_LINE = re.compile(r"[A-Z]+\s+(?P<logger>[\w.$-]+)\s+-\s(?P<rest>.*)")
_FIELDS = re.compile(r"(?P<process>\d+|:nemesis)\s+:(?P<type>\w+)\s+:(?P<f>[\w-]+)(?:\s+(?P<value>.*))?")
NEMESIS = ":nemesis"
"""The process that makes faults: it is no client."""
YES_OR_NO = frozenset({"cas", "contains", "acquire", "release"})
"""Their answer is true or false."""


def answer(f: str, value: Hashable) -> Hashable:
    """The answer of an `ok`, as models have it: a `cas` that repeats its argument found what it expected."""
    if f in YES_OR_NO and not isinstance(value, frozenset):
        return value != FALSE
    return value


def read_edn(text: str) -> list[Event]:
    """The events of an EDN file. Raises `HistoryError`."""
    reader = Reader(text)
    vector = reader.enter("[")
    events: list[Event] = []
    while True:
        if vector and reader.leave("]"):
            vector = False
        found = reader.next_form()
        if found is None:
            if vector:
                reader.fail("the vector of the history is never closed")
            return _independent(events)
        line, form = found
        if not isinstance(form, dict):
            _fail(line, f"{form!r} stands where a map of an event must be")
        if len(events) >= MOST_EVENTS:
            _fail(line, f"there are more than {MOST_EVENTS} events; split the history")
        event = _edn_event(line, form)
        if event is not None:
            events.append(event)


def _edn_event(line: int, form: dict[str, Hashable]) -> Event | None:
    for field in ("process", "type", "f"):
        if field not in form:
            _fail(line, f"field ':{field}' is missing")
    process, f, time = form["process"], form["f"], form.get("time")
    if isinstance(process, Word):
        if process.text != NEMESIS:
            _fail(line, f"field ':process' is {process}; allowed are a whole number and {NEMESIS}")
        return None
    if not isinstance(process, int):
        _fail(line, f"field ':process' is {process!r}; allowed are a whole number and {NEMESIS}")
    type = str(form["type"]).removeprefix(":")
    _check_type(line, type)
    if not isinstance(f, Word | str):
        _fail(line, f"field ':f' is {f!r}; allowed is a keyword")
    if time is not None and not isinstance(time, int):
        _fail(line, f"field ':time' is {time!r}; allowed is a whole number of nanoseconds")
    return Event(line, process, type, str(f).removeprefix(":"), form.get("key"), form.get("value"), time)


def _independent(events: list[Event]) -> list[Event]:
    """Take keys out of pairs, if every beginning has a pair that can't be anything else, and answers as models have
    them."""
    begun = [event for event in events if event.type == "invoke"]
    keyed = bool(begun) and all(event.key is None and _is_keyed(event) for event in begun)
    return [_taken_apart(event, keyed) for event in events]


def _is_keyed(event: Event) -> bool:
    if not isinstance(event.value, tuple) or len(event.value) != 2:
        return False
    inner = event.value[1]
    if event.f == "read":
        return inner is None
    return event.f != "cas" or (isinstance(inner, tuple) and len(inner) == 2)


def _taken_apart(event: Event, keyed: bool) -> Event:
    key, value = event.key, event.value
    if keyed and isinstance(value, tuple) and len(value) == 2:
        key, value = value
    elif keyed and event.type == "ok":
        _fail(event.line, f"field ':value' is {value!r}; all others are pairs of a key and a value")
    if event.type == "ok":
        value = answer(event.f, value)
    return Event(event.line, event.process, event.type, event.f, key, value, event.time)


def read_log(text: str) -> Iterator[Event]:
    """The events among the lines of Jepsen's log; lines of other loggers are passed over. Raises `HistoryError`.

    A `:fail` of a `:cas` is an answer here, as in the etcd tests that these logs come from: it did not find what it
    expected. One that says `:timed-out`, or has no value, only did not happen.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = LOG_LINE.fullmatch(line)
        if match is None:
            _fail(number, f"{line[:60]!r} is no line of Jepsen's log: LEVEL logger - ...")
        if match["logger"] != "jepsen.util":
            continue
        fields = _FIELDS.fullmatch(match["rest"])
        if fields is None:
            _fail(number, f"{match['rest'][:60]!r} has not the four fields process, :type, :f and value")
        _check_type(number, fields["type"])
        if fields["process"] == NEMESIS:
            continue
        value = _log_value(number, fields["value"] or "")
        type, f = fields["type"], fields["f"]
        looked = type == "fail" and f == "cas" and isinstance(value, tuple)
        yield Event(
            number,
            int(fields["process"]),
            type,
            f,
            None,
            answer(f, value) if type == "ok" else value,
            failed_look=looked,
        )


def _log_value(number: int, text: str) -> Hashable:
    reader = Reader(text, number)
    found = reader.next_form()
    if found is None:
        _fail(number, "the field 'value' is missing")
    form: Form = found[1]
    if reader.next_form() is not None or isinstance(form, dict):
        _fail(number, f"field 'value' is {text[:60]!r}; allowed is one number, string, keyword or vector")
    return form


def _check_type(line: int, type: str) -> None:
    if type not in TYPES:
        _fail(line, f"field 'type' is {type!r}; allowed are {', '.join(TYPES)}")


def _fail(line: int, what: str) -> NoReturn:
    raise HistoryError(f"line {line}: {what}")
