"""Operations as reads and writes of cells: what the models below sequential consistency are defined over."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

Cell = Hashable


class Access(NamedTuple):
    """What an operation saw and did, cell by cell. Reads come before writes."""

    reads: tuple[tuple[Cell, Hashable], ...] = ()
    """Cells and the values that were seen there."""
    writes: tuple[tuple[Cell, Hashable], ...] = ()
    """Cells and the values that were put there."""
