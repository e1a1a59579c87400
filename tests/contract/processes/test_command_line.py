"""The command line from end to end on a real cluster: exit codes and JSON as scripts rely on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from examples.bank import balance, deposit, open_account, read_balance, read_receipt, total, transfer
from tests.protocol import protocol_under_test
from tests.runtime.cluster import ROOT, free_port_block, until

from coterie.cli.cluster_file import LocalCluster, read_cluster
from coterie.cli.local_cluster import stop_cluster
from coterie.client.blocking import connect
from coterie.client.errors import CommandRejected

ITEM = {"key", "value", "encoding", "create", "mod", "version", "age_ms"}
MEMBER = {"name", "id", "pid", "role", "epoch", "commit", "applied", "peer", "client", "healthy"}


class Done:
    """A command that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        assert "Traceback" not in self.err

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


def run(home: Path, *arguments: str, endpoints: str | None = None) -> Done:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    environment |= {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    if endpoints is not None:
        environment["COTERIE_ENDPOINTS"] = endpoints
    command = [sys.executable, "-m", "coterie", *arguments]
    return Done(
        subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False)
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A working directory; the cluster in it is stopped in the end."""
    yield tmp_path
    if read_cluster(tmp_path / ".coterie") is not None:
        stop_cluster(tmp_path / ".coterie")


def up(home: Path, *more: str) -> LocalCluster:
    done = run(
        home, "up", "--detach", "--client-port", str(free_port_block(6)), "--protocol", protocol_under_test(), *more
    )
    assert done.code == 0, done.err
    cluster = read_cluster(home / ".coterie")
    assert cluster is not None
    return cluster


def kill(status: Any, name: str) -> None:
    """SIGKILL to the pid that `status` tells."""
    pid = next(member["pid"] for member in status["members"] if member["name"] == name)
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.any_protocol
def test_a_newcomers_first_hour(home: Path) -> None:
    cluster = up(home)

    put = run(home, "put", "greeting", "hello", "--json")
    assert (put.code, set(put.json), put.json["applied"]) == (0, {"applied", "revision"}, "yes")
    assert run(home, "get", "greeting").out == "hello\n"
    item = run(home, "get", "greeting", "--json").json
    assert set(item) == ITEM
    assert (item["key"], item["value"], item["encoding"], item["version"]) == ("greeting", "hello", "utf-8", 1)
    assert item["create"] == item["mod"] == put.json["revision"]
    stale = run(home, "get", "greeting", "--stale", "--json")
    assert stale.code in (0, 1), "a follower may be behind, and says how far"
    assert isinstance(stale.json["age_ms"], int | float)

    missing = run(home, "get", "nothing")
    assert (missing.code, missing.out) == (1, "")
    assert "no key" in missing.err
    wrong = run(home, "cas", "greeting", "nonsense", "x", "--json")
    assert (wrong.code, wrong.json["applied"]) == (1, "no")
    right = run(home, "cas", "greeting", "hello", "goodbye", "--json")
    assert (right.code, right.json["applied"]) == (0, "yes")
    assert right.json["revision"] > put.json["revision"]
    assert run(home, "put", "h", "2").code == 0
    listed = run(home, "range", "a", "z", "--json")
    assert (listed.code, set(listed.json)) == (0, {"items", "revision"})
    assert [set(each) for each in listed.json["items"]] == [ITEM, ITEM]
    assert [each["key"] for each in listed.json["items"]] == ["greeting", "h"]
    assert run(home, "range", "a", "h").out == "greeting\tgoodbye\n"
    deleted = run(home, "delete", "h", "--json")
    assert (deleted.code, deleted.json["applied"]) == (0, "yes")
    again = run(home, "delete", "h", "--json")
    assert (again.code, again.json["applied"]) == (1, "no")

    elsewhere = "127.0.0.1:9"
    endpoints = cluster.endpoints
    assert run(home, "get", "greeting", "--endpoints", endpoints, endpoints=elsewhere).out == "goodbye\n"
    assert run(home, "--endpoints", endpoints, "get", "greeting", endpoints=elsewhere).out == "goodbye\n"
    assert run(home, "get", "greeting", endpoints=endpoints.split(",")[1]).out == "goodbye\n"
    assert run(home, "get", "greeting", endpoints=elsewhere).code == 3
    assert run(home, "put", "only-a-key").code == 2

    bench = run(home, "bench", "put", "--in-flight", "8", "--value", "64", "--seconds", "0.5", "--json").json
    assert set(bench) == {
        "op", "in_flight", "ops_per_s", "p50_ms", "p99_ms", "p999_ms", "server_cpu_us_per_op", "errors",
    }  # fmt: skip
    assert (bench["op"], bench["in_flight"], bench["errors"]) == ("put", 8, 0)
    assert bench["ops_per_s"] > 20

    down = run(home, "down")
    assert (down.code, down.out.count("stopped")) == (0, 3)
    assert run(home, "get", "greeting").code == 3
    assert run(home, "up", "--detach").code == 0
    assert run(home, "get", "greeting").out == "goodbye\n"


@pytest.mark.slow
@pytest.mark.any_protocol
def test_with_members_down_status_answers_and_a_put_never_says_yes_wrongly(home: Path) -> None:
    up(home)
    assert run(home, "put", "k", "1").code == 0
    status = run(home, "status", "--json").json
    assert set(status) == {"cluster_id", "protocol", "leader", "members"}
    assert [set(member) for member in status["members"]] == [MEMBER] * 3
    assert all(member["healthy"] and len(member["id"]) == 16 for member in status["members"])
    assert sorted(member["role"] for member in status["members"]) == ["follower", "follower", "leader"]
    leader = status["leader"]
    others = [member["name"] for member in status["members"] if member["name"] != leader]

    kill(status, leader)
    assert run(home, "get", "k").out == "1\n", "two of three go on"
    assert run(home, "put", "k", "2").code == 0
    now = run(home, "status", "--json").json
    assert now["leader"] in others
    dead = next(member for member in now["members"] if member["name"] == leader)
    assert (dead["role"], dead["pid"], dead["healthy"]) == (None, None, False)
    assert dead["client"]
    assert dead["peer"]

    kill(now, others[0])
    alone = run(home, "put", "k", "3", "--json", "--timeout", "2")
    assert alone.code in (3, 4)
    assert alone.json["applied"] == {3: "no", 4: "unknown"}[alone.code]
    assert alone.json["revision"] is None
    assert "What to do" in alone.err
    assert run(home, "get", "k", "--timeout", "1").code == 3, "one of three cannot know what is newest"
    until(lambda: run(home, "status", "--json").json["leader"] is None)
    last = run(home, "status", "--json")
    assert last.code == 0
    assert {member["name"]: member["role"] is not None for member in last.json["members"]} == {
        leader: False, others[0]: False, others[1]: True,
    }  # fmt: skip
    stale = run(home, "get", "k", "--stale", "--json")
    assert (stale.code, stale.json["value"]) == (0, "2")

    assert run(home, "up", "--detach").code == 0
    value = run(home, "get", "k").out
    assert value in ({"2\n"} if alone.code == 3 else {"2\n", "3\n"})


@pytest.mark.slow
def test_the_leader_is_killed_under_bench_put_and_no_acknowledged_write_is_missing(home: Path) -> None:
    up(home)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    command = [sys.executable, "-m", "coterie", "bench", "put", "--in-flight", "16", "--seconds", "3", "--json"]
    environment |= {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True) as bench:
        status = run(home, "status", "--json").json
        commit = max(member["commit"] for member in status["members"])
        until(lambda: max(m["commit"] or 0 for m in run(home, "status", "--json").json["members"]) > commit + 20)
        kill(status, status["leader"])
        said, _ = bench.communicate(timeout=60)
    assert bench.returncode == 0
    assert json.loads(said)["errors"] == 0, "clients try again: nothing failed, and nothing was lost"
    after = run(home, "status", "--json").json
    assert after["leader"] not in (None, status["leader"])
    assert run(home, "put", "k", "v").code == 0


@pytest.mark.any_protocol
def test_a_machine_of_ones_own_runs_in_a_real_cluster(home: Path) -> None:
    (home / "examples").symlink_to(ROOT / "examples")
    cluster = up(home, "--machine", "examples.bank:Bank")
    with connect(cluster.endpoints) as client:
        client.submit(open_account("alice"))
        client.submit(open_account("bob"))
        client.submit(deposit("alice", 1000))
        assert read_receipt(client.submit(transfer("alice", "bob", 300))).balance == 700
        with pytest.raises(CommandRejected, match="holds 700 cents"):
            client.submit(transfer("alice", "bob", 701))
        status = run(home, "status", "--json").json
        kill(status, status["leader"])
        assert read_receipt(client.submit(transfer("bob", "alice", 100))).balance == 200
        assert read_balance(client.query(balance("alice"))) == 800
        assert read_balance(client.query(total())) == 1000
    refused = run(home, "put", "k", "v", "--json")
    assert refused.code == 3
    assert refused.json["applied"] == "no"
    assert "not a command of the bank" in refused.err
