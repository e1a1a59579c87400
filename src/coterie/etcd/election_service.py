"""The Election service: the oldest of a queue of keys leads, and its value is what it proclaims (etcd 3.5,
client/v3/concurrency/election.go)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from google.protobuf.message import DecodeError

from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.conversion import key_value
from coterie.etcd.flow import Ask, Cancelled, Flow, Flows, Keep, Run, Step, Steps
from coterie.etcd.queue import Place, created_at, end_of, enter, lease_of, oldest, wait_for_turn
from coterie.etcd.status import Code, Refusal
from coterie.etcd.watching import Hub, Watcher
from coterie.etcd.wire import election, kv
from coterie.machine.kv.protocol import DeleteRange, Item, Put, Range, RangeReply, Reply, Txn, TxnReply

_NO_LEADER_FIELD = Refusal(Code.INVALID_ARGUMENT, '"leader" field must be provided')
_NOT_LEADER = "election: not leader"
STALL_BYTES = 1024 * 1024
"""An observer with so much unsent is told of the present leader when it has read."""


class ElectionService:
    """v3electionpb.Election."""

    def __init__(self, backend: Backend, hub: Hub, flows: Flows) -> None:
        self._backend = backend
        self._hub = hub
        self._flows = flows

    def campaign(self, stream: Stream, caller: Caller, request: election.CampaignRequest) -> Flow:
        """Wait to be elected."""
        return self._flows.begin(stream, caller, self._campaign(request.name, request.lease, request.value))

    def proclaim(self, stream: Stream, caller: Caller, request: election.ProclaimRequest) -> Flow:
        """As leader, change what is proclaimed. Raises `Refusal`."""
        if not request.HasField("leader"):
            raise _NO_LEADER_FIELD
        return self._flows.begin(stream, caller, self._proclaim(request.leader, request.value))

    def resign(self, stream: Stream, caller: Caller, request: election.ResignRequest) -> Flow:
        """Lead no longer. Raises `Refusal`."""
        if not request.HasField("leader"):
            raise _NO_LEADER_FIELD
        return self._flows.begin(stream, caller, self._resign(request.leader))

    def leader(self, stream: Stream, caller: Caller, request: election.LeaderRequest) -> Flow:
        """Who leads."""
        return self._flows.begin(stream, caller, self._leader(request.name))

    def observe(self, stream: Stream, caller: Caller) -> Observer:
        """A stream of leaders, and of what they proclaim."""
        return Observer(self._backend, self._hub, stream, caller)

    def _campaign(self, name: bytes, lease: int, value: bytes) -> Steps:
        lease, ttl = yield from lease_of(lease)
        yield Keep(lease, ttl)
        place = Place(name + b"/", lease)
        created = 0
        try:
            created, before, revision = yield from enter(place, value)
            if before is not None and before.value != value:
                yield from _put_as_leader(place.key, created, value, lease)
            yield from wait_for_turn(place, created)
            own = yield Ask(Range(place.key))
            assert isinstance(own, RangeReply)
            if not own.items or own.items[0].create != created:
                # Its lease ended while it waited: somebody else may lead (etcd's own service does not look).
                raise Refusal(Code.UNKNOWN, _NOT_LEADER)
        except Cancelled:
            # Whether `enter` took effect is not known if it was under way: there is one key of this lease at most.
            yield Run(DeleteRange(place.key))
            raise
        leader = election.LeaderKey(name=name, key=place.key, rev=created, lease=lease)
        return self._backend.headers.field(revision) + election.CampaignResponse(leader=leader).SerializeToString()

    def _proclaim(self, leader: election.LeaderKey, value: bytes) -> Steps:
        lease, _ = yield from lease_of(leader.lease)
        revision = yield from _put_as_leader(leader.key, leader.rev, value, lease)
        return self._backend.headers.field(revision)

    def _resign(self, leader: election.LeaderKey) -> Steps:
        done = yield Run(Txn((created_at(leader.key, leader.rev),), (DeleteRange(leader.key),)))
        assert isinstance(done, TxnReply)
        return self._backend.headers.field(done.revision)

    def _leader(self, name: bytes) -> Steps:
        found = yield Ask(oldest(name + b"/"))
        assert isinstance(found, RangeReply)
        if not found.items:
            raise Refusal(Code.UNKNOWN, "election: no leader")
        response = election.LeaderResponse(kv=key_value(found.items[0]))
        return self._backend.headers.field(found.revision) + response.SerializeToString()


def _put_as_leader(key: bytes, created: int, value: bytes, lease: int) -> Generator[Step, Any, int]:
    """Change the value if the key is still the one that was elected; the revision. Raises `Refusal`."""
    done = yield Run(Txn((created_at(key, created),), (Put(key, value, lease=lease),)))
    assert isinstance(done, TxnReply)
    if not done.succeeded:
        raise Refusal(Code.UNKNOWN, _NOT_LEADER)
    return done.revision


class Observer:
    """One stream of leaders: told of each change that there is when it can be told, the newest at least."""

    def __init__(self, backend: Backend, hub: Hub, stream: Stream, caller: Caller) -> None:
        self._backend = backend
        self._hub = hub
        self._stream = stream
        self._caller = caller
        self._prefix = b""
        self._watcher: Watcher | None = None
        self._told = (b"", 0)
        """Key and revision of the last change that was told. (The next leader's may be older than this one's last.)"""
        self._stalled = False

    def received(self, message: bytes) -> bool:
        """See `Handler`."""
        if self._watcher is None:
            self._begin(message)
        return True

    def _begin(self, message: bytes) -> None:
        try:
            self._prefix = election.LeaderRequest.FromString(message).name + b"/"
        except DecodeError as error:
            self._stream.finish(Code.INTERNAL, f"grpc: error unmarshalling request: {error}")
            return
        end = end_of(self._prefix)
        bound = None if end == b"\0" else end
        self._watcher = Watcher(self, 0, self._prefix, bound, self._hub.revision + 1, previous=False, filters=0)
        self._hub.add(self._watcher)
        self._look()

    def _look(self) -> None:
        """Tell of the leader as it is, unless that has been told."""
        try:
            found: Reply = self._backend.ask(oldest(self._prefix), self._backend.principal(self._caller))
        except Refusal as refusal:
            self._stream.finish(refusal.code, refusal.text)
            self.cancelled()
            return
        assert isinstance(found, RangeReply)
        leader: Item | None = found.items[0] if found.items else None
        if leader is None or (leader.key, leader.mod) == self._told:
            return
        self._told = leader.key, leader.mod
        response = election.LeaderResponse(kv=key_value(leader))
        self._stream.send(self._backend.headers.field(found.revision) + response.SerializeToString())

    def tell(self, watcher: Watcher, events: list[kv.Event], encoded: bytes, revision: int) -> bool:
        """See `Listener`."""
        if self._stream.unsent > STALL_BYTES:
            self._stalled = True
        else:
            self._look()
        return True

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """See `Listener`: only the newest counts here."""
        self._watcher = Watcher(self, 0, watcher.key, watcher.end, self._hub.revision + 1, previous=False, filters=0)
        self._hub.add(self._watcher)
        self._look()

    def ended(self) -> None:
        """See `Handler`: it is observed on."""

    def cancelled(self) -> None:
        """See `Handler`."""
        if self._watcher is not None:
            self._hub.remove(self._watcher)
            self._watcher = None

    def drained(self) -> None:
        """See `Handler`."""
        if self._stalled:
            self._stalled = False
            self._look()
