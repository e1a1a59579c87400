"""What befalls a cluster, and when: a function of the seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from coterie.core.errors import ConfigurationError

FAULTS: Final = {
    "kill": "SIGKILL of one member, started again",
    "kill-all": "SIGKILL of all members at once, started again",
    "pause": "SIGSTOP of one member, then SIGCONT",
    "cut": "one member is cut off from the others; no connection is closed",
    "slow": "what one member sends and gets is late",
    "loss": "some of what one member sends and gets is lost",
    "disk-full": "not a byte is left on one member's disk",
    "membership": "a member is added, promoted, and another removed, under load",
}
"""Every kind of fault."""
CALM_S: Final = 1.0
"""Before the first fault, and after the last."""
SHORTEST_S, LONGEST_S = 0.5, 4.0
"""How long a fault lasts."""
PAUSE_S: Final = 2.0
"""Longest time between one fault and the next. One in three begins while the last still lasts."""


class Strike(msgspec.Struct, frozen=True):
    """One fault to come."""

    kind: str
    at: float
    """Seconds after the start."""
    seconds: float
    """How long it lasts."""
    leader: bool
    """It befalls the leader; else the member that `draw` chooses."""
    draw: int


def plan(seed: int, seconds: float, kinds: Sequence[str]) -> tuple[Strike, ...]:
    """The faults of a run of so many seconds: every kind in turn, in an order drawn anew each time."""
    rng = random.Random(f"torture {seed}")
    strikes: list[Strike] = []
    at = CALM_S
    while kinds:
        for kind in rng.sample(kinds, len(kinds)):
            lasts = rng.uniform(SHORTEST_S, LONGEST_S)
            if at + lasts > seconds - CALM_S:
                return tuple(strikes)
            strikes.append(Strike(kind, round(at, 3), round(lasts, 3), rng.random() < 0.5, rng.getrandbits(30)))
            overlaps = rng.randrange(3) == 0
            at += lasts * rng.random() if overlaps else lasts + rng.uniform(0.2, PAUSE_S)
    return ()


def chosen(names: str | None) -> tuple[str, ...]:
    """The kinds that a user named, with commas; all of them if none. Raises `ConfigurationError`."""
    kinds = tuple(FAULTS) if names is None else tuple(name.strip() for name in names.split(","))
    unknown = [name for name in kinds if name not in FAULTS]
    if unknown:
        raise ConfigurationError(f"faults {', '.join(map(repr, unknown))}: there are {', '.join(FAULTS)}")
    return kinds
