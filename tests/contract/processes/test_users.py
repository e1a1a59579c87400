"""Users by the native protocol: with auth on nobody does there what etcd's API would refuse, and those who may can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.processes.cluster import PATIENT, Cluster, cluster
from tests.contract.processes.members import Ended, coterie
from tests.etcd.real_etcd import Etcdctl
from tests.runtime.cluster import free_ports

from coterie import ClientConfig, CommandRejected, Credentials, NotLoggedIn, connect

pytestmark = [pytest.mark.slow, pytest.mark.any_protocol]

ROOT, ANN = ("--user", "root:secret"), ("--user", "ann:hers")
NOBODY_NAMED = "auth is on, and the client did not say who it is"


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, 3, PATIENT) as made:
        made.ready()
        yield made


def with_users(members: Cluster) -> Etcdctl:
    """root, and ann, who may do all under `own/`; auth is off."""
    root = Etcdctl(members.leader().client)
    for words in (
        "user add root:secret",
        "user add ann:hers",
        "role add own",
        "role grant-permission own readwrite own/ own0",
        "user grant-role ann own",
    ):
        assert not root.run(*words.split()).returncode
    return root


def enabled(root: Etcdctl) -> None:
    assert not root.run("auth", "enable").returncode
    root.user = "root:secret"


def test_who_may_do_what_is_the_same_as_by_etcds_api(members: Cluster, tmp_path: Path) -> None:
    enabled(with_users(members))

    def does(*words: str) -> Ended:
        return coterie(tmp_path, members.endpoints, *words)

    for words in (
        ["put", "own/a", "1"],
        ["get", "own/a"],
        ["member", "remove", "n3"],
        ["settings", "list"],
        ["settings", "set", "quota_bytes", "1000000000"],
        ["transfer", "n2"],
    ):
        refused = does(*words)
        assert (refused.code, NOBODY_NAMED in refused.err, "--user" in refused.err) == (3, True, True), words
    assert does("status", "--json").succeeded().json["leader"]
    assert len(does("member", "list", "--json").succeeded().json["members"]) == 3
    wrong = does("get", "own/a", "--user", "ann:his")
    assert (wrong.code, "authentication failed" in wrong.err) == (3, True)

    assert does("put", "own/a", "1", *ANN).code == 0
    assert does("get", "own/a", *ANN).out == "1\n"
    for words in (["put", "other", "1"], ["get", "other"], ["settings", "set", "quota_bytes", "1000000000"]):
        denied = does(*words, *ANN)
        assert (denied.code, "permission denied" in denied.err) == (3, True), words

    assert does("settings", "set", "quota_bytes", "1000000000", *ROOT).code == 0
    assert "1000000000" in does("settings", "get", "quota_bytes", *ROOT).out
    follower = members.followers()[0]
    assert coterie(tmp_path, follower.client, "get", "own/a", *ROOT).out == "1\n"
    assert does("transfer", follower.name, *ROOT).code == 0


def test_a_member_has_the_leader_do_what_root_asked_it_by_etcds_api(members: Cluster) -> None:
    root = with_users(members)
    enabled(root)
    follower = members.followers()[0]
    asked = Etcdctl(follower.client)
    (peer,) = free_ports(1)
    asked.user = "ann:hers"
    denied = asked.run("member", "add", "n4", "--learner", f"--peer-urls=http://127.0.0.1:{peer}")
    assert b"permission denied" in denied.stderr
    asked.user = "root:secret"
    added = asked.json("member", "add", "n4", "--learner", f"--peer-urls=http://127.0.0.1:{peer}")
    assert added["member"]["peerURLs"] == [f"http://127.0.0.1:{peer}"]
    assert len(asked.json("member", "list")["members"]) == 4


def test_a_client_goes_on_while_auth_is_switched_on_and_off_and_ends_with_its_password(members: Cluster) -> None:
    root = with_users(members)

    def client_of(user: str, password: str) -> ClientConfig:
        return ClientConfig(credentials=Credentials(user, password))

    with (
        connect(members.endpoints, client_of("ann", "hers")) as ann,
        connect(members.endpoints, client_of("bob", "his")) as bob,
        connect(members.endpoints) as anybody,
    ):
        for client in (ann, bob, anybody):
            client.put("own/before", "1")
        enabled(root)
        ann.put("own/a", "1")
        with pytest.raises(CommandRejected, match="permission denied"):
            ann.put("other", "1")
        for client in (bob, anybody):
            with pytest.raises(NotLoggedIn):
                client.put("own/a", "2")
            with pytest.raises(NotLoggedIn):
                client.get("own/a")
        assert not root.run("user", "add", "bob:his").returncode
        assert not root.run("user", "grant-role", "bob", "own").returncode
        with connect(members.endpoints, client_of("bob", "his")) as again:
            again.put("own/a", "3")
        assert not root.run("user", "passwd", "ann", "--interactive=false", stdin=b"other").returncode
        with pytest.raises(NotLoggedIn, match="authentication failed"):
            ann.put("own/a", "4")
        with connect(members.endpoints, client_of("ann", "other")) as renewed:
            assert renewed.get("own/a").value == b"3"  # type: ignore[union-attr]
        assert not root.run("auth", "disable").returncode
        for client in (bob, anybody):
            client.put("other", "5")
