"""Leases: keys that are deleted together when nobody has kept their lease alive.

A lease lives in cluster time, so it ends with the same log entry at every member, and never early. Which keys are
attached to which lease is seen in the keys' present items (`Item.lease`); it is kept here, too, so that nobody has to
look for them.

| Key in the store | Value |
|---|---|
| `ml` lease, its order kept (8 bytes) | time to live in seconds, deadline in nanoseconds |
| `mt` key | the lease that the key is attached to |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

import msgspec

from coterie.core.types import Nanos
from coterie.machine.kv.protocol import Item, Put, encoder
from coterie.machine.stores.interface import Change, Reading, StoreFailed

MIN_TTL_S = 2
"""A shorter time to live is raised to it. etcd's, with its default timing: half as much again as an election takes."""
MAX_TTL_S = 9_000_000_000
"""etcd's: a longer one is refused."""
MIN_ID, MAX_ID = -(1 << 63), (1 << 63) - 1
SECOND: Nanos = 1_000_000_000
LEASES, LEASES_END = b"ml", b"mm"
TIES, TIES_END = b"mt", b"mu"

LeaseRecord: TypeAlias = tuple[int, int, Nanos]
"""Id, time to live in seconds, deadline in cluster time."""


class Lease:
    """One lease."""

    __slots__ = ("deadline", "id", "keys", "ttl")

    def __init__(self, id: int, ttl: int, deadline: Nanos) -> None:
        self.id = id
        self.ttl = ttl
        """Seconds."""
        self.deadline = deadline
        """Cluster time at which it ends."""
        self.keys: set[bytes] = set()
        """What is attached to it."""


class LeaseChanges:
    """What a flush has to bring to the store."""

    def __init__(self) -> None:
        self.leases: dict[int, LeaseRecord | None] = {}
        self.ties: dict[bytes, int | None] = {}

    def __len__(self) -> int:
        return len(self.leases) + len(self.ties)

    def changes(self) -> Iterator[Change]:
        """The same, for the store."""
        for id, record in self.leases.items():
            yield _lease_key(id), None if record is None else encoder.encode(record[1:])
        for key, lease in self.ties.items():
            yield TIES + key, None if lease is None else encoder.encode(lease)


class LeaseTable:
    """All leases, and what is attached to them."""

    def __init__(self, records: Iterable[LeaseRecord] = (), *, stored: bool = False) -> None:
        """`stored`: changes are to be gathered for a store. Raises `ValueError` if there can be no such leases."""
        self.granted: dict[int, Lease] = {}
        self.attached: dict[bytes, int] = {}
        """Lease of each key that has one."""
        self._changed = LeaseChanges() if stored else None
        for id, ttl, deadline in records:
            if id in self.granted or not (MIN_ID <= id <= MAX_ID and id and MIN_TTL_S <= ttl <= MAX_TTL_S):
                raise ValueError(f"the snapshot has a lease {id} of {ttl} s that can't be")
            self.granted[id] = Lease(id, ttl, deadline)
        self._order = [(lease.deadline, lease.id) for lease in self.granted.values()]
        """A heap of (deadline, id), one per lease. Keeping a lease alive moves only its own deadline; the heap's is
        brought up to date when it comes to the top, so it is never later than the true one."""
        heapify(self._order)

    def grant(self, id: int, ttl: int, now: Nanos) -> Lease:
        """A new lease, which ends at `now` + `ttl` seconds."""
        lease = self.granted[id] = Lease(id, ttl, now + ttl * SECOND)
        heappush(self._order, (lease.deadline, id))
        self._note(lease)
        return lease

    def renew(self, lease: Lease, now: Nanos) -> None:
        """Its time begins anew."""
        lease.deadline = now + lease.ttl * SECOND
        self._note(lease)

    def _note(self, lease: Lease) -> None:
        if self._changed is not None:
            self._changed.leases[lease.id] = (lease.id, lease.ttl, lease.deadline)

    def end(self, lease: Lease) -> None:
        """It is no more. Nothing is attached to it."""
        assert not lease.keys, "a lease ends when its keys are deleted"
        del self.granted[lease.id]
        if self._changed is not None:
            self._changed.leases[lease.id] = None
        if len(self._order) > 2 * len(self.granted) + 64:  # mostly ended ones: bound the heap
            self._order = [(living.deadline, living.id) for living in self.granted.values()]
            heapify(self._order)

    def next_end(self) -> Lease | None:
        """The lease that ends next if nobody keeps it alive; of several, the one with the lowest id."""
        order = self._order
        while order:
            shown, id = order[0]
            lease = self.granted.get(id)
            if lease is None:
                heappop(order)
            elif lease.deadline != shown:
                heapreplace(order, (lease.deadline, id))
            else:
                return lease
        return None

    # What is attached

    def keys_of(self, lease: int) -> Iterable[bytes]:
        """The keys that are attached to a lease, in no order; none if there is no such lease."""
        found = self.granted.get(lease)
        return () if found is None else found.keys

    def follow(self, items: Iterable[Item]) -> None:
        """These items, tombstones among them, are their keys' last ones now."""
        for item in items:
            self._tie(item.key, item.lease)

    def release(self, puts: Sequence[Put]) -> None:
        """The keys were set without a lease."""
        attached = self.attached
        for put in puts:
            if put.key in attached:
                self._tie(put.key, 0)

    def _tie(self, key: bytes, lease: int) -> None:
        before = self.attached.get(key, 0)
        if before == lease:
            return
        if before:
            self.granted[before].keys.remove(key)
            del self.attached[key]
        if lease:
            self.granted[lease].keys.add(key)
            self.attached[key] = lease
        if self._changed is not None:
            self._changed.ties[key] = lease or None

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass on what `Data.items` gave, and learn from it what is attached. Raises `ValueError` if a present item
        has a lease that is not there."""
        attached: dict[bytes, int] = {}
        for item in items:
            if item.lease:
                attached[item.key] = item.lease
            elif attached:
                attached.pop(item.key, None)
            yield item
        self._attach(attached)

    def _attach(self, attached: dict[bytes, int]) -> None:
        for key, id in attached.items():
            lease = self.granted.get(id)
            if lease is None:
                raise ValueError(f"{key!r} is attached to lease {id}, which is not in the snapshot")
            lease.keys.add(key)
        self.attached = attached

    # In and out

    def records(self) -> list[LeaseRecord]:
        """All leases by their ids."""
        return [(lease.id, lease.ttl, lease.deadline) for _, lease in sorted(self.granted.items())]

    @property
    def unflushed(self) -> int:
        """Changes that a flush would bring to the store."""
        return 0 if self._changed is None else len(self._changed)

    def take_changes(self) -> LeaseChanges:
        """What changed since the last call."""
        assert self._changed is not None, "the leases are in memory"
        changes, self._changed = self._changed, LeaseChanges()
        return changes

    def changes(self) -> Iterator[Change]:
        """All of it, for an empty store."""
        for record in self.records():
            yield _lease_key(record[0]), encoder.encode(record[1:])
        for key, lease in self.attached.items():
            yield TIES + key, encoder.encode(lease)


def _lease_key(id: int) -> bytes:
    return LEASES + (id - MIN_ID).to_bytes(8, "big")


def stored_leases(view: Reading) -> Iterator[LeaseRecord]:
    """The leases in the store, by their ids. Raises `StoreFailed`."""
    try:
        for key, value in view.range(LEASES, LEASES_END):
            ttl, deadline = _lease_decoder.decode(value)
            yield int.from_bytes(key[len(LEASES) :], "big") + MIN_ID, ttl, deadline
    except msgspec.DecodeError as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error


def read_leases(view: Reading) -> LeaseTable:
    """The leases in the store, and what is attached to them. Raises `StoreFailed`."""
    try:
        leases = LeaseTable(stored_leases(view), stored=True)
        leases._attach({key[len(TIES) :]: _tie_decoder.decode(value) for key, value in view.range(TIES, TIES_END)})
    except (msgspec.DecodeError, ValueError) as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error
    return leases


_lease_decoder: msgspec.msgpack.Decoder[tuple[int, Nanos]] = msgspec.msgpack.Decoder(tuple[int, Nanos])
_tie_decoder: msgspec.msgpack.Decoder[int] = msgspec.msgpack.Decoder(int)
