"""How many rounds Ben-Or's protocol takes, by calculation.

*Against the strong adversary.* Let C processes have begun the round with the commoner value. Step 1 can be hidden from
all exactly if n - t messages can be shown with at most n/2 of either value: if C <= floor(n/2) + t. Else all see the
majority, and all decide. Hidden, all toss coins, and C is the larger part of n tosses:

    p = P(C > floor(n/2) + t) = 2 * sum over c > floor(n/2) + t of binomial(n, c) / 2^n
    P(decision in round 1 + g) = (1 - p)^(g-1) p       mean = 1 + 1/p

With n = 2t + 1 only tosses that are all alike end it: p = 2^(1-n), mean = 1 + 2^(n-1).

*In a fair order.* The number k of processes that begin a round with 1 is a Markov chain. With K = max(k, n - k), one
process sees the majority with probability q, the hypergeometric tail P(H(n, K, n-t) > n/2); M of all do, binomial
(n, q). In step 2 each hears H(n, M, n-t) of these: with more than t it decides, with one at least it takes the value,
with none it tosses. The round of the first decision follows by multiplying out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from math import comb, log, sqrt
from typing import Final

TAIL: Final = 1e-12
"""What is left out of a distribution."""
FALSE_ALARM: Final = 1e-6
"""Probability with which a sample of the right distribution is taken for one of another."""


def end_of_round(processes: int, crashes: int) -> float:
    """p: the probability that a round of tosses is the last against the strong adversary."""
    least = processes // 2 + crashes + 1
    return 2 * sum(comb(processes, c) for c in range(least, processes + 1)) / (1 << processes)


def against_adversary(processes: int, crashes: int) -> list[float]:
    """P(first decision in round 1), 2, ...: inputs are split, so round 1 can be hidden."""
    p = end_of_round(processes, crashes)
    found = [0.0]
    left = 1.0
    while left > TAIL:
        found.append(left * p)
        left *= 1 - p
    return found


def in_fair_order(processes: int, crashes: int, ones: int) -> list[float]:
    """P(first decision in round 1), 2, ... when so many begin with 1."""
    now = [0.0] * (processes + 1)
    now[ones] = 1.0
    steps = [_round(processes, crashes, k) for k in range(processes + 1)]
    found = []
    while sum(now) > TAIL:
        following = [0.0] * (processes + 1)
        ended = 0.0
        for k, share in enumerate(now):
            decided, after = steps[k]
            ended += share * decided
            for k_after, chance in enumerate(after):
                following[k_after] += share * chance
        found.append(ended)
        now = following
    return found


def _round(n: int, t: int, k: int) -> tuple[float, list[float]]:
    """From k ones: the probability that somebody decides, and of each number of ones afterwards if nobody does."""
    most = max(k, n - k)
    q = sum(_hypergeometric(n, most, n - t, j) for j in range(n // 2 + 1, n - t + 1))
    after = [0.0] * (n + 1)
    for told in range(n + 1):
        tells = _binomial(n, told, q)
        tosses = _hypergeometric(n, told, n - t, 0)
        takes = sum(_hypergeometric(n, told, n - t, j) for j in range(1, t + 1))
        for takers in range(n + 1):
            chance = tells * comb(n, takers) * takes**takers * tosses ** (n - takers)
            for heads in range(n - takers + 1):
                commoner = takers + heads
                ones = commoner if k * 2 > n else n - commoner
                after[ones] += chance * _binomial(n - takers, heads, 0.5)
    return 1 - sum(after), after


def _hypergeometric(n: int, marked: int, drawn: int, found: int) -> float:
    if found > marked or drawn - found > n - marked or found > drawn:
        return 0.0
    return comb(marked, found) * comb(n - marked, drawn - found) / comb(n, drawn)


def _binomial(n: int, k: int, p: float) -> float:
    return comb(n, k) * p**k * (1 - p) ** (n - k)


def mean(distribution: Sequence[float]) -> float:
    """The mean round."""
    return sum(r * p for r, p in enumerate(distribution, 1))


def deviation(distribution: Sequence[float]) -> float:
    """The standard deviation of the round."""
    middle = mean(distribution)
    return sqrt(sum((r - middle) ** 2 * p for r, p in enumerate(distribution, 1)))


def farthest(sample: Sequence[int], distribution: Sequence[float]) -> float:
    """The largest distance between the sample's distribution function and the calculated one."""
    counts = [0] * (max(max(sample), len(distribution)) + 1)
    for value in sample:
        counts[value] += 1
    seen, expected, most = 0, 0.0, 0.0
    for r in range(1, len(counts)):
        seen += counts[r]
        expected += distribution[r - 1] if r <= len(distribution) else 0.0
        most = max(most, abs(seen / len(sample) - expected))
    return most


def allowed(sample: int) -> float:
    """How far a sample of this size may be from its distribution: farther with a probability of at most `FALSE_ALARM`
    (Dvoretzky, Kiefer, Wolfowitz 1956; Massart 1990)."""
    return sqrt(log(2 / FALSE_ALARM) / (2 * sample))


def survivors(distribution: Sequence[float], last: int) -> list[float]:
    """P(no decision before the end of round r) for r = 0 ... last."""
    left, found = 1.0, [1.0]
    for r in count():
        if r == last:
            return found
        left -= distribution[r] if r < len(distribution) else 0.0
        found.append(max(left, 0.0))
    return found
