"""A state as an etcd snapshot file: a bbolt database, and the SHA-256 of its bytes behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from coterie.etcd.backup import etcd_buckets as buckets
from coterie.etcd.backup.bolt import BoltWriter
from coterie.etcd.backup.ports import Scratch, ScratchFile
from coterie.etcd.backup.sorting import Sorter
from coterie.etcd.backup.state import State
from coterie.machine.kv.data import FIRST_REVISION
from coterie.machine.kv.protocol import Item

CHUNK_BYTES = 32 * 1024
"""Of what is sent at a time, as etcd does it."""
SHA_BYTES = 32

_Pairs = Iterable[tuple[bytes, bytes]]


class Chunk(NamedTuple):
    """A piece of the file, as one message of Maintenance.Snapshot carries it."""

    blob: bytes
    remaining: int
    """Bytes of the database that are still to come; the hash, which comes last, is not counted (nor does etcd)."""


class SavedSnapshot:
    """A finished file, to be sent once. Close it, sent or not."""

    def __init__(self, file: ScratchFile, database_bytes: int) -> None:
        self._file = file
        self.database_bytes = database_bytes

    @property
    def length(self) -> int:
        """Of the whole file, in bytes."""
        return self.database_bytes + SHA_BYTES

    def chunks(self) -> Iterator[Chunk]:
        """The file in order; the last chunk is the hash. May raise `OSError`."""
        digest = sha256()
        sent = 0
        while sent < self.database_bytes:
            blob = self._file.read_at(sent, min(CHUNK_BYTES, self.database_bytes - sent))
            if not blob:
                raise OSError(f"the scratch file has lost what was written at byte {sent}")
            digest.update(blob)
            sent += len(blob)
            yield Chunk(blob, self.database_bytes - sent)
        yield Chunk(digest.digest(), 0)

    def close(self) -> None:
        """Let go of the scratch file."""
        self._file.close()


def save(state: State, scratch: Scratch) -> SavedSnapshot:
    """Write the database into a scratch file of about the size of the data; in any thread.

    Memory: `sorting.RUN_BYTES` and a page for each level of the trees, whatever the state's size; leases, members
    and auth are held as they are. May raise `OSError`; `ValueError` if `state.items` are not as `Data.items`
    gives them.
    """
    file = scratch()
    try:
        writer = BoltWriter(file)
        sorter = Sorter(scratch)
        try:
            writer.bucket(buckets.KEY, _key_pairs(state, sorter))
        finally:
            sorter.close()
        for name, pairs in _small_buckets(state):
            writer.bucket(name, sorted(pairs))
        return SavedSnapshot(file, writer.finish())
    except BaseException:
        file.close()
        raise


def _key_pairs(state: State, sorter: Sorter) -> Iterator[tuple[bytes, bytes]]:
    """The bucket `key`, by revision. What a compaction left comes by key: it is sorted first. Where in its revision
    it once stood nobody knows any more; within one revision, then, it is put in the order of its keys."""
    first = max(state.compacted, FIRST_REVISION + 1)
    items = iter(state.items)
    event: Item | None = None
    for item in items:
        if item.mod >= first:
            event = item
            break
        sorter.add(item.mod.to_bytes(8, "big") + item.key, buckets.encode_item(item))
    before, position = 0, 0
    for key, value in sorter.pairs():
        revision = int.from_bytes(key[:8], "big")
        position = position + 1 if revision == before else 0
        before = revision
        yield buckets.place_key(revision, position), value
    while event is not None:
        if event.mod < before:
            raise ValueError(f"revision {event.mod} of {event.key!r} after {before}: out of place")
        position = position + 1 if event.mod == before else 0
        before = event.mod
        yield buckets.place_key(before, position, not event.version), buckets.encode_item(event)
        event = next(items, None)
    if before != state.revision and FIRST_REVISION < state.revision != state.compacted:
        raise ValueError(f"the items end at revision {before}, not at {state.revision}: are they read a second time?")


def _small_buckets(state: State) -> Iterator[tuple[bytes, _Pairs]]:
    """All the others."""
    origin, auth = state.origin, state.auth
    yield buckets.LEASE, [(buckets.lease_key(lease.id), buckets.encode_lease(lease)) for lease in state.leases]
    meta = [(buckets.CONSISTENT_INDEX, origin.index.to_bytes(8, "big")), (buckets.TERM, origin.term.to_bytes(8, "big"))]
    if state.compacted >= FIRST_REVISION:
        place = buckets.place_key(state.compacted, 0)
        meta += [(buckets.SCHEDULED_COMPACTION, place), (buckets.FINISHED_COMPACTION, place)]
    yield buckets.META, meta
    yield buckets.ALARM, [(buckets.encode_alarm(member, kind), b"") for member, kind in state.alarms]
    yield (
        buckets.AUTH,
        [
            (buckets.AUTH_ENABLED, bytes([auth.enabled])),
            (buckets.AUTH_REVISION, auth.revision.to_bytes(8, "big")),
        ]
        if auth.revision
        else [],
    )
    yield buckets.AUTH_USERS, [(user.name.encode(), buckets.encode_user(user)) for user in auth.users]
    yield buckets.AUTH_ROLES, [(role.name.encode(), buckets.encode_role(role)) for role in auth.roles]
    yield buckets.MEMBERS, [(buckets.member_key(each.id), buckets.encode_member(each)) for each in origin.members]
    yield buckets.MEMBERS_REMOVED, [(buckets.member_key(member), buckets.REMOVED) for member in origin.removed]
    version = origin.cluster_version
    yield buckets.CLUSTER, [(buckets.CLUSTER_VERSION, version.encode())] if version else []
