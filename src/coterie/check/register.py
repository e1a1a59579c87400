"""Is a history of one register linearizable? For registers whose written values are all different.

Gibbons and Korach, "Testing Shared Memories" (SIAM J. Comput. 26(4), 1997), section 4: when every
read says which write it read from, the operations fall into *clusters*, one write with the reads of
its value. A cluster must be linearized without another cluster's write in its middle, so the order
of operations in real time becomes an order of whole clusters: A comes before B if some operation of
A ended before some operation of B began. The history is linearizable exactly if no two clusters come
before each other, and no read ended before its write began.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

FOREVER = 1 << 62
"""Stands as the end of an operation whose outcome is unknown: it may take effect at any later time."""

BEFORE_ALL = -1
"""Start and end of the write that gave the register its first value; every real time is 0 or more."""


class Operation(NamedTuple):
    """A write of `value`, or a read that returned it. Times are whole numbers of one clock.

    `end` is `FOREVER` for a write whose outcome is unknown. A read whose outcome is unknown says
    nothing and has no place in a history.
    """

    write: bool
    value: Hashable
    start: int
    end: int


class _Cluster:
    """A write and the reads of its value; `first_end` is the earliest end, `last_start` the latest start."""

    __slots__ = ("first_end", "last_start", "reads", "value", "write")

    def __init__(self, value: Hashable) -> None:
        self.value = value
        self.write: Operation | None = None
        self.reads: list[Operation] = []
        self.first_end = FOREVER
        self.last_start = BEFORE_ALL

    def add(self, operation: Operation) -> None:
        if operation.write:
            self.write = operation
        else:
            self.reads.append(operation)
        self.first_end = min(self.first_end, operation.end)
        self.last_start = max(self.last_start, operation.start)


def check_register(operations: Iterable[Operation], initial: Hashable = None) -> str | None:
    """None if the history is linearizable, else one sentence that says which operations cannot be ordered.

    Raises `ValueError` if a value was written twice (or is the initial one): this method does not
    apply then. Takes O(n log n) time for n operations.
    """
    clusters: dict[Hashable, _Cluster] = {initial: _Cluster(initial)}
    clusters[initial].add(Operation(True, initial, BEFORE_ALL, BEFORE_ALL))
    reads: list[Operation] = []
    for operation in operations:
        if operation.end < operation.start:
            raise ValueError(f"{operation} ends before it starts")
        if not operation.write:
            reads.append(operation)
            continue
        if operation.value in clusters:
            raise ValueError(f"{operation.value!r} was written more than once")
        cluster = clusters[operation.value] = _Cluster(operation.value)
        cluster.add(operation)
    for read in reads:
        source = clusters.get(read.value)
        if source is None:
            return f"{read} returned a value that nobody wrote"
        source.add(read)
        if source.write is not None and read.end < source.write.start:
            return f"{read} ended before the write of its value began: {source.write}"
    return _conflict(list(clusters.values()))


def _conflict(clusters: list[_Cluster]) -> str | None:
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


def _explain(one: _Cluster, two: _Cluster) -> str:
    return (
        f"the operations on {one.value!r} and on {two.value!r} cannot be ordered: each value was "
        f"written or read after the other had been replaced ({one.value!r} was there until after "
        f"{one.last_start} and since before {one.first_end}; {two.value!r} until after "
        f"{two.last_start} and since before {two.first_end})"
    )
