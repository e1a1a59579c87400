"""The Maintenance service (etcd 3.5, api/v3rpc/maintenance.go)."""

from __future__ import annotations

import re
from collections.abc import Callable

from coterie.core.types import NOBODY
from coterie.engine.admin_requests import TransferLeadership
from coterie.engine.protocol import Answer, Failure, FailureCode
from coterie.etcd.backend import NOTHING, Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.snapshot_stream import SnapshotStream
from coterie.etcd.status import Code, Refusal, failed, refused
from coterie.etcd.wire import rpc
from coterie.machine.kv.protocol import AlarmKind, AlarmReply, AskAlarms, HashReply, Reply, SetAlarm, encoder
from coterie.machine.kv.reading import refuse_revision

API_VERSION = "3.5.1"
"""The release of etcd whose API this is: clients look at it to learn what they may ask for."""
_KINDS = {AlarmKind.NONE: rpc.NONE, AlarmKind.NOSPACE: rpc.NOSPACE, AlarmKind.CORRUPT: rpc.CORRUPT}
MAX_SNAPSHOTS = 4
"""Streams of snapshots at a time: each has a file of the size of the data. One more is refused."""
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


class MaintenanceService:
    """etcdserverpb.Maintenance."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._snapshots: set[SnapshotStream] = set()

    def status(self, stream: Stream, caller: Caller, request: rpc.StatusRequest) -> None:
        """What this member says of itself."""
        backend = self._backend
        status = backend.node.status()
        errors = self._problems()
        if status.leader == NOBODY:
            errors.insert(0, "etcdserver: no leader")
        if backend.node.disk_full:
            errors.append("the member's disk is full: what it is given waits until there is space")
        voters = {member.id for member in status.members if member.voter}
        response = rpc.StatusResponse(
            version=API_VERSION,
            dbSize=backend.node.database_bytes,
            dbSizeInUse=backend.node.database_bytes_in_use,
            leader=status.leader,
            raftIndex=status.commit,
            raftTerm=status.epoch_round,
            raftAppliedIndex=status.applied,
            errors=errors,
            isLearner=status.member not in voters,
        )
        stream.respond(self._header() + response.SerializeToString())

    def _problems(self) -> list[str]:
        try:
            alarms = self._backend.ask(AskAlarms(), self._backend.access.own())
        except Refusal as refusal:  # the state is being restored: what the member is can be said all the same
            return [refusal.text]
        assert isinstance(alarms, AlarmReply)
        return [f"memberID:{member} alarm:{AlarmKind(kind).name} " for member, kind in alarms.alarms]

    def alarm(self, stream: Stream, caller: Caller, request: rpc.AlarmRequest) -> None:
        """Look at alarms, raise them, clear them. Raises `Refusal`."""
        try:
            kind = AlarmKind(request.alarm)
        except ValueError:
            raise refused(f"alarm is {request.alarm}: there is no such alarm") from None
        if request.action == rpc.AlarmRequest.GET:
            self._backend.question(stream, caller, AskAlarms(kind), _alarm_response)
            return
        on = request.action == rpc.AlarmRequest.ACTIVATE
        command = SetAlarm(request.memberID, kind, on)
        self._backend.run(stream, caller, encoder.encode(command), _alarm_response)

    def defragment(self, stream: Stream, caller: Caller, request: rpc.DefragmentRequest) -> None:
        """Nothing is to be done: space is used again as soon as compaction has freed it."""
        self._backend.administrator(caller)
        stream.respond(self._header())

    def hash(self, stream: Stream, caller: Caller, request: rpc.HashRequest) -> None:
        """A hash of this member's data as they are."""
        self._backend.administrator(caller)
        self._hash(stream, 0, lambda reply: rpc.HashResponse(hash=reply.hash).SerializeToString())

    def hash_kv(self, stream: Stream, caller: Caller, request: rpc.HashKVRequest) -> None:
        """A hash of this member's data up to a revision."""
        self._backend.administrator(caller)
        self._hash(
            stream,
            request.revision,
            lambda reply: rpc.HashKVResponse(hash=reply.hash, compact_revision=reply.compacted).SerializeToString(),
        )

    def _hash(self, stream: Stream, revision: int, respond: Callable[[HashReply], bytes]) -> None:
        """Not in the loop: of a million items it takes seconds. Raises `Refusal`."""
        refusal = refuse_revision(self._backend.machine.store, revision)
        if refusal is not None:
            raise refused(refusal.reason)

        def then(reply: HashReply | str) -> None:
            if isinstance(reply, str):
                stream.finish(Code.UNAVAILABLE, reply)
            else:
                stream.respond(self._backend.headers.field(reply.revision) + respond(reply))

        self._backend.node.hash(revision, then)

    def snapshot(self, stream: Stream, caller: Caller) -> SnapshotStream:
        """The member's whole state, as a file."""
        self._backend.administrator(caller)
        if len(self._snapshots) >= MAX_SNAPSHOTS:
            raise refused("too many requests")
        opened = SnapshotStream(stream, self._backend.node.backup, self._snapshots.discard)
        self._snapshots.add(opened)
        return opened

    def move_leader(self, stream: Stream, caller: Caller, request: rpc.MoveLeaderRequest) -> None:
        """Hand leadership over: asked of the leader alone, as with etcd. Raises `Refusal`."""
        status = self._backend.node.status()
        if status.leader != status.member:
            raise refused("not leader")
        target = next((member for member in status.members if member.id == request.targetID), None)
        if target is None or not target.voter:
            raise refused("bad leader transferee")

        def then(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                late = answer.code is FailureCode.NOT_NOW
                late_text = refused("request timed out, possibly due to previous leader failure")
                self._backend.refuse(stream, late_text if late else failed(answer))
            else:
                stream.respond(self._header())

        name = target.name
        self._backend.requests.administer(lambda id: TransferLeadership(id, name), then)

    def downgrade(self, stream: Stream, caller: Caller, request: rpc.DowngradeRequest) -> None:
        """There is no older format to go back to: asked for in any way, that is the answer. Raises `Refusal`."""
        if request.action == rpc.DowngradeRequest.CANCEL:
            raise refused("no inflight downgrade job")
        if not _VERSION.fullmatch(request.version):
            raise refused("wrong downgrade target version format")
        raise refused("invalid downgrade target version")

    def _header(self) -> bytes:
        return self._backend.headers.field(self._backend.revision)


def _alarm_response(reply: Reply) -> bytes:
    assert isinstance(reply, AlarmReply)
    alarms = [rpc.AlarmMember(memberID=member, alarm=_KINDS[kind]) for member, kind in reply.alarms]
    return rpc.AlarmResponse(alarms=alarms).SerializeToString() if alarms else NOTHING
