"""Where things go on the timeline of a counterexample: a lane a process, a bar an operation."""

from __future__ import annotations

from typing import Final, NamedTuple

from coterie.check.counterexample import Counterexample
from coterie.check.history import Operation, describe

MOST_CHARACTERS: Final = 90
"""Of an operation in a drawing: keys and values may be of any length."""
MOST_OF_A_REASON: Final = 600


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text's beginning and end, if it is long: what was answered stands at the end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 3]} … {text[-tail:]}"


class Bar(NamedTuple):
    """An operation, from the moment of its start to that of its end. Moments are numbered; only their order counts."""

    operation: Operation
    lane: int
    start: int
    end: int | None
    """None if the outcome is unknown: the bar has no end."""
    label: str
    """What was called and answered, in whole."""
    culprit: bool

    @property
    def short(self) -> str:
        """The label, as much of it as a drawing has room for."""
        return shortened(self.label)


class Timeline(NamedTuple):
    """All of a drawing but its looks."""

    lanes: tuple[str, ...]
    bars: tuple[Bar, ...]
    moments: int
    """How many there are: times that nothing happens in between are left out."""
    title: str
    reason: str


def timeline(counterexample: Counterexample) -> Timeline:
    """Lay a counterexample out; lanes in the order in which processes begin."""
    operations = sorted(counterexample.operations, key=lambda operation: operation.start)
    ends = [operation.end for operation in operations if operation.known]
    # A start and an end at the same time are concurrent: the start is drawn first.
    times = sorted({(operation.start, 0) for operation in operations} | {(end, 1) for end in ends})
    moment = {time: number for number, time in enumerate(times)}
    lanes = list(dict.fromkeys(operation.process for operation in operations))
    bars = tuple(
        Bar(
            operation,
            lanes.index(operation.process),
            moment[operation.start, 0],
            moment[operation.end, 1] if operation.known else None,
            describe(operation),
            operation == counterexample.culprit,
        )
        for operation in operations
    )
    return Timeline(
        tuple(f"process {lane}" for lane in lanes),
        bars,
        len(times),
        f"not {counterexample.model}",
        shortened(counterexample.reason, MOST_OF_A_REASON),
    )
