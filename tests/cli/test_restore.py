"""`coterie restore`: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_local_cluster import free_port_block, run
from tests.etcd.backup.files import saved
from tests.etcd.backup.test_state import applied

from coterie.cli.cluster_file import RESTORE_FILE, read_cluster
from coterie.etcd.backup.machine_state import state_of
from coterie.etcd.backup.state import Origin
from coterie.machine.kv.protocol import Grant, Put


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A working directory with a snapshot file in it."""
    machine = applied([Grant(7, 60), Put(b"a", b"1", lease=7), Put(b"a", b"2")])
    (tmp_path / "backup.db").write_bytes(saved(state_of(machine.snapshot(), Origin(9, 1))))
    return tmp_path


def test_a_file_becomes_a_cluster_of_this_machine_for_up_to_start(home: Path) -> None:
    done = run("restore", "backup.db", "--nodes", "2", "--protocol", "multipaxos", "--client-port", "9000", cwd=home)
    assert done.returncode == 0, done.stderr
    assert (
        "Restored into .coterie, for 2 nodes, multipaxos: revision 3; 2 items of the history, 1 leases" in done.stdout
    )
    assert done.stdout.endswith("Start it: coterie up\n")
    cluster = read_cluster(home / ".coterie")
    assert cluster is not None
    assert ([node.name for node in cluster.nodes], cluster.protocol) == (["n1", "n2"], "multipaxos")
    assert cluster.endpoints == "127.0.0.1:9000,127.0.0.1:9002"
    seeds = {(home / ".coterie" / name / "restored").read_bytes() for name in ("n1", "n2")}
    assert len(seeds) == 1
    assert sorted(path.name for path in (home / ".coterie").iterdir()) == ["cluster.json", "cluster.lock", "n1", "n2"]
    again = run("restore", "backup.db", cwd=home)
    assert again.returncode == 3
    assert "holds a cluster already" in again.stderr
    other = run("up", "--nodes", "3", cwd=home)
    assert "was made with --nodes 2, not 3" in other.stderr


def test_up_starts_what_was_restored(home: Path) -> None:
    first = str(free_port_block(2))
    assert run("restore", "backup.db", "--nodes", "1", "--client-port", first, cwd=home).returncode == 0
    up = run("up", "--detach", cwd=home)
    try:
        assert up.returncode == 0, up.stderr
        got = json.loads(run("get", "a", "--json", cwd=home).stdout)
        assert (got["value"], got["create"], got["mod"], got["version"]) == ("2", 2, 3, 2)
        assert json.loads(run("put", "b", "1", "--json", cwd=home).stdout)["revision"] == 4
    finally:
        assert run("down", cwd=home).returncode == 0


def test_one_members_directory_is_told_as_json(home: Path) -> None:
    done = run("restore", "backup.db", "--data-dir", "deep/n1", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["directories"] == ["deep/n1"]
    assert (told["applied"], told["revision"], told["compacted"], told["items"], told["leases"]) == (
        "yes",
        3,
        None,
        2,
        1,
    )
    assert len(told["state"]) == 64
    assert told["command"].startswith("coterie node --data deep/n1 ")
    raised = run(
        "restore", "backup.db", "--data-dir", "n2", "--bump-revision", "10", "--mark-compacted", "--json", cwd=home
    )
    told_raised = json.loads(raised.stdout)
    assert (told_raised["revision"], told_raised["compacted"]) == (13, 13)
    assert told_raised["state"] != told["state"]
    joining = ["--name", "n1", "--data", "deep/n1", "--peer", "127.0.0.1:1", "--client", "127.0.0.1:2"]
    refused = run("node", *joining, "--join", "127.0.0.1:3", cwd=home)
    assert refused.returncode == 3
    assert "it cannot join one that runs" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.db",), 3, "cannot read none.db: No such file"),
        (("backup.db", "--bump-revision", "5"), 2, "bump-revision and mark-compacted go together"),
        (("backup.db", "--data-dir", "n1", "--nodes", "3"), 2, "its cluster is told to `coterie node`"),
        (("backup.db", "--nodes", "0"), 3, "--nodes is 0"),
        (("backup.db", "--protocol", "zab"), 2, "zab"),
        (("cut.db",), 3, "not a sound etcd snapshot: at byte 5000: the file has 5000 bytes"),
        (("cut.db", "--data-dir", "n1"), 3, "What to do: Take another snapshot file"),
    ],
)
def test_what_cannot_be_done_says_why_and_leaves_nothing(
    home: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (home / "cut.db").write_bytes((home / "backup.db").read_bytes()[:5000])
    done = run("restore", *arguments, cwd=home)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["backup.db", "cut.db"]


def test_a_failure_is_told_as_json_too(home: Path) -> None:
    done = run("restore", "none.db", "--json", cwd=home)
    told = json.loads(done.stdout)
    assert (done.returncode, told["applied"]) == (3, "no")
    assert told["advice"]


def test_a_cluster_that_was_half_restored_is_not_started_and_the_next_restore_takes_its_place(home: Path) -> None:
    directory = home / ".coterie"
    assert run("restore", "backup.db", cwd=home).returncode == 0
    (directory / "cluster.json").unlink()
    (directory / RESTORE_FILE).touch()
    up = run("up", "--detach", cwd=home)
    assert up.returncode == 3
    assert "was not finished" in up.stderr
    assert "run the same `coterie restore` again" in up.stderr
    assert run("restore", "backup.db", "--nodes", "1", cwd=home).returncode == 0
    assert sorted(path.name for path in directory.iterdir()) == ["cluster.json", "cluster.lock", "n1"]
