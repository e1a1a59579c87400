"""What etcd 3.5 keeps in the buckets of its database (server/storage/schema, storage/mvcc, lease/leasepb, authpb).

| Bucket | Key | Value |
|---|---|---|
| `key` | revision (8 bytes), `_`, place within it (8); a deletion's has a `t` behind it | mvccpb.KeyValue |
| `lease` | id (8) | leasepb.Lease: id, TTL, remaining TTL |
| `meta` | `consistent_index`, `term` | 8 bytes each |
| | `storageVersion` | such as `3.6.0`, from etcd 3.6 on |
| | `scheduledCompactRev`, `finishedCompactRev` | a key of `key`: the compaction that began, that ended |
| `alarm` | AlarmMember: member, kind | nothing |
| `auth` | `authEnabled`, `authRevision` | one byte, 8 bytes |
| `authUsers`, `authRoles` | name | authpb.User, authpb.Role |
| `members`, `members_removed` | id in hexadecimal | JSON; `removed` |
| `cluster` | `clusterVersion` | such as `3.5.0` |

Numbers are big-endian. Where etcdutl has raised the revision (`--bump-revision`), the highest one has an empty value:
no event.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from coterie.etcd.backup.state import Lease, Member
from coterie.etcd.item_bytes import encoded_item
from coterie.etcd.protobuf import bytes_field, fields, integer_field, message_field, signed
from coterie.machine.kv.auth.protocol import Permission, PermissionKind
from coterie.machine.kv.auth.roles import Role, User
from coterie.machine.kv.data import tombstone
from coterie.machine.kv.protocol import AlarmKind, Item
from coterie.machine.kv.writing import MAX_KEY_BYTES, MAX_VALUE_BYTES

KEY = b"key"
LEASE = b"lease"
META = b"meta"
ALARM = b"alarm"
AUTH = b"auth"
AUTH_USERS = b"authUsers"
AUTH_ROLES = b"authRoles"
MEMBERS = b"members"
MEMBERS_REMOVED = b"members_removed"
CLUSTER = b"cluster"

CONSISTENT_INDEX = b"consistent_index"
TERM = b"term"
STORAGE_VERSION = b"storageVersion"
SCHEDULED_COMPACTION = b"scheduledCompactRev"
FINISHED_COMPACTION = b"finishedCompactRev"
AUTH_ENABLED = b"authEnabled"
AUTH_REVISION = b"authRevision"
CLUSTER_VERSION = b"clusterVersion"
REMOVED = b"removed"

_TOMBSTONE = b"t"
_place = struct.Struct(">QcQ")
_MAX_INT64 = (1 << 63) - 1


# Revisions


class Place(NamedTuple):
    """A key of the bucket `key`."""

    revision: int
    position: int
    deletion: bool


def place_key(revision: int, position: int, deletion: bool = False) -> bytes:
    """The key of what `revision` changed as its `position`-th."""
    return _place.pack(revision, b"_", position) + (_TOMBSTONE if deletion else b"")


def decode_place(key: bytes) -> Place:
    """The other way. Raises `ValueError`."""
    deletion = key[_place.size :] == _TOMBSTONE
    if len(key) != _place.size + deletion:
        raise ValueError(f"a revision's key has {_place.size} bytes, and perhaps a 't': {key[:32]!r}")
    revision, separator, position = _place.unpack_from(key)
    if separator != b"_" or revision > _MAX_INT64 or position > _MAX_INT64:
        raise ValueError(f"no revision's key: {key!r}")
    return Place(revision, position, deletion)


# Items


def encode_item(item: Item) -> bytes:
    """mvccpb.KeyValue; a deletion's has the key alone."""
    return encoded_item(item) if item.version else bytes_field(1, item.key)


def decode_item(place: Place, raw: bytes) -> Item:
    """The other way. Raises `ValueError`, too, where the message and its place do not agree."""
    key = value = b""
    create = mod = version = lease = 0
    for number, found in fields(raw):
        if isinstance(found, bytes):
            if number == 1:
                key = found
            elif number == 5:
                value = found
        elif number == 2:
            create = found
        elif number == 3:
            mod = found
        elif number == 4:
            version = found
        elif number == 6:
            lease = signed(found)
    if not 0 < len(key) <= MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
        raise ValueError(
            f"a key of {len(key)} bytes with a value of {len(value)}: a key has 1 to {MAX_KEY_BYTES}, "
            f"a value at most {MAX_VALUE_BYTES}"
        )
    if place.deletion:
        return tombstone(key, place.revision)
    if mod != place.revision or not 0 < create <= mod or not 0 < version <= mod - create + 1:
        raise ValueError(f"{key!r} of revision {place.revision} has mod {mod}, create {create}, version {version}")
    return Item(key, value, create, mod, version, lease)


# Leases


def lease_key(lease: int) -> bytes:
    """Where a lease stands; ids have a sign, and stand as if they had none."""
    return lease.to_bytes(8, "big", signed=True)


def encode_lease(lease: Lease) -> bytes:
    """leasepb.Lease."""
    return integer_field(1, lease.id) + integer_field(2, lease.ttl) + integer_field(3, lease.remaining)


def decode_lease(key: bytes, raw: bytes) -> Lease:
    """The other way. Raises `ValueError`."""
    numbers = {number: signed(found) for number, found in fields(raw) if isinstance(found, int)}
    lease = Lease(numbers.get(1, 0), numbers.get(2, 0), numbers.get(3, 0))
    if not lease.id or lease_key(lease.id) != key or lease.ttl <= 0 or lease.remaining < 0:
        raise ValueError(f"the lease {key.hex()} has id {lease.id}, TTL {lease.ttl}, remaining {lease.remaining}")
    return lease


# Alarms


def encode_alarm(member: int, kind: AlarmKind) -> bytes:
    """etcdserverpb.AlarmMember."""
    return integer_field(1, member) + integer_field(2, kind)


def decode_alarm(raw: bytes) -> tuple[int, AlarmKind]:
    """The other way. Raises `ValueError`."""
    numbers = {number: found for number, found in fields(raw) if isinstance(found, int)}
    return numbers.get(1, 0), AlarmKind(numbers.get(2, 0))


# Auth


def encode_user(user: User) -> bytes:
    """authpb.User. The options are there even if they say nothing: etcd looks into them unasked."""
    return (
        bytes_field(1, user.name.encode())
        + bytes_field(2, user.password_hash)
        + b"".join(message_field(3, role.encode()) for role in user.roles)
        + message_field(4, integer_field(1, user.no_password))
    )


def decode_user(raw: bytes) -> User:
    """The other way. Raises `ValueError`."""
    name = ""
    password_hash = b""
    roles: list[str] = []
    no_password = False
    for number, found in fields(raw):
        if not isinstance(found, bytes):
            continue
        if number == 1:
            name = found.decode()
        elif number == 2:
            password_hash = found
        elif number == 3:
            roles.append(found.decode())
        elif number == 4:
            no_password = any(inner == 1 and bool(value) for inner, value in fields(found))
    return User(name, password_hash, no_password, tuple(sorted(roles)))


def encode_role(role: Role) -> bytes:
    """authpb.Role."""
    permissions = (
        integer_field(1, each.kind) + bytes_field(2, each.key) + bytes_field(3, each.end) for each in role.permissions
    )
    return bytes_field(1, role.name.encode()) + b"".join(message_field(2, each) for each in permissions)


def decode_role(raw: bytes) -> Role:
    """The other way. Raises `ValueError`. etcd may have several permissions for the same keys (see
    `auth.commands`): they become one that allows what they do together."""
    name = ""
    kinds: dict[tuple[bytes, bytes], PermissionKind] = {}
    for number, found in fields(raw):
        if number == 1 and isinstance(found, bytes):
            name = found.decode()
        elif number == 2 and isinstance(found, bytes):
            each = _permission(found)
            kind = kinds.setdefault((each.key, each.end), each.kind)
            if kind is not each.kind:
                kinds[each.key, each.end] = PermissionKind.READWRITE
    return Role(name, tuple(Permission(kind, key, end) for (key, end), kind in sorted(kinds.items())))


def _permission(raw: bytes) -> Permission:
    kind = 0
    key = end = b""
    for number, found in fields(raw):
        if isinstance(found, bytes):
            if number == 2:
                key = found
            elif number == 3:
                end = found
        elif number == 1:
            kind = found
    if kind > max(PermissionKind):
        raise ValueError(f"a permission of kind {kind}")
    return Permission(PermissionKind(kind), key, end)


# Members


class _MemberJson(msgspec.Struct, rename={"peer_urls": "peerURLs", "client_urls": "clientURLs"}, omit_defaults=True):
    id: int
    peer_urls: list[str] | None = None
    name: str = ""
    client_urls: list[str] | None = None
    learner: bool = msgspec.field(default=False, name="isLearner")


def member_key(member: int) -> bytes:
    """Where a member stands: its id in hexadecimal, without leading zeros."""
    return f"{member:x}".encode()


def decode_member_key(key: bytes) -> int:
    """The other way. Raises `ValueError`."""
    member = int(key, 16)
    if member_key(member) != key or member >> 64:
        raise ValueError(f"no member's id: {key[:32]!r}")
    return member


def encode_member(member: Member) -> bytes:
    """membership.Member as JSON."""
    peers, clients = list(member.peer_urls), list(member.client_urls)
    return msgspec.json.encode(_MemberJson(member.id, peers, member.name, clients, member.learner))


def decode_member(raw: bytes) -> Member:
    """The other way. Raises `ValueError`."""
    found = msgspec.json.decode(raw, type=_MemberJson)
    return Member(found.id, found.name, tuple(found.peer_urls or ()), tuple(found.client_urls or ()), found.learner)
