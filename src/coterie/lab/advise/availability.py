"""Availability: the chance that enough replicas are up, less the time in which a successor is found.

Machines and sites fail independently, each up for a share of the time, 1 - u (`network.Rates`). A cluster can elect and
commit while max(p1, p2) of its n replicas are up:

    A = P(up >= max(p1, p2)) - f F        f: failures of the leader's machine or site a second;  F: mean fail-over, s

Where p1 > p2 this is less than there is: a leader that lives goes on with p2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from coterie.lab.advise.search import Plan
from coterie.lab.network.network import HOURS_A_YEAR, Network

SECONDS_A_YEAR: Final = HOURS_A_YEAR * 3600


def quorum_up(sizes: Mapping[int, int], need: int, machine_down: float, site_down: float) -> float:
    """P(at least `need` replicas are up). `sizes`: replicas of each site."""
    total = sum(sizes.values())
    up = [1.0] + [0.0] * total
    for count in sizes.values():
        own = [site_down] + [0.0] * count
        for alive, chance in enumerate(_binomial(count, 1 - machine_down)):
            own[alive] += (1 - site_down) * chance
        up = _sum_of(up, own, total)
    return sum(up[need:])


def _binomial(count: int, chance: float) -> list[float]:
    row = [1.0]
    for _ in range(count):
        row = [
            (row[i] if i < len(row) else 0.0) * (1 - chance) + (row[i - 1] * chance if i else 0.0)
            for i in range(len(row) + 1)
        ]
    return row


def _sum_of(one: Sequence[float], other: Sequence[float], most: int) -> list[float]:
    found = [0.0] * (most + 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            if i + j <= most:
                found[i + j] += a * b
    return found


def availability(network: Network, plan: Plan, failover_ms: float) -> float:
    """Share of the time in which writes are answered."""
    rates = network.rates
    need = max(plan.phase_1, plan.phase_2)
    up = quorum_up(Counter(plan.replicas), need, rates.machine_down, rates.site_down)
    if plan.nodes == 1:
        return up
    failures = rates.machine_failures_per_year + rates.site_failures_per_year
    return up - failures * failover_ms / 1000 / SECONDS_A_YEAR


def minutes_a_year(share: float) -> float:
    """Of unavailability."""
    return (1 - share) * HOURS_A_YEAR * 60
