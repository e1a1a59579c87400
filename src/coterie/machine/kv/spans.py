"""Sets of keys that are made of ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias

from coterie.machine.kv.data import TO_THE_LAST

_Span: TypeAlias = tuple[bytes, bytes | None]
"""From a key to below another one, or (None) to the last."""


class Spans:
    """What some ranges cover: spans of keys, in order, none touching another."""

    def __init__(self, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        """Ranges as commands have them: a key (`end` empty) or [key, end)."""
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        """None: to the last key."""
        self._unite([_span(key, end) for key, end in ranges])

    def add(self, other: Spans) -> None:
        """Cover what `other` covers, too."""
        if other._starts:
            spans = zip(self._starts + other._starts, self._ends + other._ends, strict=True)
            self._unite(list(spans))

    def _unite(self, spans: list[_Span]) -> None:
        starts: list[bytes] = []
        ends: list[bytes | None] = []
        for start, end in sorted(spans, key=_start):
            if ends and (ends[-1] is None or start <= ends[-1]):
                ends[-1] = None if end is None or ends[-1] is None else max(end, ends[-1])
            elif end is None or start < end:
                starts.append(start)
                ends.append(end)
        self._starts, self._ends = starts, ends

    def covers(self, key: bytes, end: bytes = b"") -> bool:
        """Whether all of the range is in them. One that ends before it begins is, if its key is, and nothing else
        of it can be: there is nothing else."""
        start, stop = _span(key, end)
        at = bisect_right(self._starts, start) - 1
        if at < 0:
            return False
        last = self._ends[at]
        return last is None or (start < last and stop is not None and stop <= last)


def _span(key: bytes, end: bytes) -> _Span:
    if not end:
        return key, key + b"\0"
    return key, None if end == TO_THE_LAST else end


def _start(span: _Span) -> bytes:
    return span[0]
