"""The client commands: exit codes, JSON shapes, what is said when something goes wrong."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.peer import STALE_AGE, Cluster

import coterie
from coterie.engine.protocol import FailureCode, Happened

ROOT = Path(__file__).parents[2]
ITEM_KEYS = {"key", "value", "encoding", "create", "mod", "version", "age_ms"}


class Done:
    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        assert self.out.count(b"\n") == 1
        return json.loads(self.out)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def run(here: Path, *arguments: str | bytes, endpoints: str | None = None) -> Done:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    environment["PYTHONPATH"] = str(ROOT / "src")
    environment["COLUMNS"] = "200"
    if endpoints is not None:
        environment["COTERIE_ENDPOINTS"] = endpoints
    command: list[str | bytes] = [sys.executable, "-m", "coterie", *arguments]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, timeout=30, check=False)
    return Done(done.returncode, done.stdout, done.stderr.decode())


def test_put_get_range_cas_and_delete(here: Path, cluster: Cluster) -> None:
    where = cluster.endpoints
    put = run(here, "put", "k", "v", "--json", endpoints=where)
    assert (put.code, put.json) == (0, {"applied": "yes", "revision": cluster.machine.revision()})
    assert run(here, "get", "k", endpoints=where).out == b"v\n"
    got = run(here, "get", "k", "--json", endpoints=where).json
    assert set(got) == ITEM_KEYS
    assert (got["key"], got["value"], got["encoding"], got["version"], got["age_ms"]) == ("k", "v", "utf-8", 1, 0)
    stale = run(here, "get", "k", "--stale", "--json", endpoints=where).json
    assert stale["age_ms"] == STALE_AGE / 1_000_000
    failed = run(here, "cas", "k", "nonsense", "w", "--json", endpoints=where)
    assert (failed.code, failed.json["applied"]) == (1, "no")
    assert "'v'" in failed.err
    assert run(here, "cas", "k", "v", "w", "--json", endpoints=where).json["applied"] == "yes"
    listing = run(here, "range", "a", "z", "--json", endpoints=where)
    assert listing.code == 0
    assert set(listing.json) == {"items", "revision"}
    assert [set(item) for item in listing.json["items"]] == [ITEM_KEYS]
    assert run(here, "range", "a", "z", endpoints=where).out == b"k\tw\n"
    assert run(here, "delete", "k", "--json", endpoints=where).json["applied"] == "yes"
    again = run(here, "delete", "k", "--json", endpoints=where)
    assert (again.code, again.json["applied"]) == (1, "no")
    missing = run(here, "get", "k", endpoints=where)
    assert (missing.code, missing.out) == (1, b"")
    assert "no key" in missing.err


def test_bytes_that_are_not_utf_8_survive_and_are_base64_in_json(here: Path, cluster: Cluster) -> None:
    where = cluster.endpoints
    assert run(here, "put", "raw", b"\xff\xfe", endpoints=where).code == 0
    assert run(here, "get", "raw", endpoints=where).out == b"\xff\xfe\n"
    got = run(here, "get", "raw", "--json", endpoints=where).json
    assert got["encoding"] == "base64"
    assert base64.b64decode(got["value"]) == b"\xff\xfe"


def test_endpoints_come_after_the_command_or_before_it_or_from_the_environment(here: Path, cluster: Cluster) -> None:
    nowhere = "127.0.0.1:1"
    assert run(here, "put", "k", "v", "--endpoints", cluster.endpoints, endpoints=nowhere).code == 0
    assert run(here, "--endpoints", cluster.endpoints, "get", "k", endpoints=nowhere).code == 0
    assert run(here, "--endpoints", nowhere, "get", "k", "--endpoints", cluster.endpoints).code == 0
    assert run(here, "get", "k", endpoints=cluster.endpoints).code == 0
    before = run(
        here, "--endpoints", cluster.endpoints, "bench", "get", "--seconds", "0.1", "--json", endpoints=nowhere
    )
    assert before.code == 0, before.err


def test_the_local_cluster_is_the_default(here: Path, cluster: Cluster) -> None:
    write_state(here, cluster)
    assert run(here, "put", "k", "v").code == 0
    assert run(here, "get", "k").out == b"v\n"


def write_state(here: Path, cluster: Cluster) -> None:
    nodes = [
        {"name": m.name, "pid": 1, "peer": f"127.0.0.1:{m.port + 1}", "client": m.address, "data": "d"}
        for m in cluster.members
    ]
    state = {"nodes": nodes, "protocol": "raft", "client_port": 1, "machine": "m"}
    (here / ".coterie").mkdir()
    (here / ".coterie" / "cluster.json").write_text(json.dumps(state))


def test_without_a_cluster_each_command_says_what_to_do_and_that_nothing_happened(here: Path) -> None:
    nowhere = "127.0.0.1:1"
    put = run(here, "put", "k", "v", "--json", endpoints=nowhere)
    assert put.code == 3
    assert put.json["applied"] == "no"
    assert put.json["revision"] is None
    assert "coterie up" in put.err
    for command in (("get", "k"), ("range", "a", "b"), ("status",), ("bench", "put", "--seconds", "0.1")):
        done = run(here, *command, endpoints=nowhere)
        assert done.code == 3, command
        assert "coterie up" in done.err
        assert "Traceback" not in done.err


def test_an_unknown_outcome_is_code_4_and_says_what_to_do(here: Path, cluster: Cluster) -> None:
    assert run(here, "put", "k", "v", endpoints=cluster.endpoints).code == 0
    for member in cluster.members:
        member.silent_commands = True
    done = run(here, "put", "k", "v", "--timeout", "0.3", "--json", endpoints=cluster.endpoints)
    assert (done.code, done.json["applied"]) == (4, "unknown")
    assert "What to do" in done.err


def test_a_refused_command_is_code_3(here: Path, cluster: Cluster) -> None:
    for member in cluster.members:
        member.refusals = [(FailureCode.NO_SPACE, Happened.NO)] * 3
    done = run(here, "put", "k", "v", "--json", endpoints=cluster.endpoints)
    assert (done.code, done.json["applied"]) == (3, "no")
    assert "What to do" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "k"),
        ("nonsense",),
        ("get", "k", "--nonsense"),
        ("get", "k", "--endpoints", "x"),
        ("bench", "put", "--in-flight", "0"),
    ],
)
def test_wrong_usage_is_code_2(here: Path, arguments: tuple[str, ...]) -> None:
    done = run(here, *arguments)
    assert done.code == 2
    assert done.err
    assert "Traceback" not in done.err


def test_status_shows_every_member_also_one_that_is_down(here: Path, cluster: Cluster) -> None:
    down = cluster.members[2]
    cluster.stop(down)
    done = run(here, "status", "--json", endpoints=cluster.members[1].address)
    assert done.code == 0
    status = done.json
    assert set(status) == {"cluster_id", "protocol", "leader", "members"}
    assert (status["cluster_id"], status["protocol"], status["leader"]) == (f"{0xC0FFEE:016x}", "raft", "n1")
    assert [m["name"] for m in status["members"]] == ["n1", "n2", "n3"]
    for number, member in enumerate(status["members"], start=1):
        assert set(member) == {
            "name", "id", "pid", "role", "epoch", "commit", "applied", "peer", "client", "healthy",
        }  # fmt: skip
        assert member["id"] == f"{0x1000 + number:016x}"
        assert member["client"] == cluster.members[number - 1].address
        assert member["peer"]
    leader, follower, dead = status["members"]
    assert (leader["role"], leader["epoch"], leader["healthy"]) == ("leader", {"round": 3, "node": 0}, True)
    assert leader["pid"] == os.getpid()
    assert follower["role"] == "follower"
    assert (dead["role"], dead["pid"], dead["epoch"], dead["commit"], dead["healthy"]) == (
        None,
        None,
        None,
        None,
        False,
    )


def test_status_names_no_leader_that_does_not_answer(here: Path, cluster: Cluster) -> None:
    cluster.stop(cluster.leader)
    status = run(here, "status", "--json", endpoints=cluster.endpoints).json
    assert status["leader"] is None


def test_status_of_a_local_cluster_that_is_down_still_names_its_members(here: Path, cluster: Cluster) -> None:
    write_state(here, cluster)
    for member in cluster.members:
        cluster.stop(member)
    done = run(here, "status", "--json")
    assert done.code == 3
    assert done.json["leader"] is None
    assert [(m["client"], m["healthy"]) for m in done.json["members"]] == [(m.address, False) for m in cluster.members]


def test_status_for_people_says_why_the_leader_changed(here: Path, cluster: Cluster) -> None:
    done = run(here, "status", endpoints=cluster.endpoints)
    text = done.out.decode()
    assert done.code == 0
    assert "leader: n1" in text
    assert "election timeout of n1 passed" in text


@pytest.mark.parametrize("op", ["put", "get"])
def test_bench_prints_its_figures(here: Path, cluster: Cluster, op: str) -> None:
    done = run(
        here,
        "bench",
        op,
        "--in-flight",
        "64",
        "--value",
        "100",
        "--seconds",
        "0.5",
        "--json",
        endpoints=cluster.endpoints,
    )
    assert done.code == 0, done.err
    figures = done.json
    assert set(figures) == {
        "op", "in_flight", "ops_per_s", "p50_ms", "p99_ms", "p999_ms", "server_cpu_us_per_op", "errors",
    }  # fmt: skip
    assert (figures["op"], figures["in_flight"], figures["errors"]) == (op, 64, 0)
    assert figures["ops_per_s"] > 100
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["p999_ms"]
    assert figures["server_cpu_us_per_op"] > 0
    busiest = max(cluster.members, key=lambda m: len(m.requests))
    assert busiest.most_at_once >= 4


def test_bench_counts_errors_and_goes_on(here: Path, cluster: Cluster) -> None:
    cluster.leader.refusals_after = 200
    done = run(here, "bench", "put", "--in-flight", "4", "--seconds", "0.5", "--json", endpoints=cluster.endpoints)
    assert done.code == 0
    assert done.json["errors"] == 3
    assert done.json["ops_per_s"] > 100


def test_version_and_help_with_examples(here: Path) -> None:
    assert run(here, "--version").out.decode() == f"coterie {coterie.__version__}\n"
    overview = run(here, "--help").out.decode()
    for command in ("put", "get", "range", "delete", "cas", "status"):
        assert command in overview
        page = run(here, command, "--help").out.decode()
        assert f"Example: coterie {command}" in page
    assert "Example: coterie bench put" in run(here, "bench", "put", "--help").out.decode()
