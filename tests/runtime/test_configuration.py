"""Every key is documented, every bad value is named with its rule, and later sources win."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from coterie.core.errors import ConfigurationError
from coterie.runtime.configuration import KEYS, NodeConfiguration, configure

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def make(**changes: object) -> NodeConfiguration:
    return NodeConfiguration(**{"name": "n1", "data": "d", **changes})  # type: ignore[arg-type]  # bad values on purpose


def test_the_document_lists_every_key_with_its_default_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert set(rows) == set(KEYS)
    for field in msgspec.structs.fields(NodeConfiguration):
        if field.default is msgspec.NODEFAULT:
            assert rows[field.name] == "required"
        elif field.default in ("", ()):
            assert rows[field.name] == "empty"
        else:
            assert rows[field.name] == f"`{field.default}`"


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("name", "", "letters, digits"),
        ("name", "a b", "letters, digits"),
        ("name", "ä", "letters, digits"),
        ("name", "x" * 65, "1 to 64"),
        ("data", "", "directory"),
        ("protocol", "paxos", "one of: raft"),
        ("peer", "nowhere", "host:port"),
        ("peer", "h:0", "from 1 to 65535"),
        ("client", "h:65536", "host:port"),
        ("client", ":1", "host:port"),
        ("client_listen", "h:x", "host:port"),
        ("machine", "module", "package.module:Class"),
        ("election_timeout_ms", 0, "above 0"),
        ("election_timeout_ms", 1.5, "above 0"),
        ("election_timeout_ms", True, "above 0"),
        ("heartbeat_interval_ms", 501, "at most half of election_timeout_ms"),
        ("max_client_connections", -1, "above 0"),
        ("max_grpc_streams", 2**30 + 1, "at most 1073741824"),
        ("max_grpc_message_bytes", 2**30 + 1, "at most 1073741824"),
        ("log_level", "loud", "one of: debug"),
        ("initial_members", (("n2", "h:1"),), "this member must stand there"),
        ("initial_members", (("n1", "127.0.0.1:2380"), ("n1", "h:1")), "once"),
        ("initial_members", (("n1", "127.0.0.1:2380"), ("n2", "127.0.0.1:2380")), "once"),
        ("initial_members", (("n1", "127.0.0.1"),), "host:port"),
        ("peer", 7, "text"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(rule)) as caught:
        make(**{key: value})
    assert str(caught.value).startswith(f"{key} is ")


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'name = "file"\ndata = "d"\nelection_timeout_ms = 400\nrequest_timeout_ms = 1\nstop_timeout_ms = 1\n'
    )
    config = configure(
        file=str(file),
        environment={
            "COTERIE_REQUEST_TIMEOUT_MS": "2",
            "COTERIE_STOP_TIMEOUT_MS": "2",
            "PATH": "x",
            "COTERIE_ENDPOINTS": "x",
        },
        flags={"stop_timeout_ms": "3", "client": None},
    )
    assert (config.name, config.election_timeout_ms, config.request_timeout_ms, config.stop_timeout_ms) == (
        "file",
        400,
        2,
        3,
    )
    assert config.client == "127.0.0.1:2379"


@pytest.mark.parametrize(
    "members",
    ['["n1=127.0.0.1:2380", "n2=h:2380"]', '{ n1 = "127.0.0.1:2380", n2 = "h:2380" }', '"n1=127.0.0.1:2380,n2=h:2380"'],
)
def test_members_may_be_a_list_a_table_or_text(tmp_path: Path, members: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'name = "n1"\ndata = "d"\ninitial_members = {members}\n')
    assert configure(file=str(file), environment={}).members == (("n1", "127.0.0.1:2380"), ("n2", "h:2380"))


def test_without_initial_members_a_member_stands_alone() -> None:
    assert make().members == (("n1", "127.0.0.1:2380"),)


@pytest.mark.parametrize("members", ["1", "[1]", '["n1"]', "{ n1 = 1 }"])
def test_members_that_are_none_are_refused(tmp_path: Path, members: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'name = "n1"\ndata = "d"\ninitial_members = {members}\n')
    with pytest.raises(ConfigurationError, match="list of name=host:port"):
        configure(file=str(file), environment={})


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("elction_timeout_ms = 1\n")
    with pytest.raises(ConfigurationError, match="did you mean 'election_timeout_ms'"):
        configure(file=str(file), environment={})
    with pytest.raises(ConfigurationError, match=r"COTERIE_PEERS.*did you mean 'peer'"):
        configure(environment={"COTERIE_PEERS": "1"})
    with pytest.raises(ConfigurationError, match="the keys are"):
        configure(environment={}, flags={"zzzzzz": "1"})


@pytest.mark.parametrize(
    ("content", "problem"), [(b"name =", "not TOML"), (b"\xff\xff", "not TOML"), (b"name = 1", "must be text")]
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem):
        configure(file=str(file), environment={})


def test_a_missing_file_or_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        configure(file=str(tmp_path / "none.toml"), environment={})
    with pytest.raises(ConfigurationError, match=r"name is not set.*COTERIE_NAME"):
        configure(environment={})


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", "9" * 30])
def test_a_number_in_the_environment_must_be_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match="environment: max_pending_requests"):
        configure(environment={"COTERIE_NAME": "a", "COTERIE_DATA": "d", "COTERIE_MAX_PENDING_REQUESTS": text})


def test_every_setting_of_the_engine_comes_from_a_key() -> None:
    config = make(election_timeout_ms=700, heartbeat_interval_ms=70, max_pending_requests=9, max_inflight_bytes=11)
    engine = config.engine()
    assert engine.replica.election_timeout == 700_000_000
    assert engine.replica.heartbeat_interval == 70_000_000
    assert engine.replica.max_inflight_bytes == 11
    assert engine.max_pending_requests == 9
    assert make(client_stall_timeout_ms=2500).clients().stall_timeout_s == 2.5
    assert make(max_peer_queue_bytes=5).links().max_queue_bytes == 5


@pytest.mark.parametrize("value", [1, 2**53])
def test_any_legal_value_gives_legal_limits_of_grpc(value: int) -> None:
    few = min(value, 2**30)
    made = make(
        max_grpc_streams=few,
        max_grpc_message_bytes=few,
        max_client_output_bytes=value,
        client_stall_timeout_ms=value,
    )
    limits = made.grpc()
    assert (limits.max_streams, limits.max_message_bytes) == (few, few)
    assert limits.max_received_bytes >= 2 * few
