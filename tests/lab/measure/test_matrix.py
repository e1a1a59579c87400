"""Measurements of several sites become one matrix; what nobody measured is marked."""

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.errors import LabError
from coterie.lab.measure.machine import loopback
from coterie.lab.measure.matrix import Row, network_of
from coterie.lab.measure.round_trips import Trip, measure
from coterie.lab.network.files import as_toml, parse_network


def trip(ms: float) -> Trip:
    return Trip(address="10.0.0.1:22", by="connections", samples=(ms, ms, ms))


def row(site: str, **trips: float) -> Row:
    return Row(
        site=site, own_ms=0.1, trips={name: trip(ms) for name, ms in trips.items()}, disk_ms=1.0, disk_p99_ms=2.0
    )


def test_one_site_knows_its_own_distances_and_bounds_the_others() -> None:
    network = network_of(row("a", b=10.0, c=30.0), None, "x")
    g = network.geography
    assert g.between_ms(0, 1) == 10.0
    assert g.between_ms(1, 2) == 40.0  # Over a: no farther than that.
    assert network.estimated == (("b", "c"),)


def test_the_next_site_puts_its_own_row_in_and_nothing_is_estimated_any_more() -> None:
    first = network_of(row("a", b=10.0, c=30.0), None, "x")
    stored = parse_network(as_toml(first), "x")
    both = network_of(row("b", a=11.0, c=25.0), stored, "x")
    assert both.geography.between_ms(1, 2) == 25.0
    assert both.geography.between_ms(0, 1) == 11.0
    assert both.estimated == ()
    assert both.sites == ("a", "b", "c")


def test_a_host_cannot_have_the_name_of_this_site() -> None:
    with pytest.raises(ConfigurationError, match="--site 'a'"):
        network_of(row("a", a=1.0), None, "x")


def test_loopback_is_measured_by_connections_and_is_short() -> None:
    found = loopback(15)
    assert len(found.samples) == 15
    assert 0 < found.least <= found.median < 50


def test_where_nothing_listens_that_is_said() -> None:
    with pytest.raises(LabError, match="name a port where something listens"):
        measure("127.0.0.1:1", 2)
