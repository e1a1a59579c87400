"""The key-value machine once more, as plainly as it can be said: what etcd's API promises of every command.

It is told each command and each passing of time in the log's order, by whichever replica is the first to apply it, and
works out for itself what must come of it. Nothing is shared with the shipped machine but the commands' own classes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from coterie.core.types import Nanos
from coterie.machine.kv import protocol as kv

SECOND: Final[Nanos] = 1_000_000_000
LEAST_TTL_S: Final = 2
"""etcd raises shorter ones: half as much again as its default election takes (server/lease/lessor.go)."""
ALL: Final = b"\0"
"""As the end of a range: to the last key."""


class Change(NamedTuple):
    """One event: what a revision made of a key."""

    item: kv.Item
    """Version 0: deleted."""
    before: kv.Item | None
    """What was there."""

    @property
    def put(self) -> bool:
        return self.item.version > 0


class Leased(msgspec.Struct):
    """A lease that lives."""

    id: int
    ttl: int
    """Seconds."""
    deadline: Nanos
    """Cluster time."""


class Ended(NamedTuple):
    """A lease that has ended."""

    lease: Leased
    keys: tuple[bytes, ...]
    expired: bool
    """False: it was revoked."""


def within(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether the key is `start` (`end` empty), or in [start, end) as etcd writes ranges."""
    if not end:
        return key == start
    return key >= start and (end == ALL or key < end)


class Model:
    """Keys, their history, and leases."""

    def __init__(self) -> None:
        self.revision = 1
        """As etcd: the first write makes revision 2."""
        self.compacted = -1
        self.events: list[tuple[Change, ...]] = [(), ()]
        """Each revision's changes, in their order."""
        self.leases: dict[int, Leased] = {}
        self.ended: list[Ended] = []
        """Those that ended with the newest command, or passing of time."""
        self._items: dict[bytes, kv.Item] = {}
        self._mods: dict[bytes, list[int]] = {}
        self._past: dict[bytes, list[kv.Item | None]] = {}
        self._new: list[Change] = []
        """Changes of the command that runs."""

    # -- what is there -------------------------------------------------------------------------

    def item(self, key: bytes, revision: int = 0) -> kv.Item | None:
        """The key's item as of a revision (0: now)."""
        if not revision:
            return self._items.get(key)
        at = bisect_right(self._mods.get(key, ()), revision)
        return self._past[key][at - 1] if at else None

    def range(self, key: bytes, end: bytes, revision: int = 0) -> tuple[kv.Item, ...]:
        """The items of a range, by key, as of a revision (0: now)."""
        found = (self.item(each, revision) for each in sorted(self._mods) if within(each, key, end))
        return tuple(item for item in found if item is not None)

    def changes(self, key: bytes, end: bytes, first: int, last: int) -> list[Change]:
        """What happened to the keys of a range from revision `first` to `last`."""
        revisions = self.events[max(first, 0) : last + 1]
        return [change for changes in revisions for change in changes if within(change.item.key, key, end)]

    def keys_of(self, lease: int) -> tuple[bytes, ...]:
        """What is attached to a lease."""
        return tuple(sorted(item.key for item in self._items.values() if item.lease == lease))

    def overdue(self, time: Nanos) -> list[Leased]:
        """Leases whose time is over at this cluster time, in the order in which they end."""
        due = [lease for lease in self.leases.values() if lease.deadline <= time]
        return sorted(due, key=lambda lease: (lease.deadline, lease.id))

    # -- what happens --------------------------------------------------------------------------

    def pass_time(self, time: Nanos) -> None:
        """Cluster time has come so far."""
        self.ended = []
        for lease in self.overdue(time):
            self._end(lease, expired=True)

    def run(self, command: kv.Command, reply: kv.Reply, time: Nanos) -> kv.Reply | None:
        """Run a command that was not refused; what its reply must be, None if that is not for here to say. `reply`: as
        the machine gave it, where the machine has a choice (a lease's id)."""
        self.ended = []
        if isinstance(command, kv.Put):
            return self._commit(self._put(command))
        if isinstance(command, kv.DeleteRange):
            return self._commit(self._delete(command))
        if isinstance(command, kv.Txn):
            return self._commit(self._txn(command))
        if isinstance(command, kv.Compact):
            self.compacted = command.revision
            return kv.CompactReply(self.revision)
        return self._lease(command, reply, time)

    def _lease(self, command: kv.Command, reply: kv.Reply, time: Nanos) -> kv.Reply | None:
        if isinstance(command, kv.Grant):
            assert isinstance(reply, kv.LeaseReply)
            ttl = max(command.ttl, LEAST_TTL_S)
            id = command.lease or reply.lease
            self.leases[id] = Leased(id, ttl, time + ttl * SECOND)
            return kv.LeaseReply(self.revision, id, ttl, ttl)
        if not isinstance(command, kv.Revoke | kv.KeepAlive | kv.TimeToLive):
            return None
        lease = self.leases.get(command.lease)
        if lease is None:
            gone = -1 if isinstance(command, kv.TimeToLive) else 0
            return kv.LeaseReply(self.revision, command.lease, gone)
        if isinstance(command, kv.Revoke):
            self._end(lease, expired=False)
            return kv.LeaseReply(self.revision, lease.id, 0)
        if isinstance(command, kv.KeepAlive):
            lease.deadline = time + lease.ttl * SECOND
            return kv.LeaseReply(self.revision, lease.id, lease.ttl, lease.ttl)
        keys = self.keys_of(lease.id) if command.keys else ()
        return kv.LeaseReply(self.revision, lease.id, max(0, lease.deadline - time) // SECOND, lease.ttl, keys)

    def _end(self, lease: Leased, *, expired: bool) -> None:
        keys = self.keys_of(lease.id)
        for key in keys:
            self._drop(self._items[key])
        self._commit(None)
        del self.leases[lease.id]
        self.ended.append(Ended(lease, keys, expired))

    def _commit(self, reply: kv.Reply | None) -> kv.Reply | None:
        """End a command: what it changed is one revision."""
        if self._new:
            self.revision += 1
            self.events.append(tuple(self._new))
            self._new = []
        return reply

    @property
    def _next(self) -> int:
        """The revision that a command's changes get; the present one if there are none yet."""
        return self.revision + bool(self._new)

    def _set(self, item: kv.Item, present: bool) -> None:
        key = item.key
        self._new.append(Change(item, self._items.get(key)))
        if present:
            self._items[key] = item
        else:
            del self._items[key]
        self._mods.setdefault(key, []).append(item.mod)
        self._past.setdefault(key, []).append(item if present else None)

    def _put(self, put: kv.Put) -> kv.PutReply:
        before = self._items.get(put.key)
        revision = self.revision + 1
        value = before.value if put.ignore_value and before is not None else put.value
        lease = before.lease if put.ignore_lease and before is not None else put.lease
        create, version = (before.create, before.version + 1) if before is not None else (revision, 1)
        self._set(kv.Item(put.key, value, create, revision, version, lease), True)
        return kv.PutReply(revision, before if put.want_previous else None)

    def _drop(self, item: kv.Item) -> None:
        self._set(kv.Item(item.key, b"", 0, self.revision + 1, 0), False)

    def _delete(self, delete: kv.DeleteRange) -> kv.DeleteReply:
        gone = tuple(self._items[key] for key in sorted(self._items) if within(key, delete.key, delete.end))
        for item in gone:
            self._drop(item)
        return kv.DeleteReply(self._next, len(gone), gone if delete.want_previous else ())

    def _txn(self, txn: kv.Txn) -> kv.TxnReply | None:
        """None: something is in it that is not modelled, but its effect is."""
        succeeded = all(self._holds(compare) for compare in txn.compares)
        replies: list[kv.PutReply | kv.DeleteReply | kv.RangeReply] = []
        told = True
        for part in txn.then if succeeded else txn.otherwise:
            if isinstance(part, kv.Put):
                replies.append(self._put(part))
            elif isinstance(part, kv.DeleteRange):
                replies.append(self._delete(part))
            elif isinstance(part, kv.Range) and part == kv.Range(part.key, part.end):
                items = self.range(part.key, part.end)
                replies.append(kv.RangeReply(self._next, items, False, len(items)))
            else:
                assert not isinstance(part, kv.Nested), "no simulated client nests transactions"
                told = False
        return kv.TxnReply(self._next, succeeded, tuple(replies)) if told else None

    def _holds(self, compare: kv.Compare) -> bool:
        if not compare.end:
            return _relates(self._items.get(compare.key), compare)
        items: Iterable[kv.Item | None] = self.range(compare.key, compare.end) or (None,)
        return all(_relates(item, compare) for item in items)


def _relates(item: kv.Item | None, compare: kv.Compare) -> bool:
    if compare.target is kv.Target.VALUE:
        return item is not None and _compare(item.value, compare.value, compare.relation)
    found = 0
    if item is not None:
        found = {
            kv.Target.VERSION: item.version,
            kv.Target.CREATE: item.create,
            kv.Target.MOD: item.mod,
            kv.Target.LEASE: item.lease,
        }[compare.target]
    return _compare(found, compare.number, compare.relation)


def _compare(found: int | bytes, wanted: int | bytes, relation: kv.Relation) -> bool:
    if relation is kv.Relation.EQUAL:
        return found == wanted
    if relation is kv.Relation.NOT_EQUAL:
        return found != wanted
    more = found > wanted if isinstance(found, bytes) and isinstance(wanted, bytes) else int(found) > int(wanted)
    return more if relation is kv.Relation.GREATER else not more and found != wanted
