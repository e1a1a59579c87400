"""Whoever changes the members of a tortured system, in that system's own way."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from coterie.core.errors import CoterieError, Effect

CALL_S: Final = 5.0
"""Longest wait for one answer to an administrator."""


class NotNow(CoterieError):
    """A step of a change was refused, or nobody knows whether it was made: the next look at the members tells."""

    effect = Effect.UNKNOWN


class Standing(msgspec.Struct, frozen=True):
    """What the system's list of members says of one."""

    voter: bool
    caught_up: bool
    """False: it would be in vain to promote it now."""


class Administrator(Protocol):
    """Changes the members of one system, which are named by their hosts. Each method raises `CoterieError` (`NotNow`,
    say) if it was not done, or if nobody knows."""

    def members(self) -> dict[int, Standing]:
        """All members, by host; linearizable."""
        ...

    def add(self, i: int) -> None:
        """Add a learner that will run on host `i`."""
        ...

    def promote(self, i: int) -> None:
        """Make the learner on host `i` a voter."""
        ...

    def remove(self, i: int) -> None:
        """Take the member on host `i` out of the cluster."""
        ...
