"""Our own format: JSON lines, one object for each beginning and each end of an operation."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from coterie.check.formats.edn import FALSE, TRUE, Word
from coterie.check.formats.events import Event
from coterie.check.formats.jepsen import answer
from coterie.check.formats.limits import MOST_DEPTH
from coterie.check.history import HistoryError, Operation, by_process
from coterie.check.models.register import ANY


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    process: int | str
    type: Literal["invoke", "ok", "fail", "info"]
    f: str
    key: Any = None
    value: Any = None
    time: int | None = None


_LOST, _BEGINS, _ENDS_AT_ONCE, _AGAIN, _ENDS = range(5)
"""The order of what happens at one moment."""
_DECODER = msgspec.json.Decoder(_Line)
_ENCODER = msgspec.json.Encoder()


def read_json_lines(text: str) -> Iterator[Event]:
    """The events of a file. Raises `HistoryError` with line and field."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = _DECODER.decode(line)
        except msgspec.DecodeError as error:
            raise HistoryError(f"line {number}: {error}") from None
        except RecursionError:
            raise HistoryError(f"line {number}: values are nested deeper than {MOST_DEPTH}") from None
        value = _frozen(found.value, number)
        yield Event(
            number,
            found.process,
            found.type,
            found.f,
            _frozen(found.key, number),
            answer(found.f, value) if found.type == "ok" else value,
            found.time,
        )


def write_json_lines(history: Iterable[Operation]) -> Iterator[str]:
    """A history as lines that `read_json_lines` reads, without line ends.

    At one moment beginnings stand before ends, so that what was concurrent stays so; only a process that begins again
    at the moment at which it ended comes after its own end. Raises `HistoryError` for a value that JSON does not have,
    bytes for example, or a process that calls two operations at a time.
    """
    moments: list[tuple[int, int, _Line]] = []
    for mine in by_process(history).values():
        for previous, operation, following in zip([None, *mine], mine, [*mine[1:], None], strict=False):
            key, process = as_json(operation.key), operation.process
            begins = _Line(process, "invoke", operation.f, key, as_json(operation.argument), operation.start)
            again = previous is not None and previous.end == operation.start
            moments.append((operation.start, _AGAIN if again else _BEGINS, begins))
            if operation.known:
                at_once = following is not None and following.start == operation.end
                ends = _Line(process, "ok", operation.f, key, as_json(operation.result), operation.end)
                moments.append((operation.end, _ENDS_AT_ONCE if at_once else _ENDS, ends))
            elif following is not None:
                lost = _Line(process, "info", operation.f, key, None, following.start)
                moments.append((following.start, _LOST, lost))
    for *_, line in sorted(moments, key=lambda moment: moment[:2]):
        yield _ENCODER.encode(line).decode()


def _frozen(value: Any, line: int, depth: int = 0) -> Hashable:
    """Values as models compare them: lists as tuples, objects as sets of pairs, truth values no numbers."""
    if depth > MOST_DEPTH:
        raise HistoryError(f"line {line}: field 'value' is nested deeper than {MOST_DEPTH}")
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, list):
        return tuple(_frozen(item, line, depth + 1) for item in value)
    if isinstance(value, dict):
        return frozenset(
            (name, item if isinstance(item, bool) and name != "value" else _frozen(item, line, depth + 1))
            for name, item in value.items()
        )
    assert isinstance(value, Hashable)
    return value


def as_json(value: Hashable) -> Any:
    """A value as JSON has it. Raises `HistoryError` for one that JSON does not have, bytes for example."""
    if isinstance(value, Word):
        return value is TRUE if value in (TRUE, FALSE) else value.text
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, frozenset):
        if value and all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in value):
            fields: Mapping[str, Any] = {str(name): as_json(item) for name, item in sorted(value)}
            return fields
        return sorted((as_json(item) for item in value), key=repr)
    if value is ANY:
        return "any"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise HistoryError(f"{value!r} has no form in JSON: use a string or a number")
