"""Calls of etcd's API by grpcio, a client that is neither etcd's nor ours, with our message classes."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from coterie.etcd.wire import election, lock, rpc

METHODS: dict[str, tuple[type[Message], type[Message]]] = {
    "/etcdserverpb.KV/Range": (rpc.RangeRequest, rpc.RangeResponse),
    "/etcdserverpb.KV/Put": (rpc.PutRequest, rpc.PutResponse),
    "/etcdserverpb.KV/DeleteRange": (rpc.DeleteRangeRequest, rpc.DeleteRangeResponse),
    "/etcdserverpb.KV/Txn": (rpc.TxnRequest, rpc.TxnResponse),
    "/etcdserverpb.KV/Compact": (rpc.CompactionRequest, rpc.CompactionResponse),
    "/etcdserverpb.Lease/LeaseGrant": (rpc.LeaseGrantRequest, rpc.LeaseGrantResponse),
    "/etcdserverpb.Lease/LeaseRevoke": (rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse),
    "/etcdserverpb.Lease/LeaseTimeToLive": (rpc.LeaseTimeToLiveRequest, rpc.LeaseTimeToLiveResponse),
    "/etcdserverpb.Lease/LeaseLeases": (rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse),
    "/etcdserverpb.Cluster/MemberList": (rpc.MemberListRequest, rpc.MemberListResponse),
    "/etcdserverpb.Cluster/MemberAdd": (rpc.MemberAddRequest, rpc.MemberAddResponse),
    "/etcdserverpb.Cluster/MemberRemove": (rpc.MemberRemoveRequest, rpc.MemberRemoveResponse),
    "/etcdserverpb.Cluster/MemberUpdate": (rpc.MemberUpdateRequest, rpc.MemberUpdateResponse),
    "/etcdserverpb.Cluster/MemberPromote": (rpc.MemberPromoteRequest, rpc.MemberPromoteResponse),
    "/etcdserverpb.Maintenance/Status": (rpc.StatusRequest, rpc.StatusResponse),
    "/etcdserverpb.Maintenance/Alarm": (rpc.AlarmRequest, rpc.AlarmResponse),
    "/etcdserverpb.Maintenance/Defragment": (rpc.DefragmentRequest, rpc.DefragmentResponse),
    "/etcdserverpb.Maintenance/Hash": (rpc.HashRequest, rpc.HashResponse),
    "/etcdserverpb.Maintenance/HashKV": (rpc.HashKVRequest, rpc.HashKVResponse),
    "/etcdserverpb.Maintenance/MoveLeader": (rpc.MoveLeaderRequest, rpc.MoveLeaderResponse),
    "/etcdserverpb.Maintenance/Downgrade": (rpc.DowngradeRequest, rpc.DowngradeResponse),
    "/v3lockpb.Lock/Lock": (lock.LockRequest, lock.LockResponse),
    "/v3lockpb.Lock/Unlock": (lock.UnlockRequest, lock.UnlockResponse),
    "/v3electionpb.Election/Campaign": (election.CampaignRequest, election.CampaignResponse),
    "/v3electionpb.Election/Proclaim": (election.ProclaimRequest, election.ProclaimResponse),
    "/v3electionpb.Election/Leader": (election.LeaderRequest, election.LeaderResponse),
    "/v3electionpb.Election/Resign": (election.ResignRequest, election.ResignResponse),
}
_BY_REQUEST = {request: path for path, (request, _) in METHODS.items()}
_BY_REQUEST[election.LeaderRequest] = "/v3electionpb.Election/Leader"
STREAMS: dict[str, type[Message]] = {
    "/etcdserverpb.Watch/Watch": rpc.WatchResponse,
    "/etcdserverpb.Lease/LeaseKeepAlive": rpc.LeaseKeepAliveResponse,
    "/v3electionpb.Election/Observe": election.LeaderResponse,
}
TIMEOUT_S = 10.0


class Calls:
    """A channel to one node."""

    def __init__(self, endpoint: str) -> None:
        self.channel = grpc.insecure_channel(endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.channel.close()

    def future(self, request: Message, timeout: float = TIMEOUT_S) -> Any:
        """The call that takes this request, under way."""
        path = _BY_REQUEST[type(request)]
        _, response = METHODS[path]
        method = self.channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        return method.future(request, timeout=timeout, wait_for_ready=True)

    def __call__(self, request: Message, timeout: float = TIMEOUT_S) -> Any:
        """The answer. Raises `grpc.RpcError`."""
        return self.future(request, timeout).result()

    def outcome(self, request: Message) -> Message | tuple[str, str]:
        """The answer, or the code and the words of the refusal."""
        try:
            answer: Message = self(request)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return answer

    def stream(self, path: str, requests: Any) -> Any:
        """A call of many messages: its answers, one by one."""
        method = self.channel.stream_stream(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=STREAMS[path].FromString,
        )
        return method(requests, wait_for_ready=True)

    def status(self) -> Any:
        """What the node says of itself; None if it says nothing."""
        try:
            return self(rpc.StatusRequest(), 2.0)
        except grpc.RpcError:
            return None
