"""Distributions of times on a grid: what is certain, plus exponentials, order statistics and mixtures of them.

Messages take half a round trip and an exponential on top, disks three quarters of their mean and an exponential
quarter (`lab.stage.geography.Ground`). So every time is a constant and a sum of exponentials, and what a quorum waits
for is an order statistic of such sums, which has no closed form of any use: it is computed on a grid.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

SPAN: Final = 12.0
"""The tail of an exponential on the grid, in its means."""


class Delay:
    """A time: `shift` for certain, and what comes on top in steps of `step` (all ms). `mass` sums up to 1."""

    __slots__ = ("mass", "shift", "step")

    def __init__(self, shift: float, step: float, mass: Sequence[float]) -> None:
        self.shift = shift
        self.step = step
        self.mass = tuple(mass)

    @property
    def mean(self) -> float:
        """Expected value, ms."""
        return self.shift + self.step * sum(i * p for i, p in enumerate(self.mass))

    def cumulative(self) -> list[float]:
        """P(on top <= i steps), for each i."""
        return list(accumulate(self.mass))

    def quantile(self, share: float) -> float:
        """The least time within which so large a share lies, ms."""
        sums = self.cumulative()
        at = bisect_left(sums, min(share, sums[-1]))
        below = sums[at - 1] if at else 0.0
        part = (share - below) / self.mass[at] if self.mass[at] else 0.0
        # The mass of a point stands for the step before it.
        return self.shift + self.step * max(0.0, at - 1 + min(1.0, part)) if at else self.shift

    def within(self, limit: float) -> float:
        """P(time <= limit), by linear interpolation."""
        return _at(self.cumulative(), (limit - self.shift) / self.step)

    def plus(self, certain: float) -> Delay:
        """So much later."""
        return Delay(self.shift + certain, self.step, self.mass)


def _at(sums: Sequence[float], place: float) -> float:
    if place < 0:
        return 0.0
    whole = int(place)
    if whole + 1 >= len(sums):
        return 1.0
    return sums[whole] + (place - whole) * (sums[whole + 1] - sums[whole])


def certain(time: float, step: float) -> Delay:
    """A time without any chance in it."""
    return Delay(time, step, (1.0,))


def with_exponential(delay: Delay, mean: float) -> Delay:
    """The sum with an independent exponential of this mean: a recursion along the grid. One that is far shorter than a
    step is taken for its mean."""
    if mean <= 0:
        return delay
    if mean < delay.step / 8:
        return delay.plus(mean)
    stay = math.exp(-delay.step / mean)
    length = len(delay.mass) + math.ceil(SPAN * mean / delay.step)
    mass: list[float] = []
    carried = 0.0
    for i in range(length):
        arrived = delay.mass[i] if i < len(delay.mass) else 0.0
        carried = carried * stay + arrived * (1 - stay)
        mass.append(carried)
    mass[-1] += 1.0 - sum(mass)
    # On the grid the exponential begins at 0, and its mean there is step * stay / (1 - stay): put right what is lost.
    return Delay(delay.shift + mean - delay.step * stay / (1 - stay), delay.step, mass)


def total(fixed: float, exponentials: Sequence[float], step: float) -> Delay:
    """A constant and independent exponentials of these means."""
    delay = certain(fixed, step)
    for mean in exponentials:
        delay = with_exponential(delay, mean)
    return delay


def kth(delays: Sequence[Delay], k: int, step: float) -> Delay:
    """The time at which `k` of these independent ones are over (k from 1): at each point of the grid, the chance that
    at least k are, by counting one after the other (the Poisson binomial distribution)."""
    start = sorted(delay.shift for delay in delays)[k - 1]
    ends = sorted(delay.shift + delay.step * len(delay.mass) for delay in delays)
    length = max(1, math.ceil((ends[k - 1] - start) / step)) + 1
    sums = [(delay.cumulative(), delay.shift, delay.step) for delay in delays]
    mass: list[float] = []
    before = 0.0
    for i in range(length):
        time = start + i * step
        over = _at_least(k, [_at(s, (time - shift) / width) for s, shift, width in sums])
        mass.append(over - before)
        before = over
        if over > 1 - 1e-9:
            break
    mass[-1] += 1.0 - before
    return Delay(start, step, mass)


def _at_least(k: int, chances: Sequence[float]) -> float:
    counts = [1.0] + [0.0] * k
    for chance in chances:
        if chance == 0.0:
            continue
        counts[k] += counts[k - 1] * chance
        for count in range(k - 1, 0, -1):
            counts[count] += (counts[count - 1] - counts[count]) * chance
        counts[0] *= 1 - chance
    return counts[k]


def mixture(parts: Sequence[tuple[float, Delay]], step: float) -> Delay:
    """One of these times, each with its share; shares are taken as they are, and must sum up to 1."""
    start = min(delay.shift for _, delay in parts)
    end = max(delay.shift + delay.step * len(delay.mass) for _, delay in parts)
    length = math.ceil((end - start) / step) + 2
    mass = [0.0] * length
    for share, delay in parts:
        for i, weight in enumerate(delay.mass):
            place = (delay.shift - start + i * delay.step) / step
            low = int(place)
            mass[low] += share * weight * (low + 1 - place)
            mass[low + 1] += share * weight * (place - low)
    return Delay(start, step, mass)
