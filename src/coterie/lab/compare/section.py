"""A part of the comparison: what it measured, what it claims, what its page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from coterie.lab.experiment import Claim, Part


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One part."""

    name: str
    """The key of its data."""
    claims: Sequence[Claim]
    parts: Sequence[Part]
    data: Any
    """As JSON has it."""


Measure = Callable[["Extent"], Section]


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    seed: int
    quick: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of members."""
        return (3, 5) if self.quick else (3, 5, 7)

    def times(self, quick: int, full: int) -> int:
        """How often."""
        return quick if self.quick else full


def near(measured: float, expected: float, share: float) -> bool:
    """Whether they differ by no more than this share of what was expected; never, if nothing was measured (nan)."""
    return abs(measured - expected) <= share * abs(expected)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def claim_each(
    name: str, expected: str, cases: Sequence[tuple[str, float, float]], share: float, why: str, *, least: float = 0.0
) -> Claim:
    """A claim about several cases: (label, measured, expected) each; they may differ by a share, or by `least`."""
    off = [(label, m, e) for label, m, e in cases if not (near(m, e, share) or abs(m - e) <= least)]
    told = off or cases
    measured = ", ".join(f"{label} {_short(m)} of {_short(e)}" for label, m, e in told)
    return Claim(
        id=name,
        expected=f"{expected} (within {share:.0%})",
        measured=("off: " if off else "") + measured,
        agrees=bool(cases) and not off,
        why=why,
    )
