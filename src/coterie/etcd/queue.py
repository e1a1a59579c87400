"""Who comes first: keys under one prefix, each of a lease, in the order in which they were created.

What etcd's Go client does for locks and elections (3.5, client/v3/concurrency), and so what its Lock and Election
services do. Written as steps of a `Flow`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from coterie.etcd.flow import Ask, Deletion, Run, Step
from coterie.etcd.status import Refusal, refused
from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    Grant,
    Item,
    KeepAlive,
    LeaseReply,
    Order,
    Put,
    Range,
    RangeReply,
    Relation,
    Selection,
    SortTarget,
    Target,
    Txn,
    TxnReply,
)

DEFAULT_TTL_S = 60
"""Of a lease that is made for a caller who gave none."""


class Place(msgspec.Struct, frozen=True):
    """A place in the queue."""

    prefix: bytes
    lease: int

    @property
    def key(self) -> bytes:
        """What stands for it."""
        return self.prefix + b"%x" % (self.lease & (1 << 64) - 1)


def end_of(prefix: bytes) -> bytes:
    """The first key after all that begin with the prefix."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] < 0xFF:
            return prefix[:at] + bytes((prefix[at] + 1,))
    return b"\0"


def oldest(prefix: bytes) -> Range:
    """Asks for the key of the prefix that was created first."""
    return Range(prefix, end_of(prefix), limit=1, selection=Selection(Order.ASCEND, SortTarget.CREATE))


def lease_of(lease: int) -> Generator[Step, Any, tuple[int, int]]:
    """The lease that was given, or a new one; and how long it lives in seconds. Raises `Refusal` if it has ended."""
    if not lease:
        granted = yield Run(Grant(0, DEFAULT_TTL_S))
        assert isinstance(granted, LeaseReply)
        return granted.lease, granted.ttl
    kept = yield Run(KeepAlive(lease))
    assert isinstance(kept, LeaseReply)
    if not kept.ttl:
        raise refused("requested lease not found")
    return lease, kept.ttl


def created_at(key: bytes, revision: int) -> Compare:
    """Holds if the key was created at this revision; 0: if it does not exist."""
    return Compare(key, Target.CREATE, Relation.EQUAL, revision)


def enter(place: Place, value: bytes) -> Generator[Step, Any, tuple[int, Item | None, int]]:
    """Stand in the queue. Gives the revision at which the place was taken, its item if it was taken before, and the
    present revision."""
    entered = yield Run(
        Txn((created_at(place.key, 0),), (Put(place.key, value, lease=place.lease),), (Range(place.key),))
    )
    assert isinstance(entered, TxnReply)
    if entered.succeeded:
        return entered.revision, None, entered.revision
    found = entered.replies[0]
    assert isinstance(found, RangeReply)
    return found.items[0].create, found.items[0], entered.revision


def first_of(place: Place) -> Generator[Step, Any, Item | None]:
    """Whose turn it is."""
    found = yield Ask(oldest(place.prefix))
    assert isinstance(found, RangeReply)
    return found.items[0] if found.items else None


def wait_for_turn(place: Place, created: int) -> Generator[Step, Any, None]:
    """Wait until all who came before have gone; each waits for the one before it alone: nobody else is woken."""
    newest = Selection(Order.DESCEND, SortTarget.CREATE, max_create=created - 1)
    while True:
        found = yield Ask(Range(place.prefix, end_of(place.prefix), limit=1, selection=newest))
        assert isinstance(found, RangeReply)
        if not found.items:
            return
        yield Deletion(found.items[0].key, found.revision)


def leave(place: Place) -> Generator[Step, Any, None]:
    """Give up the place, if that can still be done: if not, the lease's end will."""
    try:
        yield Run(DeleteRange(place.key))
    except Refusal:
        return
