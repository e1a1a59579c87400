"""Random draws of whole numbers: the same on any machine, any Python, any PYTHONHASHSEED."""

from __future__ import annotations

import random
from typing import Final

_QUANTILES: Final = (
    *(8, 24, 40, 56, 73, 90, 107, 125, 143, 161, 179, 198, 217, 237, 257, 277),
    *(298, 319, 341, 363, 386, 409, 433, 458, 483, 508, 535, 562, 589, 618, 647, 678),
    *(709, 741, 774, 809, 845, 882, 920, 960, 1002, 1045, 1091, 1138, 1188, 1241, 1297, 1356),
    *(1418, 1485, 1556, 1633, 1717, 1808, 1908, 2019, 2144, 2287, 2454, 2655, 2906, 3243, 3753),
)
"""Mid-quantiles 1..63 of 64 of the exponential distribution with mean 1, in thousandths."""
_TAIL: Final = 4159
"""Thousandths above which one draw in 64 lies: ln 64."""


def stream(seed: int, name: str) -> random.Random:
    """An independent source for one purpose, so that more draws for one leave the others as they were.

    Seeding with text goes through SHA-512, not through `hash()`.
    """
    return random.Random(f"coterie {seed} {name}")


def exponential(rng: random.Random, mean: int) -> int:
    """A whole number, exponentially distributed with this mean, from a table: no floating point.

    The distribution has no memory, so its tail is the table again, moved to the right.
    """
    thousandths = 0
    while (draw := rng.getrandbits(6)) == 63:
        thousandths += _TAIL
    return (thousandths + _QUANTILES[draw]) * mean // 1000


def happens(rng: random.Random, permille: int) -> bool:
    """True with a probability of `permille` / 1000: `rng.randrange(1000) < permille`, in a third of its time."""
    while (draw := rng.getrandbits(10)) >= 1000:
        pass
    return draw < permille
