"""Latencies counted in buckets: quantiles to within 1.6 %, in memory that does not grow."""

from __future__ import annotations

from coterie.core.types import Nanos

SUB_BUCKET_BITS = 6
"""Each power of two is cut into 64 buckets, so a bucket's width is at most 1/64 of its value."""
_SUB_BUCKETS = 1 << SUB_BUCKET_BITS
_BUCKETS = (64 - SUB_BUCKET_BITS + 1) * _SUB_BUCKETS


class Histogram:
    """Counts of durations in nanoseconds, below 2^63."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.total = 0

    def record(self, duration: Nanos) -> None:
        """Count one."""
        shift = duration.bit_length() - SUB_BUCKET_BITS - 1
        if shift > 0:
            self._counts[(shift << SUB_BUCKET_BITS) + (duration >> shift)] += 1
        else:
            self._counts[duration] += 1
        self.total += 1

    def quantile(self, fraction: float) -> Nanos:
        """The duration that this fraction of all did not exceed (its bucket's upper end); 0 if there are none."""
        wanted = fraction * self.total
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _upper_end(bucket)
        return 0


def _upper_end(bucket: int) -> Nanos:
    shift = (bucket >> SUB_BUCKET_BITS) - 1
    if shift <= 0:
        return bucket
    return ((bucket - (shift << SUB_BUCKET_BITS) + 1) << shift) - 1
