"""A network from measurements made at one of its sites; those of other sites come in when it is run there.

One machine sees how far it is from the others, not how far these are from each other. Between two of them the way over
the first is a bound: no round trip is longer than that, if routes are good. Such figures are marked as estimated, until
the command has run there and put its own row in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.lab.measure.round_trips import Trip, jitter_of
from coterie.lab.network.network import MAX_MACHINES, Network
from coterie.lab.stage.geography import Geography

DIGITS = 3
"""Of a ms."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one site measured."""

    site: str
    own_ms: float
    """Round trip within the site."""
    trips: Mapping[str, Trip]
    """To other sites, by their names."""
    disk_ms: float
    disk_p99_ms: float
    address: str = ""
    """Where this site's member is, if it is known."""


def network_of(row: Row, before: Network | None, name: str) -> Network:
    """The network with this row put in; `before`: what other sites measured. Raises `ConfigurationError`."""
    if row.site in row.trips:
        raise ConfigurationError(f"--site {row.site!r}: a host that is measured has that name, too")
    known, guessed = _known(before)
    sites = list(before.sites) if before is not None else []
    sites += [site for site in (row.site, *row.trips) if site not in sites]
    for other, trip in row.trips.items():
        known[_pair(row.site, other)] = round(trip.median, DIGITS)
        guessed.discard(_pair(row.site, other))
    known[row.site, row.site] = round(row.own_ms, DIGITS)
    for site in sites:
        known.setdefault((site, site), round(row.own_ms, DIGITS))
    _estimate(sites, known, guessed)
    rows = tuple(tuple(known[_pair(a, b)] for b in sites) for a in sites)
    disk = max(row.disk_ms, before.geography.disk_ms if before is not None else 0.0)
    tail = max(row.disk_p99_ms, disk, before.disk_p99_ms if before is not None else 0.0)
    made = Network(
        name=name,
        geography=Geography(
            sites=tuple(sites),
            round_trip_ms=rows,
            disk_ms=round(disk, DIGITS),
            jitter=round(jitter_of(list(row.trips.values())), DIGITS),
        ),
        source="coterie lab measure",
        disk_p99_ms=round(tail, DIGITS),
        addresses=_addresses(sites, row, before),
        estimated=tuple(sorted(guessed)),
    )
    if before is None:
        return made
    machines = before.machines + (MAX_MACHINES,) * (len(sites) - len(before.sites)) if before.machines else ()
    return msgspec.structs.replace(
        made, bandwidth_mbit=before.bandwidth_mbit, rates=before.rates, machines=machines, date=before.date
    )


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)


def _known(before: Network | None) -> tuple[dict[tuple[str, str], float], set[tuple[str, str]]]:
    if before is None:
        return {}, set()
    if before.geography.one_way:
        raise ConfigurationError("--write: that file declares one_way = true; round trips can't be put into it")
    found = {
        _pair(a, b): before.geography.round_trip_ms[i][j]
        for i, a in enumerate(before.sites)
        for j, b in enumerate(before.sites)
    }
    guessed = {_pair(a, b) for a, b in before.estimated}
    return {pair: value for pair, value in found.items() if pair not in guessed}, guessed


def _estimate(sites: Sequence[str], known: dict[tuple[str, str], float], guessed: set[tuple[str, str]]) -> None:
    """The shortest way over others, for pairs that nobody measured (Floyd and Warshall)."""
    far = {(a, b): known.get(_pair(a, b), float("inf")) if a != b else 0.0 for a in sites for b in sites}
    for over in sites:
        for a in sites:
            for b in sites:
                far[a, b] = min(far[a, b], far[a, over] + far[over, b])
    for i, a in enumerate(sites):
        for b in sites[i + 1 :]:
            if _pair(a, b) not in known:
                known[_pair(a, b)] = round(far[a, b], DIGITS)
                guessed.add(_pair(a, b))


def _addresses(sites: Sequence[str], row: Row, before: Network | None) -> tuple[tuple[str, ...], ...]:
    found: dict[str, tuple[str, ...]] = {}
    if before is not None and before.addresses:
        found.update(zip(before.sites, before.addresses, strict=True))
    found.update({site: (trip.address,) for site, trip in row.trips.items() if not found.get(site)})
    if row.address:
        found[row.site] = (row.address,)
    return tuple(found.get(site, ()) for site in sites)
