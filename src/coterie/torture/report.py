"""What a run comes to: only what was measured."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from coterie.torture.havoc import Band

NANOS = 1_000_000_000
UNAVAILABLE_S = 0.5
"""A window without an acknowledged write is told of if it is as long."""

LINEARIZABLE, NOT_LINEARIZABLE, UNKNOWN = "linearizable", "not-linearizable", "unknown"


class FaultFigures(msgspec.Struct, frozen=True):
    """One kind of fault."""

    count: int
    longest_gap_s: float
    """Longest time without an acknowledged write that touches one of them."""


class Window(msgspec.Struct, frozen=True):
    """A stretch of the run, in seconds after its start."""

    start: float
    end: float


class FaultWindow(msgspec.Struct, frozen=True):
    """One fault, in seconds after the start."""

    kind: str
    member: str
    start: float
    end: float


class EndedMember(msgspec.Struct, frozen=True):
    """A process that ended though nobody had killed it."""

    member: str
    at: float
    """Seconds after the start."""
    last_words: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run."""

    system: str
    protocol: str
    """What Coterie's members ran; empty for a peer."""
    seed: int
    seconds: float
    """From the first operation to the last."""
    verdict: str
    """`linearizable`, `not-linearizable` or `unknown`."""
    reason: str
    """Why it is not linearizable, or why that is unknown."""
    whole: bool
    """After the last fault all members agreed on a leader, and were up to date."""
    trouble: str
    """What was not well, if it did not come to that."""
    operations: int
    acknowledged_writes: int
    unknown: int
    """Writes of which nobody knows whether they happened."""
    refused: int
    """Operations that certainly did not happen."""
    elections: int
    """Changes of leader that were seen."""
    network: str
    """How the members were joined."""
    faults: dict[str, FaultFigures]
    passed_over: int
    """Faults of the schedule that found nobody to befall."""
    ended_by_themselves: list[EndedMember]
    """Processes that ended though nobody had killed them; they were started again."""
    unfinished_changes: int
    """Changes of the members that were not finished in time."""
    skipped: dict[str, str]
    """Kinds of faults that this machine, or the system, cannot have, and why."""
    longest_gap_s: float
    """Without an acknowledged write, over the whole run."""
    unavailable: list[Window]
    timeline: list[FaultWindow]
    throughput: list[int]
    """Acknowledged writes in each second."""


def gaps(acknowledged: Sequence[int], start: int, end: int) -> list[tuple[int, int]]:
    """The stretches between one acknowledged write and the next, from the run's start to its end; in order."""
    moments = [start, *sorted(moment for moment in acknowledged if start <= moment <= end), end]
    return list(pairwise(moments))


def longest(found: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """The length of the longest gap that touches this stretch."""
    first = max(0, bisect_right([begin for begin, _ in found], start) - 1)
    last = bisect_left([begin for begin, _ in found], end)
    return max((stop - begin for begin, stop in found[first : max(last, first + 1)]), default=0)


def figures_of(bands: Sequence[Band], found: Sequence[tuple[int, int]]) -> dict[str, FaultFigures]:
    """For each kind of fault that there was."""
    figures: dict[str, FaultFigures] = {}
    for kind in sorted({band.kind for band in bands}):
        mine = [longest(found, band.start, band.end) for band in bands if band.kind == kind]
        figures[kind] = FaultFigures(len(mine), round(max(mine) / NANOS, 3))
    return figures


def throughput(acknowledged: Sequence[int], start: int, end: int) -> list[int]:
    """Acknowledged writes in each second from the start on; the last may be a part of one."""
    counts = [0] * max(1, -(-(end - start) // NANOS))
    for moment in acknowledged:
        if start <= moment < end:
            counts[(moment - start) // NANOS] += 1
    return counts


def seconds(moment: int, start: int) -> float:
    """After the start, to the millisecond."""
    return round((moment - start) / NANOS, 3)
