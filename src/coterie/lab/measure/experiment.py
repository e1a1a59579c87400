"""Measuring as an experiment: its claims are that the figures may be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.lab.advise.demands import counted
from coterie.lab.errors import LabError
from coterie.lab.experiment import Claim, Conditions, Report, Table, Text
from coterie.lab.measure.machine import DISK_ROUNDS, HERE, disk, loopback, mean_ms
from coterie.lab.measure.matrix import Row, network_of
from coterie.lab.measure.round_trips import QUICK_SAMPLES, SAMPLES, Trip, measure
from coterie.lab.network.files import as_toml, parse_network, read_network
from coterie.lab.network.network import Network
from coterie.storage.probe import SLOW_US, UNREAL_US, DiskReport

STEADY_SHARE: Final = 0.25
STEADY_MS: Final = 0.3
"""Two halves of the samples may differ by a quarter, or by this: what a busy machine adds."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure."""

    hosts: tuple[tuple[str, str], ...] = ()
    """(site, HOST or HOST:PORT)."""
    site: str = HERE
    """This machine's."""
    address: str = ""
    directory: str = "."
    """On the disk that a member is to use."""
    file: Path | None = None
    """Where the network is written; what it holds is kept."""


def parse_hosts(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """HOST, HOST:PORT or SITE=HOST:PORT. Raises `ConfigurationError`."""
    found: dict[str, str] = {}
    for text in given:
        site, equals, host = text.partition("=")
        if not equals:
            site, host = text.rpartition(":")[0].strip("[]") or text, text
        if not site or not host:
            raise ConfigurationError(f"{text!r}: it must be HOST, HOST:PORT or SITE=HOST:PORT")
        if site in found:
            raise ConfigurationError(f"{site!r} stands there twice: name the sites, as in a={host} b=...")
        found[site] = host
    return tuple(found.items())


def measure_network(order: Order, conditions: Conditions) -> Report:
    """Measure, write the file if there is to be one, and report."""
    before = _before(order)
    samples = QUICK_SAMPLES if conditions.quick else SAMPLES
    conditions.progress(0.0, "loopback")
    own = loopback(samples)
    trips: dict[str, Trip] = {}
    for i, (site, host) in enumerate(order.hosts):
        conditions.progress(0.1 + 0.6 * i / len(order.hosts), host)
        trips[site] = measure(host, samples)
    conditions.progress(0.7, "disk")
    found = disk(order.directory, DISK_ROUNDS // (3 if conditions.quick else 1))
    row = Row(
        site=order.site,
        own_ms=own.median,
        trips=trips,
        disk_ms=mean_ms(found),
        disk_p99_ms=found.p99_us / 1000,
        address=order.address,
    )
    network = network_of(row, before, str(order.file or "measured"))
    text = as_toml(network, f"Measured from {order.site}; run it at each other site, with --site and --write.")
    parse_network(text, network.name)  # What is written can be read.
    if order.file is not None:
        _write(order.file, text)
    conditions.progress(1.0, "done")
    return _report(order, conditions, network, own, trips, found, text)


def _before(order: Order) -> Network | None:
    return read_network(str(order.file)) if order.file is not None and order.file.exists() else None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabError(f"--write {path}: {error.strerror}") from None


# -- what is said of it ---------------------------------------------------------------------------


def _report(
    order: Order,
    conditions: Conditions,
    network: Network,
    own: Trip,
    trips: Mapping[str, Trip],
    found: DiskReport,
    text: str,
) -> Report:
    every = {order.site: own} | dict(trips)
    rows = tuple(
        (site, trip.address, trip.by, trip.median, trip.least, max(trip.samples), len(trip.samples))
        for site, trip in every.items()
    )
    guessed = f"; {len(network.estimated)} distances are bounds, until it has run there" if network.estimated else ""
    columns = ("site", "address", "round trips of", "median ms", "least ms", "most ms", "samples")
    return Report(
        experiment="measure",
        seed=conditions.seed,
        claims=[_steady(every), _real(found), _quick_disk(found)],
        summary=f"{counted(len(network.sites), 'site')}, a disk of {network.geography.disk_ms:.3g} ms (p99 "
        f"{network.tail_ms:.3g} ms){guessed}.",
        data={
            "site": order.site,
            "sites": list(network.sites),
            "round_trip_ms": [list(row) for row in network.geography.round_trip_ms],
            "jitter": network.geography.jitter,
            "disk": msgspec.to_builtins(found),
            "estimated": [list(pair) for pair in network.estimated],
            "toml": text,
        },
        parts=[
            Table(title="Round trips", columns=columns, rows=rows),
            Text(title=str(order.file or "The file (--write FILE writes it)"), body=text.rstrip()),
        ],
    )


def _steady(trips: Mapping[str, Trip]) -> Claim:
    worst = max(trips, key=lambda site: trips[site].drift / max(trips[site].median * STEADY_SHARE, STEADY_MS))
    trip = trips[worst]
    limit = max(trip.median * STEADY_SHARE, STEADY_MS)
    return Claim(
        id="steady",
        expected=f"medians of the first and the second half differ by {STEADY_SHARE:.0%}, or {STEADY_MS} ms, at most",
        measured=f"{trip.drift:.3f} ms of {trip.median:.3f} ms ({worst})",
        agrees=trip.drift <= limit,
        why="a distance that changes while it is measured is no distance: try again when the network is calm",
    )


def _real(found: DiskReport) -> Claim:
    return Claim(
        id="disk-is-a-disk",
        expected=f"half of the syncs take {UNREAL_US} µs or more",
        measured=f"{found.p50_us} µs",
        agrees=found.p50_us >= UNREAL_US,
        why=found.sentence,
    )


def _quick_disk(found: DiskReport) -> Claim:
    quick = found.p99_us < SLOW_US
    return Claim(
        id="disk-quick-enough",
        expected=f"99 of 100 syncs take less than {SLOW_US // 1000} ms (etcd's rule)",
        measured=f"{found.p99_us / 1000:.2f} ms",
        agrees=quick,
        explained=not quick,
        why=found.sentence,
    )
