"""What a member's processor takes for the messages that it handles."""

from __future__ import annotations

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import Nanos

MAX_COST: Nanos = 1_000_000_000


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of processor time; a member does one thing at a time. Requests and answers of clients are messages,
    too. Nothing costs anything unless it is said."""

    received: Nanos = 0
    """For one message that comes in."""
    sent: Nanos = 0
    """For one that goes out."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= MAX_COST:
                raise ConfigurationError(f"{name} is {value!r}: it must be a whole number of ns from 0 to {MAX_COST}")

    def of(self, received: int, sent: int) -> Nanos:
        """For so many messages."""
        return received * self.received + sent * self.sent


FREE = Cost()
