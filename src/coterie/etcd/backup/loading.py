"""The state that an etcd snapshot file holds: etcd's own, or ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import TypeVar

import msgspec

from coterie.etcd.backup import etcd_buckets as buckets
from coterie.etcd.backup.bolt_reader import BoltReader, Entry
from coterie.etcd.backup.errors import BadSnapshot
from coterie.etcd.backup.etcd_buckets import Place, decode_item, decode_place, place_key
from coterie.etcd.backup.ports import Scratch, SourceFile
from coterie.etcd.backup.saving import SHA_BYTES
from coterie.etcd.backup.sorting import Sorter
from coterie.etcd.backup.state import Auth, Lease, Member, Origin, State
from coterie.machine.kv.data import FIRST_REVISION, NEVER
from coterie.machine.kv.protocol import AlarmKind, Item

READ_BYTES = 1024 * 1024
SECTOR_BYTES = 512
"""A database is made of whole ones: what is beyond them is a hash, or the file is cut."""
MAX_FILE_BYTES = 1 << 40
MAX_REVISION = 1 << 62
"""A higher one is refused: revisions must not run out."""
NEWEST_LAYOUT = (3, 6)
"""Of etcd's versions, the newest whose buckets are known."""
MAX_LEASES = 1 << 20
MAX_SMALL = 1 << 16
"""Users, roles, members, removed members, alarms: at most so many of each."""

_Decoded = TypeVar("_Decoded")


def load(source: SourceFile, scratch: Scratch, *, verify: bool = True, bump: int = 0) -> State:
    """Check the file and read it. Its hash is verified first, so what is found wrong later was wrong when it was
    written. Raises `BadSnapshot`, also while `State.items` are iterated; may raise `OSError`.

    `verify`: False: the hash is not looked at, and need not be there. `bump`: by so much the revision is raised, and
    everything before is compacted; 0: neither.

    The items come in the order of `Data.items`, in bounded memory (`sorting.RUN_BYTES`). A compaction that had only
    begun is finished. etcd forgets what the compaction's own revision deleted: that revision then has fewer events
    than in the cluster that the file is from, perhaps none.
    """
    reader = BoltReader(source, check_hash(source) if verify else database_length(source))
    _check_version(reader)
    compacted = _compacted(reader)
    last = reader.last(buckets.KEY)
    newest = FIRST_REVISION if last is None else _decode(last, lambda entry: decode_place(entry.key)).revision
    revision = max(newest, compacted, FIRST_REVISION) + bump
    if revision > MAX_REVISION:
        raise BadSnapshot(0, f"revision {revision}, raised by {bump}: the limit is {MAX_REVISION}")
    if bump:
        compacted = revision
    return State(
        revision=revision,
        compacted=compacted,
        items=_Items(reader, compacted, scratch),
        leases=_all(reader, buckets.LEASE, _lease, MAX_LEASES),
        alarms=_all(reader, buckets.ALARM, _alarm),
        auth=_auth(reader),
        origin=_origin(reader),
    )


def check_hash(source: SourceFile) -> int:
    """Compare the database with the hash behind it; returns the database's length in bytes.

    Raises `BadSnapshot`: also for a database without a hash, as a copy of a member's file is.
    """
    size = source.size()
    length = size - SHA_BYTES
    _check_size(size)
    if length < SECTOR_BYTES or size % SECTOR_BYTES != SHA_BYTES:
        raise BadSnapshot(
            size, f"the file has {size} bytes: not whole sectors of {SECTOR_BYTES} and a hash of {SHA_BYTES}"
        )
    digest = sha256()
    at = 0
    while at < length:
        part = source.read_at(at, min(READ_BYTES, length - at))
        if not part:
            raise BadSnapshot(at, f"the file ends here, of {size} bytes")
        digest.update(part)
        at += len(part)
    if source.read_at(length, SHA_BYTES) != digest.digest():
        raise BadSnapshot(length, "the hash is not the database's: some byte before is not what was written")
    return length


def database_length(source: SourceFile) -> int:
    """The database's length in bytes, in a file that may have a hash behind it. Raises `BadSnapshot`."""
    size = source.size()
    _check_size(size)
    rest = size % SECTOR_BYTES
    if size - rest < SECTOR_BYTES or rest not in (0, SHA_BYTES):
        raise BadSnapshot(
            size, f"the file has {size} bytes: not whole sectors of {SECTOR_BYTES}, nor with a hash of {SHA_BYTES}"
        )
    return size - rest


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise BadSnapshot(MAX_FILE_BYTES, f"the file has {size} bytes: the limit is {MAX_FILE_BYTES}")


def _check_version(reader: BoltReader) -> None:
    """Etcd 3.6 and later say in which version's layout the buckets are; before, there was but one."""
    found = _one(reader, buckets.META, buckets.STORAGE_VERSION, bytes.decode)
    if found is None:
        return
    numbers = found.split(".")
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers) or len(numbers) < 2:
        raise BadSnapshot(0, f"storageVersion is {found[:40]!r}: no version")
    if (int(numbers[0]), int(numbers[1])) > NEWEST_LAYOUT:
        known = ".".join(map(str, NEWEST_LAYOUT))
        raise BadSnapshot(0, f"storageVersion is {found[:40]}: the newest layout that is known is etcd {known}'s")


# Items


class _Items:
    """In the order of `Data.items`: by key what is older than the compaction; then, by revision, what came since.
    They are read anew each time."""

    def __init__(self, reader: BoltReader, compacted: int, scratch: Scratch) -> None:
        self._reader = reader
        self._compacted = compacted
        self._scratch = scratch

    def __iter__(self) -> Iterator[Item]:
        first = max(self._compacted, FIRST_REVISION + 1)
        sorter = Sorter(self._scratch)
        try:
            for entry in _until(self._reader, self._compacted):
                place, item = _decode(entry, _item)
                if item is None:
                    continue
                # an event hides the key's older items, and comes later by itself
                sorter.add(item.key, entry.key + (entry.value if place.revision < first else b""))
            yield from _survivors(sorter, first)
        finally:
            sorter.close()
        yield from _events(self._reader, first, self._compacted)


def _item(entry: Entry) -> tuple[Place, Item | None]:
    """None: nothing was changed, the revision was raised to this one by etcdutl."""
    place = decode_place(entry.key)
    if not entry.value and not place.deletion:
        return place, None
    return place, decode_item(place, entry.value)


def _until(reader: BoltReader, compacted: int) -> Iterator[Entry]:
    end = place_key(compacted + 1, 0) if compacted > FIRST_REVISION else b""
    for entry in reader.items(buckets.KEY):
        if entry.key >= end:
            return
        yield entry


def _survivors(sorter: Sorter, first: int) -> Iterator[Item]:
    """Of each key the newest item, unless it is a deletion or is among the events."""
    newest: tuple[bytes, bytes] | None = None
    for pair in sorter.pairs():  # equal keys in the order of their revisions
        if newest is not None and newest[0] != pair[0]:
            yield from _survivor(newest[1], first)
        newest = pair
    if newest is not None:
        yield from _survivor(newest[1], first)


def _survivor(raw: bytes, first: int) -> Iterator[Item]:
    """The item, if it stays. It was decoded before, so it can be."""
    width = len(place_key(0, 0))
    width += raw[width : width + 1] == b"t"
    place = decode_place(raw[:width])
    if place.revision < first and not place.deletion:
        yield decode_item(place, raw[width:])


def _events(reader: BoltReader, first: int, compacted: int) -> Iterator[Item]:
    at = first - 1
    keys: set[bytes] = set()
    for entry in reader.items(buckets.KEY, place_key(first, 0)):
        place, item = _decode(entry, _item)
        revision = place.revision
        if revision != at:
            if revision != at + 1 and not (at + 1 == compacted and revision == at + 2):
                raise BadSnapshot(entry.offset, f"revision {revision} after {at}")
            at = revision
            keys.clear()
        if item is None:
            continue
        if item.key in keys:
            raise BadSnapshot(entry.offset, f"the key {item.key!r} twice in revision {revision}")
        keys.add(item.key)
        yield item


# Everything else


def _decode(entry: Entry, decode: Callable[[Entry], _Decoded]) -> _Decoded:
    """What the entry says; where it makes no sense, a `BadSnapshot` says where it stands."""
    try:
        return decode(entry)
    except (ValueError, msgspec.DecodeError) as error:  # a UnicodeDecodeError is a ValueError
        raise BadSnapshot(entry.offset, str(error)) from error


def _all(
    reader: BoltReader, bucket: bytes, decode: Callable[[Entry], _Decoded], limit: int = MAX_SMALL
) -> tuple[_Decoded, ...]:
    """All of a bucket."""
    found: list[_Decoded] = []
    for entry in reader.items(bucket):
        if len(found) >= limit:
            raise BadSnapshot(entry.offset, f"more than {limit} entries in the bucket {bucket!r}")
        found.append(_decode(entry, decode))
    return tuple(found)


def _one(reader: BoltReader, bucket: bytes, key: bytes, decode: Callable[[bytes], _Decoded]) -> _Decoded | None:
    """The value of one key of a bucket, if it is there."""
    entry = next(reader.items(bucket, key), None)
    return None if entry is None or entry.key != key else _decode(entry, lambda each: decode(each.value))


def _compacted(reader: BoltReader) -> int:
    found = [
        _one(reader, buckets.META, name, decode_place)
        for name in (buckets.FINISHED_COMPACTION, buckets.SCHEDULED_COMPACTION)
    ]
    return max((place.revision for place in found if place is not None), default=NEVER)


def _lease(entry: Entry) -> Lease:
    return buckets.decode_lease(entry.key, entry.value)


def _alarm(entry: Entry) -> tuple[int, AlarmKind]:
    return buckets.decode_alarm(entry.key)


def _member(entry: Entry) -> Member:
    member = buckets.decode_member(entry.value)
    if buckets.member_key(member.id) != entry.key:
        raise ValueError(f"member {member.id:x} under the key {entry.key!r}")
    return member


def _auth(reader: BoltReader) -> Auth:
    return Auth(
        enabled=_one(reader, buckets.AUTH, buckets.AUTH_ENABLED, lambda value: value == b"\x01") or False,
        revision=_one(reader, buckets.AUTH, buckets.AUTH_REVISION, _number) or 0,
        users=_all(reader, buckets.AUTH_USERS, lambda entry: buckets.decode_user(entry.value)),
        roles=_all(reader, buckets.AUTH_ROLES, lambda entry: buckets.decode_role(entry.value)),
    )


def _origin(reader: BoltReader) -> Origin:
    return Origin(
        index=_one(reader, buckets.META, buckets.CONSISTENT_INDEX, _number) or 0,
        term=_one(reader, buckets.META, buckets.TERM, _number) or 0,
        cluster_version=_one(reader, buckets.CLUSTER, buckets.CLUSTER_VERSION, bytes.decode) or "",
        members=_all(reader, buckets.MEMBERS, _member),
        removed=_all(reader, buckets.MEMBERS_REMOVED, lambda entry: buckets.decode_member_key(entry.key)),
    )


def _number(value: bytes) -> int:
    if len(value) != 8:
        raise ValueError(f"a number of {len(value)} bytes; it has 8")
    return int.from_bytes(value, "big")
