"""Snapshot files go both ways between real etcd 3.5 and Coterie."""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.etcd.backup.files import MemoryFile
from tests.etcd.real_etcd import RealEtcd, restored, snapshot_status

from coterie.etcd.backup.bolt_reader import BoltReader
from coterie.etcd.backup.loading import load
from coterie.etcd.backup.machine_state import chunks_of, state_of
from coterie.etcd.backup.saving import save
from coterie.etcd.backup.state import Member, Origin, State
from coterie.etcd.backup.temporary import scratch_in
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import AuthorisedQuestion
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    DeleteRange,
    Grant,
    Put,
    Range,
    RangeReply,
    Txn,
    encoder,
    reply_decoder,
)

Row = tuple[bytes, bytes, int, int, int, int]
ORIGIN = Origin(12, 3, "3.5.0", (Member(0xABCD, "m1", ("http://127.0.0.1:1",), ("http://127.0.0.1:2",)),), (0x77,))


def rows(machine: KeyValue, revision: int) -> list[Row]:
    """What `RealEtcd.all_items` tells of etcd."""
    question = encoder.encode(Range(b"\0", b"\0", revision))
    answer = machine.query(encoder.encode(AuthorisedQuestion("root", machine.auth.revision, question)))
    assert not isinstance(answer, Rejected)
    reply = reply_decoder.decode(answer)
    assert isinstance(reply, RangeReply)
    return [(item.key, item.value, item.create, item.mod, item.version, item.lease) for item in reply.items]


def write(state: State, path: Path) -> None:
    """Save the state as `etcdctl snapshot save` would write it."""
    snapshot = save(state, scratch_in(path.parent))
    with path.open("wb") as file:
        for chunk in snapshot.chunks():
            file.write(chunk.blob)
    snapshot.close()


def read(path: Path) -> tuple[State, KeyValue]:
    """The state in a file, and a machine restored from it."""
    state = load(MemoryFile(path.read_bytes()), scratch_in(path.parent))
    machine = KeyValue()
    machine.restore(chunks_of(state))
    return state, machine


def castagnoli(parts: Iterator[bytes]) -> int:
    """CRC-32C over all of it (RFC 3720, appendix B.4), as etcd's snapshot status has it."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def check_status(path: Path, revision: int) -> None:
    """etcdutl reads the file as we do: the same items, the same bytes, the same revision."""
    status = snapshot_status(path)
    file = MemoryFile(path.read_bytes())
    reader = BoltReader(file, file.size() - 32)
    entries = {name: list(reader.items(name)) for name in reader.names}
    parts = (part for name, each in entries.items() for part in (name, *(p for e in each for p in (e.key, e.value))))
    assert status["totalKey"] == sum(map(len, entries.values()))
    assert status["hash"] == castagnoli(parts)
    assert status["revision"] == revision
    assert status["totalSize"] == reader.meta.pages * reader.meta.page_bytes


def history(seed: int, length: int) -> list[Command]:
    """Commands that leave a rich history, values of more than a page among them."""
    source = random.Random(seed)
    commands: list[Command] = []
    for _ in range(length):
        keys = [b"k%d" % source.randrange(30) for _ in range(source.randint(1, 4))]
        size = source.choice([0, 3, 200, 6_000])
        kind = source.random()
        if kind < 0.6:
            commands.append(Put(keys[0], source.randbytes(size)))
        elif kind < 0.8:
            commands.append(DeleteRange(keys[0], source.choice([b"", keys[0] + b"\xff"])))
        else:
            commands.append(Txn((), tuple(Put(key, source.randbytes(size)) for key in dict.fromkeys(keys))))
    return commands


def run(machine: KeyValue, commands: list[Command]) -> None:
    bodies = [encoder.encode(command) for command in commands]
    replies = machine.apply(Batch(1, 0, range(len(bodies)), bodies))
    assert not [reply for reply in replies if isinstance(reply, Rejected)]


def test_etcd_restored_from_our_snapshot_serves_every_revision(tmp_path: Path) -> None:
    machine = KeyValue()
    run(machine, [Grant(77, 3600), Grant(78, 7200)])
    run(machine, history(1, 400))
    run(machine, [Put(b"leased", b"x", lease=77), Put(b"leased too", b"x", lease=77)])
    middle = machine.revision() // 2
    run(machine, [Compact(middle)])
    path = tmp_path / "ours.db"
    write(state_of(machine.snapshot(), ORIGIN), path)
    check_status(path, machine.revision())
    with restored(path, tmp_path / "data") as etcd:
        for revision in (middle, middle + 1, machine.revision() - 7, machine.revision()):
            assert etcd.all_items(revision) == rows(machine, revision)
        refused = etcd.run("get", "", "--prefix", "--rev", str(middle - 1))
        assert b"required revision has been compacted" in refused.stderr
        for lease, ttl, keys in ((77, 3600, [b"leased", b"leased too"]), (78, 7200, [])):
            told = etcd.json("lease", "timetolive", f"{lease:x}", "--keys")
            assert told["granted-ttl"] == ttl
            assert 0 <= ttl - told["ttl"] < 60
            assert sorted(b64decode(key) for key in told.get("keys") or []) == keys
        assert etcd.json("put", "new", "value")["header"]["revision"] == machine.revision() + 1
        assert not etcd.run("compact", str(machine.revision())).returncode
        assert etcd.all_items(machine.revision()) == rows(machine, machine.revision())


@pytest.mark.slow
def test_a_large_snapshot_of_ours_is_sound_to_bbolts_own_check(tmp_path: Path) -> None:
    machine = KeyValue()
    run(machine, [Put(b"%07d" % (i * 7919 % 50_021), b"v" * (i % 300)) for i in range(60_000)])
    run(machine, [Compact(30_000)])
    path = tmp_path / "ours.db"
    write(state_of(machine.snapshot(), ORIGIN), path)
    status = snapshot_status(path)  # it walks all pages, and fails if one is lost, or is used twice
    assert status["revision"] == 60_001
    with restored(path, tmp_path / "data") as etcd:
        assert etcd.json("get", "", "--prefix", "--keys-only", "--limit", "1")["count"] == 50_021


def test_an_empty_state_of_ours_is_an_empty_etcd(tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    write(state_of(KeyValue().snapshot(), Origin()), path)
    check_status(path, 0)
    with restored(path, tmp_path / "data") as etcd:
        assert etcd.all_items(0) == []
        assert etcd.json("put", "a", "b")["header"]["revision"] == 2


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealEtcd, Path]]:
    """A living etcd with a history, leases, users and roles, and a snapshot file that it made."""
    directory = tmp_path_factory.mktemp("theirs")
    with RealEtcd(directory / "data") as etcd:
        lease = f"{etcd.json('lease', 'grant', '3600')['ID']:x}"
        assert etcd.json("lease", "grant", "7200")["ID"]
        for i in range(12):
            etcd.json("put", f"k{i % 5}", f"v{i}" * (1000 if i == 7 else 1))
        etcd.json("put", "leased", "x", "--lease", lease)
        etcd.json("del", "k1")
        etcd.json("txn", stdin=b'\n\nput t1 "1"\nput t2 "2"\ndel k2\n\n\n')
        assert not etcd.run("compact", "9").returncode
        etcd.json("put", "k3", "last")
        for words in (
            "user add root:pw --interactive=false",
            "user grant-role root root",
            "user add nobody --no-password",
            "role add r",
            "role grant-permission r readwrite a z",
            "role grant-permission r read k --from-key",
            "user grant-role nobody r",
            "auth enable",
        ):
            assert not etcd.run(*words.split()).returncode
        etcd.user = "root:pw"
        path = directory / "theirs.db"
        assert not etcd.run("snapshot", "save", str(path)).returncode
        yield etcd, path


def test_our_reader_reads_etcds_snapshot(theirs: tuple[RealEtcd, Path]) -> None:
    etcd, path = theirs
    state, machine = read(path)
    check_status(path, state.revision)
    assert state.compacted == 9
    assert machine.revision() == state.revision == etcd.json("get", "none")["header"]["revision"]
    for revision in range(9, state.revision + 1):
        assert etcd.all_items(revision) == rows(machine, revision)
    listed = sorted(each["id"] for each in etcd.json("lease", "list")["leases"])
    assert [lease.id for lease in state.leases] == listed
    assert sorted(lease.ttl for lease in state.leases) == [3600, 7200]
    assert state.auth.enabled
    assert [user.name for user in state.auth.users] == ["nobody", "root"]
    assert [user.roles for user in state.auth.users] == [("r",), ("root",)]
    assert [user.no_password for user in state.auth.users] == [True, False]
    assert state.auth.users[1].password_hash.startswith(b"$2a$")
    assert [(p.kind, p.key, p.end) for p in state.auth.roles[0].permissions] == [(2, b"a", b"z"), (0, b"k", b"\0")]
    assert state.origin.cluster_version == "3.5.0"
    assert [member.name for member in state.origin.members] == ["n0"]
    assert state.origin.index > 20
    assert state.origin.term >= 2


def test_etcds_snapshot_read_and_written_by_us_is_again_an_etcd(theirs: tuple[RealEtcd, Path], tmp_path: Path) -> None:
    etcd, theirs_path = theirs
    state, _ = read(theirs_path)
    path = tmp_path / "ours.db"
    write(state, path)
    check_status(path, state.revision)
    with restored(path, tmp_path / "data") as again:
        again_status = again.run("get", "none")
        assert b"user name is empty" in again_status.stderr  # auth is on, as it was
        again.user = "root:pw"
        for revision in range(9, state.revision + 1):
            assert again.all_items(revision) == etcd.all_items(revision)
        for each in etcd.json("lease", "list")["leases"]:
            lease = f"{each['id']:x}"
            before, after = (one.json("lease", "timetolive", lease, "--keys") for one in (etcd, again))
            assert after["granted-ttl"] == before["granted-ttl"]
            assert after.get("keys") == before.get("keys")
        assert again.json("role", "get", "r")["perm"] == etcd.json("role", "get", "r")["perm"]
        assert again.json("user", "get", "nobody")["roles"] == ["r"]


def test_etcd_refuses_our_file_when_a_byte_of_it_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    machine = KeyValue()
    run(machine, [Put(b"a", b"b")])
    write(state_of(machine.snapshot(), Origin()), path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x0a\x01a\x10")] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(AssertionError, match="expected sha256"):
        restored(path, tmp_path / "data")


def test_the_statuses_hash_is_crc_32c() -> None:
    assert castagnoli(iter([b"123456789"])) == 0xE3069283
