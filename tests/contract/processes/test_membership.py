"""Members come and go in a cluster of real processes, by the commands that a person types."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.processes.cluster import Cluster, alive, cluster, lines_with
from tests.contract.processes.load import Load
from tests.contract.processes.members import QUICK, Joined, caught_up, coterie, here, joined, members
from tests.protocol import protocol_under_test
from tests.runtime.cluster import free_ports, until

pytestmark = pytest.mark.slow


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, flags=QUICK) as nodes:
        nodes.ready()
        yield nodes


def add(home: Path, endpoints: str, name: str) -> str:
    """Add a learner; the command that starts it."""
    client, peer = free_ports(2)
    added = coterie(
        home, endpoints, "member", "add", name, "--peer", f"127.0.0.1:{peer}", "--client", f"127.0.0.1:{client}",
        "--json",
    )  # fmt: skip
    found = added.succeeded().json
    assert found["name"] == name
    return str(found["command"])


def test_a_fourth_member_joins_leads_and_the_old_leader_goes_while_clients_work(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    with Load(ends, workers=2, seed=4) as load:
        load.progress(50)
        with joined(tmp_path, add(tmp_path, ends, "n4")) as n4:
            learner = members(tmp_path, ends)["n4"]
            assert (learner["role"], learner["voter"]) == ("learner", False)
            coterie(tmp_path, ends, "member", "promote", "n4", "--wait", "60").succeeded()
            assert members(tmp_path, ends)["n4"]["voter"]
            old = three.leader()
            moved = coterie(tmp_path, ends, "transfer", "n4", "--json").succeeded().json
            assert moved["leader"] == "n4"
            load.progress(50)
            coterie(tmp_path, ends, "member", "remove", old.name).succeeded()
            assert old.wait(30) == 0
            assert "was removed" in old.lines()
            load.progress(50)
            left = members(tmp_path, ends)
            assert set(left) == {"n1", "n2", "n3", "n4"} - {old.name}
            assert left["n4"]["role"] == "leader"
            coterie(tmp_path, ends, "member", "remove", "n4").succeeded()
            assert n4.ended() == 0
            load.progress(50)
    assert not load.history.failures
    assert load.history.problems() == []


@pytest.mark.any_protocol
def test_a_member_is_replaced_by_one_command_given_twice(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    client, peer = free_ports(2)
    gone = three.followers()[0]
    gone.kill()
    first = coterie(
        tmp_path, ends, "member", "replace", gone.name, "n4", "--peer", f"127.0.0.1:{peer}",
        "--client", f"127.0.0.1:{client}", "--json",
    ).succeeded().json  # fmt: skip
    assert not first["done"]
    early = coterie(tmp_path, ends, "member", "replace", gone.name, "n4")
    assert early.code == 3
    assert "never started" in early.err
    with joined(tmp_path, first["command"]):
        coterie(tmp_path, ends, "member", "replace", gone.name, "n4", "--wait", "60").succeeded()
        left = members(tmp_path, ends)
        assert set(left) == {"n1", "n2", "n3", "n4"} - {gone.name}
        assert left["n4"]["voter"]
        gone.start()
        assert gone.wait(30) == 0, "one that was down when it was removed is told when it comes back"
        assert "was removed" in gone.lines()


@pytest.mark.any_protocol
def test_what_makes_no_sense_or_is_unsafe_is_refused_with_the_reason(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    add(tmp_path, ends, "n4")
    for arguments, words in (
        (("add", "n4", "--peer", "127.0.0.1:1234"), "a member called n4 already"),
        (("add", "n5", "--peer", three.nodes[0].peer), "every member has its own"),
        (("promote", "n4"), "never started"),
        (("promote", "n4", "--force"), "never started"),
        (("promote", "n1"), "a voter already"),
        (("remove", "n9"), "no member is called 'n9'"),
        (("replace", "n1", "n2"), ""),
    ):
        done = coterie(tmp_path, ends, "member", *arguments)
        if words:
            assert done.code == 3, arguments
            assert words in done.err
    assert coterie(tmp_path, ends, "member", "add", "n 5", "--peer", "127.0.0.1:1").code == 2
    assert coterie(tmp_path, ends, "transfer", "n9").code == 3
    assert coterie(tmp_path, ends, "transfer", "n4").code == 3


@pytest.mark.any_protocol
def test_the_last_voter_stays(tmp_path: Path) -> None:
    with cluster(tmp_path, 1, QUICK) as one:
        one.ready()
        done = coterie(tmp_path, one.endpoints, "member", "remove", "n1")
        assert done.code == 3
        assert "voter" in done.err
        assert alive(one.nodes[0])


@pytest.mark.any_protocol
def test_settings_are_the_same_everywhere_and_outlive_everybody(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    coterie(tmp_path, ends, "settings", "set", "snapshot_keep_entries", "123").succeeded()
    assert coterie(tmp_path, ends, "settings", "get", "snapshot_keep_entries").succeeded().out == "123\n"
    assert coterie(tmp_path, ends, "settings", "get", "snapshot-keep-entries").succeeded().out == "123\n"
    refused = coterie(tmp_path, ends, "settings", "set", "version", "2")
    assert refused.code == 2
    assert "not set by hand" in refused.err
    assert coterie(tmp_path, ends, "settings", "set", "snapshot_keep_entries", "-1").code == 2
    assert coterie(tmp_path, ends, "settings", "set", "snapshot_keep_entry", "1").code == 2
    three.kill(*three.nodes)
    three.ready()
    for node in three.nodes:
        listed = coterie(tmp_path, node.client, "settings", "list", "--json").succeeded().json
        assert listed["settings"]["snapshot_keep_entries"] == 123


@pytest.mark.any_protocol
def test_quorum_sizes_are_changed_like_settings_and_a_leader_alone_may_commit(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    changed = coterie(tmp_path, ends, "settings", "set", "phase-2-quorum", "1").succeeded()
    assert "phase-2-quorum is 1." in changed.out
    assert "phase-1-quorum is raised from majority (2 of 3) to 3" in changed.out
    assert coterie(tmp_path, ends, "settings", "get", "phase_1_quorum").succeeded().out == "3\n"
    refused = coterie(tmp_path, ends, "settings", "set", "phase-1-quorum", "2", "--and", "phase-2-quorum", "1")
    assert refused.code == 3
    assert "n1 n2 could elect a leader while n3 commit: they do not meet" in refused.err
    for arguments, words in (
        (("phase-2-quorum", "few"), "a number of voters, or majority"),
        (("phase-2-quorum", "1", "--and", "phase-2-quorum", "2"), "may name phase-1-quorum only"),
        (("lease-reads", "true", "--and", "phase-2-quorum", "2"), "--and is for the other quorum size"),
    ):
        wrong = coterie(tmp_path, ends, "settings", "set", *arguments)
        assert wrong.code == 2, arguments
        assert words in wrong.err
    leader, others = three.leader(), three.followers()
    three.kill(*others)
    coterie(tmp_path, ends, "put", "k", "v").succeeded()
    assert coterie(tmp_path, ends, "get", "k").succeeded().out == "v\n"
    three.kill(leader)
    three.ready()
    assert coterie(tmp_path, ends, "get", "k").succeeded().out == "v\n", "whoever leads has what one disk committed"
    back = ("phase-1-quorum", "majority", "--and", "phase-2-quorum", "majority", "--json")
    assert coterie(tmp_path, ends, "settings", "set", *back).succeeded().json["phase_1_quorum"] == 0
    listed = coterie(tmp_path, ends, "settings", "list", "--json").succeeded().json["settings"]
    assert (listed["phase_1_quorum"], listed["phase_2_quorum"]) == (0, 0)
    assert "majority (2 of 3)" in coterie(tmp_path, ends, "settings", "list").succeeded().out


def test_a_leader_that_is_stopped_hands_over_first(tmp_path: Path, three: Cluster) -> None:
    leader = three.leader()
    with Load(three.endpoints, workers=2, seed=5) as load:
        load.progress(20)
        assert three.stop(leader) == [0]
        load.progress(20)
    others = [node for node in three.nodes if node is not leader]
    assert any(lines_with(node, f"{leader.name} hands over") for node in others)
    assert not lines_with(leader, "still-leader")
    assert not load.history.failures
    assert load.history.problems() == []


@pytest.mark.any_protocol
def test_a_wiped_member_is_refused_under_its_old_id(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    with joined(tmp_path, add(tmp_path, ends, "n4")) as n4:
        caught_up(tmp_path, ends, "n4")
        assert n4.stop() == 0
        n4.start()
        caught_up(tmp_path, ends, "n4")
        n4.kill()
        shutil.rmtree(n4.data)
        n4.start()
        assert n4.ended() == 3
        assert "member remove n4" in n4.lines()
        assert not n4.data.exists(), "nothing is made for a node that is refused"


@pytest.mark.any_protocol
def test_a_node_that_was_never_added_is_told_what_to_do(tmp_path: Path, three: Cluster) -> None:
    client, peer = free_ports(2)
    command = (
        f"coterie node --name n7 --data n7 --peer 127.0.0.1:{peer} --client 127.0.0.1:{client} --join {three.endpoints}"
    )
    stranger = Joined(tmp_path, command)
    stranger.start()
    assert stranger.ended() == 3
    assert "member add n7" in stranger.lines()


@pytest.mark.any_protocol
def test_the_endpoints_of_another_cluster_are_refused(tmp_path: Path, three: Cluster) -> None:
    with joined(tmp_path, add(tmp_path, three.endpoints, "n4")) as n4:
        caught_up(tmp_path, three.endpoints, "n4")
        n4.kill()
        other_home = tmp_path / "other"
        other_home.mkdir()
        with cluster(other_home, 1, QUICK) as other:
            other.ready()
            n4.start("--join", other.endpoints)
            assert n4.ended() == 3
            assert "another cluster" in n4.lines() or "belongs to cluster" in n4.lines()
        n4.start()
        until(lambda: members(tmp_path, three.endpoints)["n4"]["healthy"])


@pytest.mark.any_protocol
def test_up_leaves_out_a_node_that_was_removed_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    port = free_ports(8)[0]
    up = (
        "up",
        "--detach",
        "--client-port",
        str(port),
        "--protocol",
        protocol_under_test(),
        "--data",
        str(tmp_path / ".coterie"),
    )
    ends = ",".join(f"127.0.0.1:{port + 2 * i}" for i in range(3))
    try:
        here(tmp_path, *up).succeeded()
        command = coterie(
            tmp_path, ends, "member", "add", "n4", "--peer", f"127.0.0.1:{port + 7}", "--json"
        ).succeeded().json["command"]  # fmt: skip
        assert ".coterie/n4" in command
        with joined(tmp_path, command, ()):
            coterie(tmp_path, ends, "member", "promote", "n4", "--wait", "60").succeeded()
            shown = here(tmp_path, "status", "--json").succeeded().json
            assert [member["name"] for member in shown["members"]] == ["n1", "n2", "n3", "n4"]
            coterie(tmp_path, ends, "transfer", "n4").succeeded()
            coterie(tmp_path, ends, "member", "remove", "n1").succeeded()
            again = here(tmp_path, *up).succeeded()
            assert "n1 was removed from the cluster" in again.out
            assert "leader n4" in again.out
            assert here(tmp_path, *up).succeeded().out.startswith("Already up: 2 nodes")
            here(tmp_path, "put", "k", "v").succeeded()
    finally:
        here(tmp_path, "down", "--data", str(tmp_path / ".coterie"))


def test_a_member_joins_by_a_snapshot_and_restarts_from_its_store(tmp_path: Path, three: Cluster) -> None:
    ends = three.endpoints
    for name, value in (("snapshot_log_bytes", "200000"), ("snapshot_log_ratio", "1"), ("snapshot_keep_entries", "10")):
        coterie(tmp_path, ends, "settings", "set", name, value).succeeded()
    with Load(ends, workers=4, seed=6, value_bytes=2000, pause_s=0.0) as load:
        load.progress(1500, seconds=60)
        with joined(tmp_path, add(tmp_path, ends, "n4")) as n4:
            coterie(tmp_path, ends, "member", "promote", "n4", "--wait", "60").succeeded()
            until(lambda: "snapshot-installed" in n4.lines())
            load.progress(200)
            n4.kill()
            load.progress(200)
            n4.start()
            until(lambda: members(tmp_path, ends)["n4"]["caught_up"], 60)
    assert not load.history.failures
    assert load.history.problems() == []
