"""What can go wrong in the lab."""

from __future__ import annotations

from coterie.core.errors import CoterieError


class LabError(CoterieError):
    """An experiment did not come to where it leads; the message says what it waited for."""
