"""A key-value machine's snapshot as a state that can be saved, and back.

Alarms are left out either way: they are about members, and a cluster that is made from a snapshot has others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coterie.core.types import Nanos, SnapshotMeta
from coterie.engine.protocol import NodeStatus
from coterie.etcd.backup.ports import Scratch
from coterie.etcd.backup.saving import SavedSnapshot, save
from coterie.etcd.backup.state import Auth, Lease, Member, Origin, State
from coterie.machine.chunks import pack, unpack
from coterie.machine.kv.auth.roles import Role, User
from coterie.machine.kv.auth.store import FIRST_REVISION, AuthStore
from coterie.machine.kv.auth.stored import AuthRecord, AuthState
from coterie.machine.kv.filling import placed
from coterie.machine.kv.hashing import hash_of
from coterie.machine.kv.leases import MIN_TTL_S, SECOND, LeaseRecord, LeaseTable
from coterie.machine.kv.protocol import HashReply
from coterie.machine.kv.snapshots import header_of, read_contents, records
from coterie.machine.persistence import SnapshotView

CLUSTER_VERSION = "3.5.0"
"""Of etcd, as clients and its tools are told."""


def state_of(chunks: Iterable[bytes], origin: Origin) -> State:
    """The state in a machine's snapshot (`KeyValue.snapshot`, `frozen`, `stored_chunks`), whose items are read as
    `State.items` is iterated. Raises `ValueError` if it is no such snapshot, then too.

    Leases begin their lives anew when the state is restored, as with etcd's own snapshots.
    """
    contents = read_contents(unpack(chunks))
    return State(
        contents.revision,
        contents.compacted,
        contents.items,
        leases=tuple(Lease(id, ttl) for id, ttl, _ in contents.leases),
        auth=_auth(contents.auth),
        origin=origin,
    )


def save_view(view: SnapshotView, origin: Origin, scratch: Scratch) -> SavedSnapshot:
    """The state in a view as a file; in any thread. Raises what `save` raises."""
    return save(state_of(_machine_chunks(view), origin), scratch)


def hash_view(view: SnapshotView, revision: int) -> HashReply:
    """The hash of the items in a view up to a revision (0: all); in any thread. Raises `ValueError`."""
    contents = read_contents(unpack(_machine_chunks(view)))
    last = revision if revision > 0 else contents.revision
    return HashReply(contents.revision, hash_of(contents.items, last), contents.compacted)


def _machine_chunks(view: SnapshotView) -> Iterator[bytes]:
    """The machine's part of a host's snapshot (`persistence.tagged_records`)."""
    for record in unpack(view.chunks()):
        if record[:1] == b"M":
            yield record[1:]


def origin_of(status: NodeStatus, meta: SnapshotMeta, secure: bool) -> Origin:
    """Where a snapshot at `meta` is from. `secure`: whether addresses are of TLS."""
    scheme = "https" if secure else "http"
    members = tuple(
        Member(
            member.id,
            member.name,
            (f"{scheme}://{member.peer}",),
            (f"{scheme}://{member.client}",) if member.client else (),
            not member.voter,
        )
        for member in status.members
    )
    return Origin(meta.index, meta.epoch.round, CLUSTER_VERSION, members)


def chunks_of(state: State, time: Nanos = 0) -> Iterator[bytes]:
    """The machine's snapshot with this state: what `KeyValue.restore` and `fill` take. `time`: the cluster time at
    which it is restored, from which leases live; a new cluster's begins at 0.

    Raises `ValueError`, also at the end, if it is a state that a machine would refuse."""
    header = header_of(state.revision, state.compacted)
    leases = sorted(_lease(lease, time) for lease in state.leases)
    AuthStore(_auth_records(state.auth))
    items = (item for item, _ in placed(state.revision, state.compacted, state.items))
    return pack(records(header, (), _auth_records(state.auth), leases, LeaseTable(leases).watch(items)))


def _lease(lease: Lease, time: Nanos) -> LeaseRecord:
    ttl = max(lease.ttl, MIN_TTL_S)
    return lease.id, ttl, time + (lease.remaining or ttl) * SECOND


def _auth(found: list[AuthRecord]) -> Auth:
    state = next((record for record in found if isinstance(record, AuthState)), AuthState(False, FIRST_REVISION))
    users = tuple(record for record in found if isinstance(record, User))
    roles = tuple(record for record in found if isinstance(record, Role))
    return Auth(state.enabled, state.revision, users, roles)


def _auth_records(auth: Auth) -> Iterator[AuthRecord]:
    """In the order of `AuthStore.records`."""
    if auth.enabled or auth.revision > FIRST_REVISION:
        yield AuthState(auth.enabled, auth.revision)
    yield from auth.users
    yield from auth.roles
