"""A snapshot file becomes a cluster of real processes, which serves what the file has, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.processes.cluster import Cluster, cluster, status_of
from tests.contract.processes.members import caught_up, coterie, here, joined
from tests.etcd.real_etcd import Etcdctl, RealEtcd
from tests.runtime.cluster import FAST, free_ports

from coterie.etcd.backup.restoring import Options, restore

ROUNDS = 9
COMPACTED = 6


def with_history(client: Etcdctl) -> int:
    """Leave keys, a compaction, a transaction and a lease; the lease's id."""
    lease: int = client.json("lease", "grant", "3600")["ID"]
    for i in range(ROUNDS):
        client.json("put", f"k{i % 5}", f"v{i}" * (1000 if i == 7 else 1))
    client.json("put", "leased", "x", "--lease", f"{lease:x}")
    client.json("del", "k1")
    client.json("txn", stdin=b'\n\nput t1 "1"\nput t2 "2"\ndel k2\n\n\n')
    assert not client.run("compact", str(COMPACTED)).returncode
    client.json("put", "k3", "last")
    return lease


def history_of(client: Etcdctl, revision: int) -> list[list[tuple[bytes, bytes, int, int, int, int]]]:
    """All keys as of the compaction, in the middle and at the end."""
    return [client.all_items(each) for each in (COMPACTED, (COMPACTED + revision) // 2, revision)]


def hashes(clients: list[Etcdctl], revision: int) -> set[int]:
    """HashKV of each up to a revision."""
    return {client.json("endpoint", "hashkv", "--rev", str(revision))[0]["HashKV"]["hash"] for client in clients}


def clients_of(members: Cluster) -> list[Etcdctl]:
    return [Etcdctl(node.client) for node in members.nodes]


def test_a_saved_cluster_becomes_another_with_all_that_it_had(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "backup.db"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    with cluster(tmp_path / "old", 1, FAST) as old:
        node = old.ready()
        before = Etcdctl(node.client)
        lease = with_history(before)
        revision: int = before.json("get", "none")["header"]["revision"]
        history = history_of(before, revision)
        assert not before.run("snapshot", "save", str(file)).returncode
        old_cluster = status_of(node).cluster
    with cluster(tmp_path / "new", 3, FAST) as new:
        first, *others = new.nodes
        told = here(tmp_path, "restore", str(file), "--data-dir", str(first.data), "--json").succeeded().json
        assert (told["applied"], told["revision"], told["compacted"], told["leases"]) == ("yes", revision, COMPACTED, 1)
        assert {restore(file, each.data, Options()).state for each in others} == {told["state"]}
        new.ready()
        assert status_of(first).cluster != old_cluster
        clients = clients_of(new)
        for client in clients:
            assert history_of(client, revision) == history
        assert b"has been compacted" in clients[1].run("get", "k3", "--rev", str(COMPACTED - 1)).stderr
        left = clients[2].json("lease", "timetolive", f"{lease:x}", "--keys")
        assert (left["granted-ttl"], len(left["keys"])) == (3600, 1)
        assert 3500 < left["ttl"] <= 3600
        assert clients[0].json("endpoint", "status")[0]["Status"]["dbSizeInUse"] > 0
        assert clients[1].json("put", "new", "value")["header"]["revision"] == revision + 1
        assert clients[2].json("lease", "revoke", f"{lease:x}")["header"]["revision"] == revision + 2

        peer, port = free_ports(2)
        added = coterie(
            tmp_path, new.endpoints, "member", "add", "n4", "--peer", f"127.0.0.1:{peer}",
            "--client", f"127.0.0.1:{port}", "--json",
        ).succeeded().json  # fmt: skip
        with joined(tmp_path, added["command"]):
            caught_up(tmp_path, new.endpoints, "n4")
            fourth = Etcdctl(f"127.0.0.1:{port}")
            assert history_of(fourth, revision) == history
            assert len(hashes([*clients, fourth], revision + 2)) == 1


@pytest.mark.any_protocol
def test_a_snapshot_of_etcd_becomes_a_cluster_with_its_keys_leases_and_users(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "etcd.db"
    with RealEtcd(tmp_path / "etcd") as etcd:
        lease = with_history(etcd)
        for words in (
            "user add root:pw --interactive=false",
            "user grant-role root root",
            "user add reader:secret --interactive=false",
            "role add r",
            "role grant-permission r read k --prefix",
            "user grant-role reader r",
            "auth enable",
        ):
            assert not etcd.run(*words.split()).returncode
        etcd.user = "root:pw"
        revision: int = etcd.json("get", "none")["header"]["revision"]
        history = history_of(etcd, revision)
        assert not etcd.run("snapshot", "save", str(file)).returncode
    with cluster(tmp_path, 1, FAST) as new:
        (node,) = new.nodes
        told = here(tmp_path, "restore", str(file), "--data", str(node.data), "--json").succeeded().json
        assert (told["revision"], told["users"], told["members_before"]) == (revision, 2, ["n0"])
        new.ready()
        client = Etcdctl(node.client)
        assert b"user name is empty" in client.run("get", "k3").stderr
        client.user = "root:pw"
        assert history_of(client, revision) == history
        left = client.json("lease", "timetolive", f"{lease:x}", "--keys")
        assert (left["granted-ttl"], len(left["keys"])) == (3600, 1)
        assert client.json("put", "k3", "ours")["header"]["revision"] == revision + 1
        client.user = "reader:secret"
        assert client.json("get", "k3")["count"] == 1
        assert b"permission denied" in client.run("put", "k3", "x").stderr
