"""A network as the lab knows it: what `--network FILE` reads, and `coterie lab measure` writes."""

from __future__ import annotations

from typing import Final

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.lab.stage.geography import MAX_ROUND_TRIP_MS, Geography

DISK_TAIL: Final = 1.9
"""p99 of a disk of the stage over its mean: three quarters of it, and an exponential quarter (0.75 + 0.25 ln 100)."""
DEFAULT_BANDWIDTH_MBIT: Final = 1000.0
MAX_MACHINES: Final = 9
"""Replicas that one site can hold, unless the file says less: more than any cluster has use for."""

HOURS_A_YEAR: Final = 8766.0


def _check(field: str, value: float, most: float) -> None:
    if not 0 <= value <= most:  # Nor is a NaN.
        raise ConfigurationError(f"{field} is {value!r}: it must be a number from 0 to {most:g}")


def _share(per_year: float, hours: float) -> float:
    away = per_year * hours
    return away / (HOURS_A_YEAR + away)


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often machines fail, and how long they are away. Assumptions, unless the file has better ones."""

    machine_failures_per_year: float = 4.0
    machine_repair_hours: float = 1.0
    site_failures_per_year: float = 0.5
    """Of a whole site: its power, its network."""
    site_repair_hours: float = 4.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            _check(name, getattr(self, name), 1e6)

    @property
    def machine_down(self) -> float:
        """Share of time in which a machine of a site that works is down."""
        return _share(self.machine_failures_per_year, self.machine_repair_hours)

    @property
    def site_down(self) -> float:
        """Share of time in which a site is down."""
        return _share(self.site_failures_per_year, self.site_repair_hours)


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Sites and all that the lab is told about them. Raises `ConfigurationError` with the field and the rule."""

    name: str
    """Where it came from: a file, or one that ships."""
    geography: Geography
    source: str = ""
    """Who measured it."""
    date: str = ""
    approximate: bool = False
    """Its figures are not exact, and its source says so."""
    disk_p99_ms: float = 0.0
    """0: as the stage's disks have it (`DISK_TAIL`)."""
    bandwidth_mbit: float = DEFAULT_BANDWIDTH_MBIT
    """Between two machines of different sites, each way."""
    machines: tuple[int, ...] = ()
    """How many replicas each site can hold at most; empty: `MAX_MACHINES`."""
    addresses: tuple[tuple[str, ...], ...] = ()
    """host:port (a client's port) or host of each site's machines, as far as they are known."""
    estimated: tuple[tuple[str, str], ...] = ()
    """Pairs of sites whose distance was not measured, but bounded by what was."""
    rates: Rates = Rates()

    def __post_init__(self) -> None:
        sites = self.geography.sites
        _check("disk_p99_ms", self.disk_p99_ms, MAX_ROUND_TRIP_MS)
        if self.disk_p99_ms and self.disk_p99_ms < self.geography.disk_ms:
            raise ConfigurationError(
                f"disk_p99_ms is {self.disk_p99_ms:g}: it must be at least disk_ms, {self.geography.disk_ms:g}"
            )
        _check("bandwidth_mbit", self.bandwidth_mbit, 1e6)
        if self.bandwidth_mbit == 0:
            raise ConfigurationError("bandwidth_mbit is 0: it must be above 0")
        for field, given in (("machines", self.machines), ("addresses", self.addresses)):
            if given and len(given) != len(sites):
                raise ConfigurationError(f"{field} has {len(given)} entries for {len(sites)} sites: one for each")
        for site, count in zip(sites, self.machines, strict=False):
            if not 0 <= count <= MAX_MACHINES:
                raise ConfigurationError(f"machines of {site!r} is {count}: it must be from 0 to {MAX_MACHINES}")
        for pair in self.estimated:
            for site in pair:
                self.geography.number(site)

    @property
    def sites(self) -> tuple[str, ...]:
        """Their names."""
        return self.geography.sites

    @property
    def tail_ms(self) -> float:
        """p99 of a durable write."""
        return self.disk_p99_ms or self.geography.disk_ms * DISK_TAIL

    def capacity(self, site: int) -> int:
        """How many replicas the site can hold."""
        return self.machines[site] if self.machines else MAX_MACHINES
