"""The verdict on what clients saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from coterie.check import CAS_REGISTER, Operation, linearizable
from coterie.torture.report import LINEARIZABLE, NOT_LINEARIZABLE, UNKNOWN

LIMIT_S: Final = 300.0
"""The check gives up after so long."""


def judge(history: Sequence[Operation]) -> tuple[str, str]:
    """The verdict, and why if it is not linearizable. Each key is a register with compare-and-set; a key that is
    removed holds None, as one that never was."""
    deadline = time.monotonic() + LIMIT_S
    found = linearizable(history, CAS_REGISTER, lambda: time.monotonic() < deadline)
    if found.holds:
        return LINEARIZABLE, ""
    if found.holds is None:
        return UNKNOWN, f"the check gave up after {LIMIT_S:g} s"
    return NOT_LINEARIZABLE, found.reason
