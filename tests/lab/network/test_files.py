"""Networks in TOML: those that ship can be read, and what is wrong is named with its field and rule."""

import pytest

from coterie.core.errors import ConfigurationError
from coterie.lab.network.files import as_toml, parse_network, read_network, shipped

GOOD = 'sites = ["a", "b"]\nround_trip_ms = [[0.1, 10], [10, 0.1]]\n'


@pytest.mark.parametrize("name", shipped())
def test_every_network_that_ships_can_be_read_says_its_source_and_survives_writing(name: str) -> None:
    network = read_network(name)
    assert network.source
    assert network.date
    again = parse_network(as_toml(network, "a comment\nof two lines"), name)
    assert again == network


def test_all_that_a_file_may_say_survives_writing() -> None:
    text = GOOD + (
        "disk_ms = 2\ndisk_p99_ms = 7.5\njitter = 0.2\nbandwidth_mbit = 50\nmachines = [1, 3]\n"
        'estimated = [["a", "b"]]\n'
        '[addresses]\na = ["10.0.0.1:2379"]\n[rates]\nmachine_failures_per_year = 12\n'
    )
    network = parse_network(text, "x")
    assert (network.tail_ms, network.capacity(0), network.capacity(1)) == (7.5, 1, 3)
    assert network.addresses == (("10.0.0.1:2379",), ())
    assert parse_network(as_toml(network), "x") == network


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sites = [", "x is not TOML"),
        ('sites = ["a"]\n', "round_trip_ms is missing"),
        (GOOD + "disk = 1\n", "'disk' is no key of a network; did you mean 'disk_ms'?"),
        ('sites = ["a", "b"]\nround_trip_ms = [[0, 1]]\n', "1 rows for 2 sites: it must be square"),
        ('sites = ["a", "b"]\nround_trip_ms = [[0, 1], [1]]\n', "'b' has 1 columns for 2 sites"),
        ('sites = ["a", "b"]\nround_trip_ms = [[0, -1], [-1, 0]]\n', "from 'a' to 'b' is -1.0"),
        ('sites = ["a", "b"]\nround_trip_ms = [[0, 1], [2, 0]]\n', "one_way = true"),
        ('sites = ["a", "b"]\nround_trip_ms = [[0, "far"], [1, 0]]\n', "row 1 is 'far': it must be a number"),
        ('sites = "a"\nround_trip_ms = [[0]]\n', "sites is 'a': it must be a list of names"),
        (GOOD + "one_way = 1\n", "one_way is 1: it must be true or false"),
        (GOOD + "bandwidth_mbit = 0\n", "bandwidth_mbit is 0: it must be above 0"),
        (GOOD + "machines = [1]\n", "machines has 1 entries for 2 sites"),
        (GOOD + "disk_ms = 3\ndisk_p99_ms = 1\n", "disk_p99_ms is 1: it must be at least disk_ms, 3"),
        (GOOD + '[addresses]\nc = ["h:1"]\n', "addresses: 'c' is no site of this network: a, b"),
        (GOOD + "[rates]\nluck = 1\n", "'luck' is no rate"),
        (GOOD + 'estimated = [["a", "z"]]\n', "'z' is no site"),
    ],
)
def test_the_message_names_the_field_and_the_rule(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^x") as caught:
        parse_network(text, "x")
    assert said in str(caught.value)


def test_a_network_that_is_not_there_is_named_beside_those_that_ship() -> None:
    with pytest.raises(ConfigurationError, match=r"--network /nowhere.*epaxos"):
        read_network("/nowhere")
