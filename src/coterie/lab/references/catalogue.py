"""The references by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from coterie.core.errors import ConfigurationError
from coterie.lab.references.dynamo import dynamo
from coterie.lab.references.primary_backup import primary_backup
from coterie.lab.references.quorum_register import quorum_register
from coterie.lab.references.replica import Reference

REFERENCES: Final[dict[str, Callable[[], Reference]]] = {
    "abd": quorum_register,
    "dynamo": dynamo,
    "primary-backup": primary_backup,
}
"""Each with its defaults; their modules have what can be chosen."""


def reference(name: str) -> Reference:
    """A reference with its defaults. Raises `ConfigurationError` if there is none of this name."""
    if name not in REFERENCES:
        raise ConfigurationError(f"{name!r} is no reference: it must be one of {', '.join(REFERENCES)}")
    return REFERENCES[name]()
