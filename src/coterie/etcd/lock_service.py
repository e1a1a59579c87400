"""The Lock service: a queue of keys, of which the oldest holds the lock (etcd 3.5, client/v3/concurrency/mutex.go).

A lock is as good as its lease: who holds it must give the key's create revision along with what it does, as a fencing
token, and let go when the lease has ended.
"""

from __future__ import annotations

from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.flow import Ask, Cancelled, Flow, Flows, Keep, Run, Steps
from coterie.etcd.queue import Place, enter, first_of, lease_of, leave, wait_for_turn
from coterie.etcd.status import Code, Refusal
from coterie.etcd.wire import lock as wire
from coterie.machine.kv.protocol import DeleteRange, Range, RangeReply


class LockService:
    """v3lockpb.Lock."""

    def __init__(self, backend: Backend, flows: Flows) -> None:
        self._backend = backend
        self._flows = flows

    def lock(self, stream: Stream, caller: Caller, request: wire.LockRequest) -> Flow:
        """Wait for the lock and take it."""
        return self._flows.begin(stream, caller, self._lock(request.name, request.lease))

    def unlock(self, stream: Stream, caller: Caller, request: wire.UnlockRequest) -> Flow:
        """Give it back, or leave the queue."""
        return self._flows.begin(stream, caller, self._unlock(request.key))

    def _lock(self, name: bytes, lease: int) -> Steps:
        lease, ttl = yield from lease_of(lease)
        yield Keep(lease, ttl)
        place = Place(name + b"/", lease)
        try:
            created, _, revision = yield from enter(place, b"")
            first = yield from first_of(place)
            if first is None or first.create != created:
                yield from wait_for_turn(place, created)
                found = yield Ask(Range(place.key))
                assert isinstance(found, RangeReply)
                if not found.items:
                    raise Refusal(Code.UNKNOWN, "mutex: session is expired")
                revision = found.revision
        except (Cancelled, Refusal):
            yield from leave(place)
            raise
        return self._backend.headers.field(revision) + wire.LockResponse(key=place.key).SerializeToString()

    def _unlock(self, key: bytes) -> Steps:
        deleted = yield Run(DeleteRange(key))
        return self._backend.headers.field(deleted.revision)
