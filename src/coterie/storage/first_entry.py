"""The log's first entry, the same at every initial member, and the cluster id that is made from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import NO_EPOCH, NOBODY, Entry, EntryKind, Index, Member

CLUSTER_ID_BYTES = 8
_PERSON = b"coterie cluster"
"""Keeps these hashes apart from any other use of BLAKE2b over the same bytes (RFC 7693, 2.5 has the field)."""


def first_entry(members: Sequence[Member], index: Index = 1) -> Entry:
    """The first entry of a cluster whose initial members, all voters, are these; in any order. Its index is 1, but for
    a cluster that was restored from a snapshot file.

    It has epoch (0, 0), which no leader's entry has: it was chosen when all members fixed the same set.
    Raises `ConfigurationError` if there is no member, or two share an id or a name.
    """
    ordered = tuple(sorted(members, key=lambda member: member.id))
    ids = tuple(member.id for member in ordered)
    if not ids:
        raise ConfigurationError("a cluster needs at least one initial member")
    if NOBODY in ids or len(set(ids)) != len(ids):
        raise ConfigurationError(f"the ids of initial members must differ, and none may be 0: {ids}")
    if len({member.name for member in ordered}) != len(ordered):
        names = ", ".join(member.name for member in ordered)
        raise ConfigurationError(f"the names of initial members must differ: {names}")
    # Without what later versions added to a member: the cluster's id is made from these very bytes.
    # (It is a `Membership`, as MessagePack has it.)
    plain = tuple((member.id, member.name, member.peer, member.client) for member in ordered)
    payload = msgspec.msgpack.encode((plain, ids, (), (), 0, 0))
    return Entry(index=index, epoch=NO_EPOCH, kind=EntryKind.MEMBERSHIP, elapsed=0, payload=payload)


def cluster_id(entry: Entry, restored: bytes = b"") -> int:
    """64 bits that name the cluster that began with this entry, on top of the state with the digest `restored`, if any;
    never 0."""
    digest = hashlib.blake2b(
        msgspec.msgpack.encode(entry) + restored, digest_size=CLUSTER_ID_BYTES, person=_PERSON
    ).digest()
    return int.from_bytes(digest, "big") or 1
