"""Is a history of one register linearizable? For registers whose written values are all different.

Gibbons and Korach, "Testing Shared Memories" (SIAM J. Comput. 26(4), 1997), section 4: when every
read says which write it read from, the operations fall into *clusters*, one write with the reads of
its value. A cluster must be linearized without another cluster's write in its middle, so the order
of operations in real time becomes an order of whole clusters: A comes before B if some operation of
A ended before some operation of B began. The history is linearizable exactly if no two clusters come
before each other, and no read ended before its write began.

Needs O(n log n) time whatever the history is, where a search may be exponential.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from coterie.check.history import FOREVER, Operation

BEFORE_ALL: Final = -1
"""Start and end of the write that gave the register its first value; every real time is 0 or more."""


class Touch(NamedTuple):
    """What an operation does to a register: it writes a value, or reads it."""

    write: bool
    value: Hashable
    operation: Operation


class Conflict(NamedTuple):
    """Operations that cannot be ordered, and why."""

    operations: tuple[Operation, ...]
    reason: str


class _Cluster:
    """A write and the reads of its value."""

    __slots__ = ("ends", "first_end", "last_start", "starts", "value", "write")

    def __init__(self, value: Hashable, write: Operation | None) -> None:
        self.value = value
        self.write = write
        """None for the first value."""
        self.first_end, self.last_start = BEFORE_ALL, BEFORE_ALL
        if write is not None:
            self.first_end, self.last_start = write.end, write.start
        self.ends = self.starts = write
        """The operations with the earliest end and the latest start."""

    def read(self, operation: Operation) -> None:
        if operation.end < self.first_end:
            self.first_end, self.ends = operation.end, operation
        if operation.start > self.last_start:
            self.last_start, self.starts = operation.start, operation

    def witnesses(self) -> Iterator[Operation]:
        """What shows the cluster's extent."""
        yield from (operation for operation in (self.write, self.ends, self.starts) if operation is not None)

    def name(self) -> str:
        return repr(self.value)


def distinct(touches: Iterable[Touch], initial: Hashable) -> bool:
    """Whether every written value is another, and none the first one: then `conflict` decides."""
    written = [touch.value for touch in touches if touch.write]
    return len({initial, *written}) == len(written) + 1


def conflict(touches: Iterable[Touch], initial: Hashable = None) -> Conflict | None:
    """None if the history is linearizable, else a few operations that no order has room for.

    The written values must be `distinct`. A write of unknown outcome may take effect at any later time, or never; a
    read of unknown outcome has no place here.
    """
    clusters: dict[Hashable, _Cluster] = {initial: _Cluster(initial, None)}
    reads: list[Touch] = []
    for touch in touches:
        if touch.write:
            clusters[touch.value] = _Cluster(touch.value, touch.operation)
        else:
            reads.append(touch)
    for _, value, read in reads:
        source = clusters.get(value)
        if source is None:
            return Conflict((read,), f"{value!r} was read, and nobody wrote it")
        source.read(read)
        if source.write is not None and read.end < source.write.start:
            return Conflict((source.write, read), f"{value!r} was read before its write began")
    return _between(list(clusters.values()))


def _between(clusters: list[_Cluster]) -> Conflict | None:
    """Two clusters that must each come before the other: A's first end lies before B's last start, and
    B's before A's.

    A *forward* cluster (first end before last start) occupies the time between the two; two such
    zones may not overlap. A *backward* one (last start at or before first end) can be linearized
    at any point between, so it conflicts only where its zone lies wholly inside a forward one.
    """
    forward = sorted((c for c in clusters if c.first_end < c.last_start), key=lambda c: c.first_end)
    for one, two in pairwise(forward):
        if two.first_end < one.last_start:
            return _explain(one, two)
    begins = [c.first_end for c in forward]
    for cluster in clusters:
        if cluster.first_end < cluster.last_start:
            continue
        position = bisect_left(begins, cluster.last_start) - 1
        if position >= 0 and cluster.first_end < forward[position].last_start:
            return _explain(forward[position], cluster)
    return None


def _explain(one: _Cluster, two: _Cluster) -> Conflict:
    operations = tuple(dict.fromkeys((*one.witnesses(), *two.witnesses())))
    return Conflict(
        tuple(sorted(operations, key=lambda operation: operation.start)),
        f"{one.name()} and {two.name()} cannot be ordered: each was written or read after the other had been replaced "
        f"({_extent(one)}; {_extent(two)})",
    )


def _extent(cluster: _Cluster) -> str:
    since = "from the beginning" if cluster.first_end == BEFORE_ALL else f"by {cluster.first_end}"
    if cluster.first_end == FOREVER:
        since = "at some time"
    return f"{cluster.name()} was there {since}, and after {cluster.last_start}"
