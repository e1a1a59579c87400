"""What the interface promises holds for every protocol: each test here runs once for each."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="module")
def every_protocol(protocol: str) -> str:
    """So that no test has to ask for it."""
    return protocol
