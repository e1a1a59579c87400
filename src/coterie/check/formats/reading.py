"""Which format a file has, and the history in it."""

from __future__ import annotations

import re
from typing import Final

from coterie.check.formats.events import operations
from coterie.check.formats.jepsen import LOG_LINE, read_edn, read_log
from coterie.check.formats.json_lines import read_json_lines
from coterie.check.formats.limits import MOST_BYTES, MOST_LINE_BYTES
from coterie.check.history import HistoryError, Operation

_JSON: Final = re.compile(r'\{\s*"')
_JSON_ARRAY: Final = re.compile(r'\[\s*\{\s*"')
_EDN: Final = re.compile(r"(;|#|\[\s*(\{\s*:|#|\]|;)|\{\s*[:#])")


def read_history(data: bytes) -> list[Operation]:
    """The history in a file's bytes: our JSON lines, Jepsen's EDN or log lines, told apart by how they begin.

    Raises `HistoryError`, with the line, for what is none of them, or is malformed, or larger than `limits` allows.
    """
    if len(data) > MOST_BYTES:
        raise HistoryError(f"the file has {len(data)} bytes; at most {MOST_BYTES} are read: split the history")
    for number, line in enumerate(data.split(b"\n"), 1):
        if len(line) > MOST_LINE_BYTES:
            raise HistoryError(f"line {number} has {len(line)} bytes; at most {MOST_LINE_BYTES} are allowed")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_number = data.count(b"\n", 0, error.start) + 1
        raise HistoryError(f"line {line_number}: byte 0x{data[error.start]:02x} is not UTF-8") from None
    begins = text.lstrip()
    number = text[: len(text) - len(begins)].count("\n") + 1
    if not begins:
        raise HistoryError("line 1: the file is empty; a history has at least one operation")
    if _JSON.match(begins):
        return operations(read_json_lines(text))
    if _JSON_ARRAY.match(begins):
        raise HistoryError(f"line {number}: the file is a JSON array; write one object a line, without brackets")
    if _EDN.match(begins):
        return operations(read_edn(text))
    if LOG_LINE.match(begins.splitlines()[0]):
        return operations(read_log(text))
    raise HistoryError(
        f"line {number}: {begins.splitlines()[0][:60]!r} begins no history: allowed are JSON lines, Jepsen's EDN, and "
        "lines of Jepsen's log"
    )
