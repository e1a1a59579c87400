"""The first start on top of a restored state: the same at every member, whatever crashes in between."""

from __future__ import annotations

from random import Random

import pytest
from examples.bank import Bank

from coterie.core.protocols import PROTOCOLS
from coterie.core.types import Member
from coterie.machine.host import Host
from coterie.machine.interface import Batch
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import Grant, Put, encoder
from coterie.runtime.errors import StartFailed
from coterie.runtime.planting import begin_restored, check_machine
from coterie.sim.disk import SimulatedFile, SimulatedFiles
from coterie.storage.directory import DataDirectory, DirectoryRefused
from coterie.storage.first_entry import cluster_id, first_entry
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.seed import INDEX_BYTES, remove_seed, write_seed
from coterie.storage.snapshots import SnapshotDirectory

INDEX = 5_000_000_000
HEAD = INDEX.to_bytes(INDEX_BYTES, "big")


def machine() -> KeyValue:
    made = KeyValue()
    commands = [Grant(7, 60), Put(b"a", b"1"), Put(b"b", b"2" * 300_000, lease=7)]
    bodies = [encoder.encode(command) for command in commands]
    made.apply(Batch(1, 0, range(len(bodies)), bodies))
    return made


def members_with(directory: DataDirectory) -> tuple[Member, ...]:
    own = Member(directory.member_id, directory.name, f"{directory.name}:1", f"{directory.name}:2")
    return tuple(
        own if name == directory.name else Member(1000 + number, name, f"{name}:1", f"{name}:2")
        for number, name in enumerate(("n0", "n1", "n2"))
    )


def host_of(files: SimulatedFiles, directory: DataDirectory, cluster: int) -> Host:
    """The host, as the engine has it at a start."""
    header = LogHeader(cluster, directory.member_id, directory.protocol)
    log = LogStore.open(files, directory.log_directory, header)
    snapshots = SnapshotDirectory(files, directory.snapshot_directory, cluster)
    snapshot = snapshots.newest(log.recovered.base.index)
    assert snapshot is not None
    assert snapshot.meta == log.recovered.base
    assert log.recovered.last_index == INDEX
    host = Host(KeyValue())
    host.restore(snapshots.chunks(snapshot.meta))
    log.close()
    return host


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_member_begins_with_the_same_state_at_the_same_entry(protocol: str) -> None:
    digests: set[bytes] = set()
    clusters: set[int] = set()
    members: tuple[Member, ...] = ()
    for number in range(3):
        files = SimulatedFiles()
        files.make_directory("data")
        digest = write_seed(files, "data", [HEAD, *machine().snapshot()])
        minted = iter([1000 + number, 55])
        directory = DataDirectory.open(files, "data", f"n{number}", protocol, mint=minted.__next__)
        members = members_with(directory)
        directory.fix_first_members(members)
        cluster = begin_restored(files, directory, members)
        remove_seed(files, "data")
        survived = files.durable_files()
        host = host_of(survived, directory, cluster)
        assert host.machine.digest() == machine().digest()
        assert host.applied == INDEX
        assert host.membership.voters == tuple(member.id for member in members)
        assert cluster != cluster_id(first_entry(members, INDEX))
        assert cluster == cluster_id(first_entry(members, INDEX), digest)
        digests.add(host.digest())
        clusters.add(cluster)
    assert (len(digests), len(clusters)) == (1, 1)


class Died(BaseException):
    """The power is gone."""


class DyingFiles(SimulatedFiles):
    """A disk whose machine loses power before the n-th change."""

    left = 0

    def change(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Died

    def open(self, path: str, *, create: bool = False) -> SimulatedFile:
        if create:
            self.change()
        return super().open(path, create=create)

    def rename(self, old: str, new: str) -> None:
        self.change()
        super().rename(old, new)

    def remove(self, path: str) -> None:
        self.change()
        super().remove(path)

    def sync_directory(self, path: str) -> None:
        self.change()
        super().sync_directory(path)


def first_start(files: SimulatedFiles) -> tuple[DataDirectory, int]:
    """As a node does it; the directory and the cluster's id."""
    directory = DataDirectory.open(files, "data", "n0", "raft", mint=lambda: 1000)
    cluster = directory.cluster
    if cluster is None:
        members = members_with(directory)
        directory.fix_first_members(members)
        cluster = begin_restored(files, directory, members)
    remove_seed(files, "data")
    return directory, cluster


def test_a_first_start_goes_on_wherever_the_power_failed() -> None:
    found: set[tuple[int, bytes]] = set()
    at, died = 0, True
    while died:
        at += 1
        files = DyingFiles()
        files.make_directory("data")
        write_seed(files, "data", [HEAD, *machine().snapshot()])
        files.sync_all()
        files.left = at
        died = False
        try:
            directory, cluster = first_start(files)
        except Died:
            died = True
            files.crash(Random(at), power=True)
            directory, cluster = first_start(files)
        files.left = 0
        found.add((cluster, host_of(files, directory, cluster).digest()))
    assert at > 10
    assert len(found) == 1


def test_a_state_that_was_exchanged_for_another_is_refused() -> None:
    files = SimulatedFiles()
    files.make_directory("data")
    write_seed(files, "data", [HEAD, *machine().snapshot()])
    directory = DataDirectory.open(files, "data", "n0", "raft", mint=lambda: 1000)
    members = members_with(directory)
    directory.fix_first_members(members)
    remove_seed(files, "data")
    with pytest.raises(DirectoryRefused, match="is gone, or another one"):
        begin_restored(files, directory, members)
    assert directory.cluster is None


def test_another_machine_than_a_key_value_store_cannot_begin_with_it() -> None:
    files = SimulatedFiles()
    files.make_directory("data")
    write_seed(files, "data", [HEAD, *machine().snapshot()])
    directory = DataDirectory.open(files, "data", "n0", "raft")
    check_machine(directory, KeyValue())
    with pytest.raises(StartFailed, match=r"for a key-value store, which examples\.bank:Bank is not"):
        check_machine(directory, Bank())
