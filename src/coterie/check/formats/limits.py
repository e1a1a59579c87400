"""How much of a file is read."""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a file."""
MOST_LINE_BYTES: Final = 1024 * 1024
MOST_EVENTS: Final = 2_000_000
"""Beginnings and ends of operations in a history."""
MOST_DEPTH: Final = 32
"""Of values within values."""
