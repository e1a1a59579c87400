"""What can't be had is refused, with the reason, and with what there is instead."""

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.advise.demands import Demands, parse_clients
from coterie.lab.advise.experiment import advise
from coterie.lab.advise.refusal import Impossible, refuse
from coterie.lab.experiment import Conditions
from coterie.lab.network.files import parse_network, read_network

AWS = read_network("aws")
THREE = parse_clients("virginia=1,ireland=1,tokyo=1", AWS)
TWO_SITES = parse_network('sites = ["a", "b"]\nround_trip_ms = [[0.1, 10], [10, 0.1]]\n', "two")


def test_three_regions_one_lost_and_local_writes() -> None:
    demands = Demands(clients=THREE, survive_site=True, write_within_ms=10)
    with pytest.raises(Impossible) as caught:
        advise(AWS, demands, Conditions())
    said = str(caught.value)
    assert "a write that is to outlive a whole site must be durable in another before it is acknowledged" in said
    assert "all writes go through one leader" in said
    assert "What can be had: --write-within" in said


@pytest.mark.thorough
def test_what_it_says_can_be_had_can_be_had() -> None:
    demands = Demands(clients=THREE, survive_site=True, write_within_ms=10)
    least = float(str(refuse(AWS, demands)).rpartition("--write-within ")[2].rstrip("."))
    granted = Demands(clients=THREE, survive_site=True, write_within_ms=least)
    tighter = Demands(clients=THREE, survive_site=True, write_within_ms=least - 0.2)
    report = advise(AWS, granted, Conditions(quick=True))
    assert report.unexplained == []
    with pytest.raises(Impossible):
        advise(AWS, tighter, Conditions())


def test_two_sites_cannot_lose_one() -> None:
    said = str(refuse(TWO_SITES, Demands(clients={0: 1.0}, survive_site=True)))
    assert "--survive-site takes three sites" in said
    assert "without --survive-site: 3 replicas" in said


def test_too_few_nodes_are_named_with_the_number_that_would_do() -> None:
    said = str(refuse(AWS, Demands(clients=THREE, survive=2, nodes=3)))
    assert "2 failures take 2 x 2 + 1 = 5 replicas" in said
    assert "--nodes 5" in said


def test_linearizable_reads_are_not_local_and_stale_ones_are() -> None:
    said = str(refuse(AWS, Demands(clients=THREE, survive_site=True, read_within_ms=5)))
    assert "it goes to the leader, which asks a quorum whether it still leads" in said
    assert "with --model stale" in said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"survive": 5}, "--survive is 5: it must be from 0 to 4"),
        ({"reads": 1.5}, "--reads is 1.5: it must be from 0 to 1"),
        ({"reads": float("nan")}, "--reads is nan"),
        ({"value_bytes": 0}, "--value is 0"),
        ({"model": "eventual"}, "--model is 'eventual': it must be one of linearizable, session, stale"),
        ({"protocol": "zab"}, "--protocol is 'zab': it must be one of raft, multipaxos"),
        ({"nodes": 10}, "--nodes is 10: it must be from 1 to 9"),
        ({"write_within_ms": -1}, "--write-within is -1"),
        ({"clock_drift_permille": 900}, "--clock-drift is 900"),
    ],
)
def test_a_bad_demand_is_named_with_its_rule(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Demands(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("virginia", "must have the form SITE=SHARE"),
        ("atlantis=1", "'atlantis' is no site of this network"),
        ("virginia=0", "the share of 'virginia' is '0': it must be a number above 0"),
        ("virginia=many", "it must be a number above 0"),
        ("virginia=1,virginia=2", "stands there twice"),
    ],
)
def test_bad_shares_of_clients_are_named(given: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_clients(given, AWS)
