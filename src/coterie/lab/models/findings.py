"""What the experiment found, before it is told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coterie.lab.models import forever, transactions, witnesses
from coterie.lab.models.atomic import Transacted
from coterie.lab.models.availability import Available
from coterie.lab.models.drift import Leased
from coterie.lab.models.modes import Measured


class Theory(msgspec.Struct, frozen=True):
    """What looking at all small histories gave."""

    found: witnesses.Search
    endings: forever.Endings
    isolation: transactions.Found
    available: dict[str, Available]


class Practice(msgspec.Struct, frozen=True):
    """What running Coterie gave."""

    ways: Sequence[Measured]
    transacted: Sequence[Transacted]
    leased: Sequence[tuple[str, Leased]]
    """With the protocol: within the bound, and beyond."""
