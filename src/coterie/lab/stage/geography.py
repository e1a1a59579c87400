"""Sites and the round trips between them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.core.types import MemberId, Nanos
from coterie.sim.chance import exponential

MAX_ROUND_TRIP_MS = 60_000.0
MAX_SITES = 64


class Geography(msgspec.Struct, frozen=True, kw_only=True):
    """Where machines can stand, and how far apart that is. Raises `ConfigurationError` with the field and the rule."""

    sites: tuple[str, ...]
    round_trip_ms: tuple[tuple[float, ...], ...]
    """Row and column as in `sites`; the diagonal is the round trip between two machines of one site."""
    disk_ms: float = 1.0
    """Mean time of a durable write."""
    jitter: float = 0.05
    """Mean of what a message takes beyond half of the round trip, as a share of that."""
    one_way: bool = False
    """Declares that the matrix may be asymmetric: [a][b] is then twice the time from a to b."""

    def __post_init__(self) -> None:
        if not 0 < len(self.sites) <= MAX_SITES:
            raise ConfigurationError(f"sites: {len(self.sites)} of them; there must be 1 to {MAX_SITES}")
        if len(set(self.sites)) != len(self.sites):
            raise ConfigurationError("sites: a name stands there twice")
        if len(self.round_trip_ms) != len(self.sites):
            raise ConfigurationError(
                f"round_trip_ms has {len(self.round_trip_ms)} rows for {len(self.sites)} sites: it must be square"
            )
        for site, row in zip(self.sites, self.round_trip_ms, strict=True):
            self._check_row(site, row)
        _check("disk_ms", self.disk_ms, MAX_ROUND_TRIP_MS)
        _check("jitter", self.jitter, 10.0)
        if not self.one_way:
            self._check_symmetry()

    def _check_row(self, site: str, row: tuple[float, ...]) -> None:
        if len(row) != len(self.sites):
            raise ConfigurationError(
                f"round_trip_ms of {site!r} has {len(row)} columns for {len(self.sites)} sites: it must be square"
            )
        for other, value in zip(self.sites, row, strict=True):
            _check(f"round_trip_ms from {site!r} to {other!r}", value, MAX_ROUND_TRIP_MS)

    def _check_symmetry(self) -> None:
        for i, site in enumerate(self.sites):
            for j in range(i):
                there, back = self.round_trip_ms[i][j], self.round_trip_ms[j][i]
                if there != back:
                    raise ConfigurationError(
                        f"round_trip_ms from {site!r} to {self.sites[j]!r} is {there:g} and back {back:g}: a round "
                        "trip is the same both ways; if these are twice the one-way times, say so: one_way = true"
                    )

    def number(self, site: str) -> int:
        """The row of a site. Raises `ConfigurationError` if there is none of that name."""
        try:
            return self.sites.index(site)
        except ValueError:
            raise ConfigurationError(f"{site!r} is no site of this network: {', '.join(self.sites)}") from None

    def between_ms(self, one: int, other: int) -> float:
        """Round trip between machines of two sites, by their numbers."""
        return (self.round_trip_ms[one][other] + self.round_trip_ms[other][one]) / 2


def _check(field: str, value: float, most: float) -> None:
    if not 0 <= value <= most:  # Nor is a NaN.
        raise ConfigurationError(f"{field} is {value!r}: it must be a number from 0 to {most:g}")


def flat(count: int, round_trip_ms: float, *, disk_ms: float = 1.0, jitter: float = 0.05) -> Geography:
    """As many sites as members, each the same round trip from every other."""
    rows = tuple(tuple(0.0 if i == j else round_trip_ms for j in range(count)) for i in range(count))
    names = tuple(f"s{number}" for number in range(1, count + 1))
    return Geography(sites=names, round_trip_ms=rows, disk_ms=disk_ms, jitter=jitter)


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """Until a time that nobody is told, messages between members take longer by any time, and then no longer: the
    global stabilisation time of Dwork, Lynch and Stockmeyer. What was sent before it comes as if sent then at last."""

    until: Nanos
    """True time."""
    mean: Nanos
    """Of what a message takes longer: exponential."""
    clock: Callable[[], Nanos]
    """What true time it is."""

    def extra(self, rng: random.Random) -> Nanos:
        """How much longer a message takes that is sent now."""
        left = self.until - self.clock()
        return min(left, exponential(rng, self.mean)) if left > 0 else 0


class Ground:
    """A `sim.terrain.Terrain` of members and clients that stand in sites of a geography."""

    def __init__(
        self, geography: Geography, rng: random.Random, *, noticed: bool, disks_ms: Mapping[MemberId, float]
    ) -> None:
        """`noticed`: peers see at once that a member's process has ended (its host lives and closes its connections).
        `disks_ms`: disks that are not as the geography says."""
        self.geography = geography
        self.noticed = noticed
        self.members: dict[MemberId, int] = {}
        self.clients: dict[int, int] = {}
        self.storm: Storm | None = None
        self._rng = rng
        self._far = [[int(ms * MILLISECOND / 2) for ms in row] for row in geography.round_trip_ms]
        self._jitter_permille = int(geography.jitter * 1000)
        self._disk = int(geography.disk_ms * MILLISECOND)
        self._disks = {member: int(ms * MILLISECOND) for member, ms in disks_ms.items()}

    def _travel(self, source: int, target: int) -> Nanos:
        distance = self._far[source][target]
        return 1000 + distance + exponential(self._rng, distance * self._jitter_permille // 1000)

    def message(self, source: MemberId, target: MemberId, size: int) -> Nanos:
        """See `Terrain`."""
        late = self.storm.extra(self._rng) if self.storm is not None else 0
        return self._travel(self.members[source], self.members[target]) + late

    def request(self, client: int, member: MemberId) -> Nanos:
        """See `Terrain`. Who stands nowhere (an administrator) stands beside the member."""
        site = self.members[member]
        return self._travel(self.clients.get(client, site), site)

    def sync(self, member: MemberId) -> Nanos:
        """See `Terrain`: three quarters of the mean at least, the rest by chance."""
        mean = self._disks.get(member, self._disk)
        return mean * 3 // 4 + exponential(self._rng, mean // 4)

    def hears_of_end(self, member: MemberId, ended: MemberId) -> bool:
        """See `Terrain`."""
        return self.noticed
