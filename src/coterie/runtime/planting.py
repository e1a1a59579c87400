"""The first start of a member whose data directory holds a restored state (`storage.seed`).

Its log begins as one that was compacted: after an entry that made the first members, on top of the state. So every
member begins with the same state at the same entry, and whoever joins later gets it like any other snapshot.

The order is what makes a crash harmless: the snapshot, then the log that begins after it, then the note that this
member has started; whatever is missing then is made again, and the seed goes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from coterie.core.types import Member, Membership, SnapshotMeta
from coterie.machine.chunks import pack
from coterie.machine.host_state import CHAIN_BYTES, FIRST_SETTINGS
from coterie.machine.interface import StateMachine
from coterie.machine.loading import machine_name
from coterie.machine.persistence import FORMAT, HostRecord, tagged_records
from coterie.runtime.errors import StartFailed
from coterie.storage.directory import DataDirectory
from coterie.storage.files import Files
from coterie.storage.first_entry import cluster_id, first_entry
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.refusal import DirectoryRefused, Refusal
from coterie.storage.seed import Seed, find_seed
from coterie.storage.snapshots import SnapshotDirectory

_membership_decoder: msgspec.msgpack.Decoder[Membership] = msgspec.msgpack.Decoder(Membership)


def check_machine(directory: DataDirectory, machine: StateMachine) -> None:
    """Raise `StartFailed` if a state was restored that this machine cannot begin with: it is a key-value store's."""
    if not directory.restored or directory.cluster is not None:
        return
    from coterie.machine.kv import KeyValue  # whose nodes run another machine need not load it

    if not isinstance(machine, KeyValue):
        raise StartFailed(
            f"a snapshot file was restored into {directory.path}, for a key-value store, which {machine_name(machine)} "
            "is not",
            advice="start the member without --machine, or with an empty data directory",
        )


def begin_restored(files: Files, directory: DataDirectory, members: tuple[Member, ...]) -> int:
    """Make snapshot and log of the cluster of these first members, on top of the directory's seed; returns the
    cluster's id. Raises `DirectoryRefused`, `StorageError`, `OSError`."""
    seed = _seed_of(files, directory)
    index, state = seed.parted()
    entry = first_entry(members, index)
    cluster = cluster_id(entry, directory.restored)
    chain = blake2b(directory.restored, digest_size=CHAIN_BYTES).digest()
    membership = _membership_decoder.decode(entry.payload)
    record = HostRecord(FORMAT, index, entry.epoch, 0, chain, membership, FIRST_SETTINGS, [])
    snapshots = SnapshotDirectory(files, directory.snapshot_directory, cluster)
    try:
        meta = _write_snapshot(snapshots, record, state)
    finally:
        snapshots.close()
    header = LogHeader(cluster, directory.member_id, directory.protocol)
    LogStore.create(files, directory.log_directory, header, (), base=meta).close()
    directory.mark_started(cluster)
    return cluster


def _seed_of(files: Files, directory: DataDirectory) -> Seed:
    """The seed, with the digest that the other members were told. Raises `DirectoryRefused`."""
    seed = find_seed(files, directory.path)
    if seed is None or seed.digest() != directory.restored:
        raise DirectoryRefused(
            Refusal.DAMAGED,
            f"the state that was restored into {directory.path} is gone, or another one",
            advice="remove the data directories of all initial members, and restore the snapshot file again: no "
            "member has started",
        )
    return seed


def _write_snapshot(snapshots: SnapshotDirectory, record: HostRecord, state: Iterator[bytes]) -> SnapshotMeta:
    meta = record.meta()
    writer = snapshots.create(meta)
    try:
        for chunk in pack(tagged_records(record, (), state)):
            writer.write(chunk)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return meta
