"""Timing and limits of a client, validated once."""

from __future__ import annotations

import msgspec

from coterie.core.config import MIB, MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.core.types import Nanos

DEFAULT_TIMEOUT_SECONDS = 10.0
"""A request's time in all, over every attempt: long enough for an election and a few retries."""
MAX_CREDENTIAL_BYTES = 1024
"""Of a name, and of a password."""


class Credentials(msgspec.Struct, frozen=True):
    """A user of the cluster's, where it has auth on (`etcdctl user add`). The password goes to the members as it is:
    use TLS where others might listen."""

    user: str
    password: str

    def __post_init__(self) -> None:
        """Raises `ConfigurationError`: the name is empty, or one of the two is longer than may be."""
        if not self.user:
            raise ConfigurationError("credentials: the user's name is empty")
        for field, value in (("user", self.user), ("password", self.password)):
            if len(value.encode()) > MAX_CREDENTIAL_BYTES:
                raise ConfigurationError(
                    f"credentials: {field} has {len(value.encode())} bytes, the limit is {MAX_CREDENTIAL_BYTES}"
                )

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in nanoseconds, sizes in bytes."""

    credentials: Credentials | None = None
    """Who the client is; None: nobody, or whom its certificate names."""
    name: str = "coterie-python"
    """Told to the members, for logs and people."""
    connect_timeout: Nanos = 1000 * MILLISECOND
    """From the start of a dial to the member's `Welcome`."""
    dial_stagger: Nanos = 250 * MILLISECOND
    """While no member serves us, another is dialled beside one that has not answered for this long."""
    attempt_timeout: Nanos = 2000 * MILLISECOND
    """A request without answer for this long is also sent to another member, where that is safe."""
    quiet_timeout: Nanos = 400 * MILLISECOND
    """The same, if its connection says nothing at all meanwhile: whoever is stopped or cut off answers nobody,
    while one that has much to do answers others. Shorter than an election, so that nobody waits for that alone."""
    silent_timeout: Nanos = 6000 * MILLISECOND
    """A connection that owes answers and says nothing for this long is closed. Longer than the members'
    own request timeout (5 s), so that one that is only slow gets to say so."""
    backoff_first: Nanos = 40 * MILLISECOND
    backoff_longest: Nanos = 1000 * MILLISECOND
    """Waits between attempts double from the first to the longest; each is drawn from its upper half."""
    session_ttl: Nanos = 60_000 * MILLISECOND
    """Cluster time that a session lives beyond its last command."""
    session_window: int = 2048
    """Commands of one session between the oldest unanswered and the newest sent; more wait here.
    Members keep the reply to each in the machine's state, and refuse a session that would need more."""
    max_requests: int = 65536
    """Requests under way; one more is refused with `Overloaded`."""
    max_request_bytes_total: int = 64 * MIB
    """Command and question bytes under way; what would exceed it is refused with `Overloaded`."""
    max_endpoints: int = 64
    """Addresses remembered, those given and those learned from members."""
    follow_members: bool = True
    """Learn the members' addresses from the cluster; False: only speak to the endpoints given."""
    give_up_unreachable: bool = False
    """Fail at once when every endpoint was dialled and none answered, rather than try until the timeout."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if type(value) is int and value <= 0:
                raise ConfigurationError(f"{field} is {value!r}: it must be a whole number above 0")
        if self.backoff_first > self.backoff_longest:
            raise ConfigurationError(
                f"backoff_first ({self.backoff_first} ns) must be at most backoff_longest ({self.backoff_longest} ns)"
            )
