"""Passwords as etcd keeps them: bcrypt, so that users survive a move from one to the other.

Both functions take some tens of milliseconds, on purpose: never in the loop.
"""

from __future__ import annotations

from typing import Final

import bcrypt

COST: Final = 10
"""Of a hash, as a power of two (etcd's default)."""
MAX_BYTES: Final = 72
"""Of a password: bcrypt looks at no more, and one that is longer would be less than it seems."""


def hashed(password: str) -> bytes:
    """The hash of a password of at most `MAX_BYTES`."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST))


def matches(password: str, hash: bytes) -> bool:
    """Whether the hash is of this password; a hash that is none is of no password."""
    raw = password.encode()
    if len(raw) > MAX_BYTES:
        return False
    try:
        return bcrypt.checkpw(raw, hash)
    except ValueError:
        return False
