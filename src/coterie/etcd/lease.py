"""The Lease service (etcd 3.5, api/v3rpc/lease.go). All of it goes through the log, where cluster time is: so any
member keeps a lease alive, a new leader ends none early, and none outlives what it was granted."""

from __future__ import annotations

from collections import deque

from google.protobuf.message import DecodeError

from coterie.engine.protocol import Answer, Failure
from coterie.etcd.backend import NOTHING, Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.status import Code, Refusal, failed
from coterie.etcd.wire import rpc
from coterie.machine.kv.protocol import (
    Grant,
    KeepAlive,
    LeaseReply,
    Leases,
    LeasesReply,
    Reply,
    Revoke,
    TimeToLive,
    encoder,
    reply_decoder,
)

MAX_UNANSWERED = 1024
"""Keep-alives of one stream under way at a time; more wait for their turn, and hold the caller up. (Go's client has all
its leases' on one stream, and sends them at once.)"""


class LeaseService:
    """etcdserverpb.Lease."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def grant(self, stream: Stream, caller: Caller, request: rpc.LeaseGrantRequest) -> None:
        """Make a lease."""
        self._backend.need_space()
        self._backend.run(stream, caller, encoder.encode(Grant(request.ID, request.TTL)), _granted)

    def revoke(self, stream: Stream, caller: Caller, request: rpc.LeaseRevokeRequest) -> None:
        """End a lease, and its keys with it."""
        self._backend.run(stream, caller, encoder.encode(Revoke(request.ID)), lambda _: NOTHING)

    def time_to_live(self, stream: Stream, caller: Caller, request: rpc.LeaseTimeToLiveRequest) -> None:
        """How long a lease has left."""
        self._backend.run(stream, caller, encoder.encode(TimeToLive(request.ID, request.keys)), _left)

    def leases(self, stream: Stream, caller: Caller, request: rpc.LeaseLeasesRequest) -> None:
        """All leases."""
        self._backend.question(stream, caller, Leases(), _all)

    def keep_alive(self, stream: Stream, caller: Caller) -> KeepAliveStream:
        """A stream that keeps leases alive."""
        return KeepAliveStream(self._backend, stream, caller)


def _all(reply: Reply) -> bytes:
    assert isinstance(reply, LeasesReply)
    return rpc.LeaseLeasesResponse(leases=[rpc.LeaseStatus(ID=lease) for lease in reply.leases]).SerializeToString()


def _granted(reply: Reply) -> bytes:
    assert isinstance(reply, LeaseReply)
    return rpc.LeaseGrantResponse(ID=reply.lease, TTL=reply.ttl).SerializeToString()


def _left(reply: Reply) -> bytes:
    assert isinstance(reply, LeaseReply)
    response = rpc.LeaseTimeToLiveResponse(ID=reply.lease, TTL=reply.ttl, grantedTTL=reply.granted, keys=reply.keys)
    return response.SerializeToString()


class KeepAliveStream:
    """Each message is answered, in order."""

    def __init__(self, backend: Backend, stream: Stream, caller: Caller) -> None:
        self._backend = backend
        self._stream = stream
        self._caller = caller
        self._unanswered = 0
        self._waiting: deque[int | str] = deque()
        """Leases, and what is wrong with a message that names none; never the messages, which may be large."""
        self._ended = False
        self._over = False

    def received(self, message: bytes) -> bool:
        """See `Handler`."""
        if self._over:
            return True
        lease: int | str
        try:
            lease = rpc.LeaseKeepAliveRequest.FromString(message).ID
        except DecodeError as error:
            lease = f"grpc: error unmarshalling request: {error}"
        if self._unanswered >= MAX_UNANSWERED:
            self._waiting.append(lease)
            return False
        self._keep(lease)
        return True

    def _keep(self, lease: int | str) -> None:
        if isinstance(lease, str):
            self._end(Code.INTERNAL, lease)
            return
        self._unanswered += 1
        try:
            self._backend.submit(self._caller, encoder.encode(KeepAlive(lease)), self._kept)
        except Refusal as refusal:
            self._end(refusal.code, refusal.text)

    def _kept(self, answer: Answer | Failure) -> None:
        self._unanswered -= 1
        if self._over:
            return
        if isinstance(answer, Failure):
            refusal = failed(answer)
            self._end(refusal.code, refusal.text)
            return
        reply = reply_decoder.decode(answer.body)
        assert isinstance(reply, LeaseReply)
        response = rpc.LeaseKeepAliveResponse(ID=reply.lease, TTL=reply.ttl)
        self._stream.send(self._backend.headers.field(reply.revision) + response.SerializeToString())
        if self._waiting:
            self._stream.release()
            self._keep(self._waiting.popleft())
        if self._ended and not self._unanswered:
            self._end(Code.OK, "")

    def ended(self) -> None:
        """See `Handler`: who asks for nothing more needs the stream no longer."""
        self._ended = True
        if not self._unanswered:
            self._end(Code.OK, "")

    def cancelled(self) -> None:
        """See `Handler`."""
        self._over = True
        self._waiting.clear()

    def drained(self) -> None:
        """See `Handler`."""

    def _end(self, code: Code, text: str) -> None:
        if not self._over:
            self._over = True
            self._waiting.clear()
            self._stream.finish(code, text)
