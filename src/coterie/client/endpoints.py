"""Where the members are: addresses given and learned, and which to dial next."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from coterie.client.config import ClientConfig
from coterie.core.errors import ConfigurationError
from coterie.core.types import NOBODY, MemberId, Nanos

MAX_BACKOFF_DOUBLINGS = 16
"""Beyond this many the longest backoff is reached for any sensible configuration."""


class Endpoint(NamedTuple):
    """A member's client address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """`host:port`, `[IPv6]:port`; raises `ConfigurationError` with the text and the rule."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or colon != ":" or ":" not in host:
            raise ConfigurationError(f"endpoint {text!r}: an IPv6 address is written [address]:port")
    else:
        host, colon, port = text.rpartition(":")
        if not colon or ":" in host:
            raise ConfigurationError(f"endpoint {text!r} must be host:port, or [address]:port for IPv6")
    if not host or any(c.isspace() or c in "/@?#" for c in host):
        raise ConfigurationError(f"endpoint {text!r} must be host:port, without scheme or path")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536 and len(port) < 6):
        raise ConfigurationError(f"endpoint {text!r}: the port must be a number from 1 to 65535")
    return Endpoint(host, int(port))


def parse_endpoints(text: str | Iterable[str | Endpoint]) -> tuple[Endpoint, ...]:
    """Endpoints separated by commas, or an iterable of them; at least one, without duplicates."""
    parts: Iterable[str | Endpoint] = text.split(",") if isinstance(text, str) else text
    found = [part if isinstance(part, Endpoint) else parse_endpoint(part) for part in parts if part and part != " "]
    if not found:
        raise ConfigurationError("no endpoint given: name at least one member's client address, as host:port")
    return tuple(dict.fromkeys(found))


def backoff(config: ClientConfig, rng: random.Random, failures: int) -> Nanos:
    """Wait after the `failures`-th failure in a row: exponential, drawn from the upper half."""
    longest = min(config.backoff_longest, config.backoff_first << min(failures - 1, MAX_BACKOFF_DOUBLINGS))
    return rng.randrange(longest // 2, longest) + 1


class Place(msgspec.Struct, eq=False):
    """What is known of one endpoint."""

    endpoint: Endpoint
    given: bool
    """By the user; it is never dropped. Learned ones are, when they leave the membership."""
    member: MemberId = NOBODY
    """Who answered there last, or is said to be there."""
    connection: int = 0
    """The open or opening connection, or 0."""
    failures: int = 0
    """Dials in a row that came to nothing."""
    retry_at: Nanos = 0
    reason: str = "not tried yet"
    """Why it does not serve us."""


class EndpointBook:
    """All known endpoints, in the order in which they are tried: in turn, from a random start."""

    def __init__(self, endpoints: Iterable[Endpoint], config: ClientConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._places = {endpoint: Place(endpoint, True) for endpoint in endpoints}
        self._turn = rng.randrange(len(self._places))

    def places(self) -> tuple[Place, ...]:
        """Every endpoint known, those given first."""
        return tuple(self._places.values())

    def learn(self, members: Iterable[tuple[MemberId, str, str]]) -> None:
        """Take the members' addresses from a `View`: (id, name, client address)."""
        current: set[MemberId] = set()
        for member, _, address in members:
            current.add(member)
            try:
                endpoint = parse_endpoint(address)
            except ConfigurationError:
                continue  # A member that does not say where it serves clients.
            place = self._places.get(endpoint)
            if place is None:
                if self._known(member) or len(self._places) >= self._config.max_endpoints:
                    continue  # Reached under another name already ("localhost" and "127.0.0.1").
                place = self._places[endpoint] = Place(endpoint, False)
            if not place.connection:
                place.member = member
        for place in self.places():
            if not place.given and not place.connection and place.member not in current:
                del self._places[place.endpoint]

    def listed(self) -> str:
        """Every endpoint known, with commas between."""
        return ",".join(str(endpoint) for endpoint in self._places)

    def of(self, member: MemberId) -> Place | None:
        """Where `member` is, connected or not."""
        found = None
        for place in self._places.values():
            if place.member == member and (found is None or place.connection):
                found = place
        return found

    def next(self, now: Nanos) -> Place | None:
        """The next endpoint in turn that may be dialled now, or None."""
        places = self.places()
        for offset in range(len(places)):
            place = places[(self._turn + offset) % len(places)]
            if not place.connection and place.retry_at <= now and not self._served(place):
                self._turn = (self._turn + offset + 1) % len(places)
                return place
        return None

    def retry_at(self) -> Nanos | None:
        """When the next endpoint without a connection may be dialled; None if there is none."""
        waiting = [p.retry_at for p in self._places.values() if not p.connection and not self._served(p)]
        return min(waiting, default=None)

    def failed(self, now: Nanos, place: Place, reason: str) -> None:
        """A dial came to nothing, or the connection closed."""
        place.connection = 0
        place.failures += 1
        place.reason = reason
        place.retry_at = now + backoff(self._config, self._rng, place.failures)

    def unreachable(self) -> bool:
        """Every endpoint was dialled, and none has a connection."""
        return all(not place.connection and place.failures for place in self._places.values())

    def explain(self) -> str:
        """Each endpoint that does not serve us, and why; for error messages."""
        return "; ".join(f"{place.endpoint}: {place.reason}" for place in self._places.values() if place.reason)

    def _known(self, member: MemberId) -> bool:
        return any(place.member == member for place in self._places.values())

    def _served(self, place: Place) -> bool:
        """Another endpoint leads to the same member, and is connected."""
        if place.member == NOBODY:
            return False
        return any(p.connection and p is not place and p.member == place.member for p in self._places.values())
