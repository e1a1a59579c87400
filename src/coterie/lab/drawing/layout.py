"""Where things go on a space-time diagram: a time axis that leaves out idle stretches, and labels that do not meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PIXELS_PER_MS = 8.0
LEAST_PIXELS = 5.0
"""Between two times at which something happens: of a burst, the order matters more than the scale."""
IDLE_MS = 30.0
"""A longer time in which nothing happens is left out, and said so. Nothing is under way then: no link takes so long."""
IDLE_PIXELS = 36.0


class Axis:
    """Times as heights."""

    def __init__(self, times: Iterable[float], top: float) -> None:
        self._points: list[tuple[float, float]] = []
        """(time, height) of each time at which something happens."""
        self.idle: list[tuple[float, float]] = []
        """(height, milliseconds) of the middle of each stretch that is left out."""
        height = top
        for time in sorted(set(times)):
            if self._points:
                passed = time - self._points[-1][0]
                if passed > IDLE_MS:
                    self.idle.append((height + IDLE_PIXELS / 2, passed))
                    height += IDLE_PIXELS
                else:
                    height += max(passed * PIXELS_PER_MS, LEAST_PIXELS)
            self._points.append((time, height))
        self.end = height

    def height(self, time: float) -> float:
        """Where a time is, at which something happens."""
        return next(height for known, height in self._points if known == time)

    def ticks(self, every_ms: int) -> Iterator[tuple[int, float]]:
        """Round times and their heights, without those in stretches that are left out."""
        for (time, height), (later, end) in zip(self._points, self._points[1:], strict=False):
            if later - time <= IDLE_MS:
                first = math.ceil(time / every_ms) * every_ms
                for tick in range(first, math.ceil(later), every_ms):
                    yield tick, height + (tick - time) / (later - time) * (end - height)


class Label(NamedTuple):
    """A line of text: where it begins, and how far it is turned, in degrees."""

    x: float
    y: float
    degrees: float
    text: str


class Labels:
    """Finds places for labels, one after the other, where they hide as little as possible of those before."""

    CHARACTER = 5.8
    """Pixels, on average, at the size that labels are drawn in."""
    LINE = 10.0
    NEAR = CHARACTER * 2

    def __init__(self) -> None:
        self._taken: dict[tuple[int, int], list[tuple[float, float]]] = {}
        """Points of labels, by the field of the size of `NEAR` that they are in."""

    def best(self, candidates: Iterable[Label]) -> Label:
        """The first of those that hide least; it is taken then."""
        chosen = min(candidates, key=self._hidden)
        for point in self._points(chosen):
            self._taken.setdefault(self._field(*point), []).append(point)
        return chosen

    def take(self, x: float, y: float) -> None:
        """Something else than a label is here, as wide as a letter or two."""
        self._taken.setdefault(self._field(x, y), []).append((x, y))

    def width(self, text: str) -> float:
        """About how wide it is."""
        return len(text) * self.CHARACTER

    def _hidden(self, label: Label) -> int:
        return sum(
            1
            for x, y in self._points(label)
            for taken_x, taken_y in self._around(*self._field(x, y))
            if abs(x - taken_x) < self.NEAR and abs(y - taken_y) < self.LINE
        )

    def _field(self, x: float, y: float) -> tuple[int, int]:
        return int(x // self.NEAR), int(y // self.LINE)

    def _around(self, column: int, row: int) -> Iterator[tuple[float, float]]:
        for near in range(column - 1, column + 2):
            for line in range(row - 1, row + 2):
                yield from self._taken.get((near, line), ())

    def _points(self, label: Label) -> Iterator[tuple[float, float]]:
        """Points along the line, close enough to stand for it."""
        turn = math.radians(label.degrees)
        for step in range(0, len(label.text) + 1, 2):
            distance = step * self.CHARACTER
            yield label.x + distance * math.cos(turn), label.y + distance * math.sin(turn)
