"""What a part of the experiment hands to the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coterie.lab.experiment import Claim, Part


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Claims, data by key, and what the page shows."""

    claims: tuple[Claim, ...]
    data: dict[str, Any]
    parts: tuple[Part, ...]


Tell = Callable[[float, str], None]
"""How far a part is, from 0 to 1, and what it does."""


def share(part: int, whole: int) -> str:
    """'3 of 4'."""
    return f"{part:,} of {whole:,}"
