"""Which path of the JSON gateway is which method (the `google.api.http` options of etcd 3.5's .proto files; HashKV,
which 3.5 gives the path that Hash has already, is where 3.6 has it)."""

from __future__ import annotations

from typing import Final

import msgspec
from google.protobuf.message import Message

from coterie.etcd.wire import election, lock, rpc


class Route(msgspec.Struct, frozen=True):
    """A method, as the gateway sees it."""

    path: str
    """gRPC's."""
    request: type[Message]
    response: type[Message]


def _of(service: str, method: str, request: type[Message], response: type[Message], *paths: str) -> dict[str, Route]:
    route = Route(f"/{service}/{method}", request, response)
    return {f"/v3/{path}": route for path in paths}


_KV, _LEASE = "etcdserverpb.KV", "etcdserverpb.Lease"
_CLUSTER, _CARE = "etcdserverpb.Cluster", "etcdserverpb.Maintenance"
_AUTH = "etcdserverpb.Auth"
_LOCK, _ELECTION = "v3lockpb.Lock", "v3electionpb.Election"

PATHS: Final[dict[str, Route]] = {
    **_of(_KV, "Range", rpc.RangeRequest, rpc.RangeResponse, "kv/range"),
    **_of(_KV, "Put", rpc.PutRequest, rpc.PutResponse, "kv/put"),
    **_of(_KV, "DeleteRange", rpc.DeleteRangeRequest, rpc.DeleteRangeResponse, "kv/deleterange"),
    **_of(_KV, "Txn", rpc.TxnRequest, rpc.TxnResponse, "kv/txn"),
    **_of(_KV, "Compact", rpc.CompactionRequest, rpc.CompactionResponse, "kv/compaction"),
    **_of("etcdserverpb.Watch", "Watch", rpc.WatchRequest, rpc.WatchResponse, "watch"),
    **_of(_LEASE, "LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse, "lease/grant"),
    **_of(_LEASE, "LeaseRevoke", rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse, "lease/revoke", "kv/lease/revoke"),
    **_of(_LEASE, "LeaseKeepAlive", rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse, "lease/keepalive"),
    **_of(
        _LEASE,
        "LeaseTimeToLive",
        rpc.LeaseTimeToLiveRequest,
        rpc.LeaseTimeToLiveResponse,
        "lease/timetolive",
        "kv/lease/timetolive",
    ),
    **_of(_LEASE, "LeaseLeases", rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse, "lease/leases", "kv/lease/leases"),
    **_of(_CLUSTER, "MemberAdd", rpc.MemberAddRequest, rpc.MemberAddResponse, "cluster/member/add"),
    **_of(_CLUSTER, "MemberRemove", rpc.MemberRemoveRequest, rpc.MemberRemoveResponse, "cluster/member/remove"),
    **_of(_CLUSTER, "MemberUpdate", rpc.MemberUpdateRequest, rpc.MemberUpdateResponse, "cluster/member/update"),
    **_of(_CLUSTER, "MemberList", rpc.MemberListRequest, rpc.MemberListResponse, "cluster/member/list"),
    **_of(_CLUSTER, "MemberPromote", rpc.MemberPromoteRequest, rpc.MemberPromoteResponse, "cluster/member/promote"),
    **_of(_CARE, "Alarm", rpc.AlarmRequest, rpc.AlarmResponse, "maintenance/alarm"),
    **_of(_CARE, "Status", rpc.StatusRequest, rpc.StatusResponse, "maintenance/status"),
    **_of(_CARE, "Defragment", rpc.DefragmentRequest, rpc.DefragmentResponse, "maintenance/defragment"),
    **_of(_CARE, "Hash", rpc.HashRequest, rpc.HashResponse, "maintenance/hash"),
    **_of(_CARE, "HashKV", rpc.HashKVRequest, rpc.HashKVResponse, "maintenance/hashkv"),
    **_of(_CARE, "MoveLeader", rpc.MoveLeaderRequest, rpc.MoveLeaderResponse, "maintenance/transfer-leadership"),
    **_of(_CARE, "Downgrade", rpc.DowngradeRequest, rpc.DowngradeResponse, "maintenance/downgrade"),
    **_of(_CARE, "Snapshot", rpc.SnapshotRequest, rpc.SnapshotResponse, "maintenance/snapshot"),
    **_of(_AUTH, "AuthEnable", rpc.AuthEnableRequest, rpc.AuthEnableResponse, "auth/enable"),
    **_of(_AUTH, "AuthDisable", rpc.AuthDisableRequest, rpc.AuthDisableResponse, "auth/disable"),
    **_of(_AUTH, "AuthStatus", rpc.AuthStatusRequest, rpc.AuthStatusResponse, "auth/status"),
    **_of(_AUTH, "Authenticate", rpc.AuthenticateRequest, rpc.AuthenticateResponse, "auth/authenticate"),
    **_of(_AUTH, "UserAdd", rpc.AuthUserAddRequest, rpc.AuthUserAddResponse, "auth/user/add"),
    **_of(_AUTH, "UserGet", rpc.AuthUserGetRequest, rpc.AuthUserGetResponse, "auth/user/get"),
    **_of(_AUTH, "UserList", rpc.AuthUserListRequest, rpc.AuthUserListResponse, "auth/user/list"),
    **_of(_AUTH, "UserDelete", rpc.AuthUserDeleteRequest, rpc.AuthUserDeleteResponse, "auth/user/delete"),
    **_of(
        _AUTH,
        "UserChangePassword",
        rpc.AuthUserChangePasswordRequest,
        rpc.AuthUserChangePasswordResponse,
        "auth/user/changepw",
    ),
    **_of(_AUTH, "UserGrantRole", rpc.AuthUserGrantRoleRequest, rpc.AuthUserGrantRoleResponse, "auth/user/grant"),
    **_of(_AUTH, "UserRevokeRole", rpc.AuthUserRevokeRoleRequest, rpc.AuthUserRevokeRoleResponse, "auth/user/revoke"),
    **_of(_AUTH, "RoleAdd", rpc.AuthRoleAddRequest, rpc.AuthRoleAddResponse, "auth/role/add"),
    **_of(_AUTH, "RoleGet", rpc.AuthRoleGetRequest, rpc.AuthRoleGetResponse, "auth/role/get"),
    **_of(_AUTH, "RoleList", rpc.AuthRoleListRequest, rpc.AuthRoleListResponse, "auth/role/list"),
    **_of(_AUTH, "RoleDelete", rpc.AuthRoleDeleteRequest, rpc.AuthRoleDeleteResponse, "auth/role/delete"),
    **_of(
        _AUTH,
        "RoleGrantPermission",
        rpc.AuthRoleGrantPermissionRequest,
        rpc.AuthRoleGrantPermissionResponse,
        "auth/role/grant",
    ),
    **_of(
        _AUTH,
        "RoleRevokePermission",
        rpc.AuthRoleRevokePermissionRequest,
        rpc.AuthRoleRevokePermissionResponse,
        "auth/role/revoke",
    ),
    **_of(_LOCK, "Lock", lock.LockRequest, lock.LockResponse, "lock/lock"),
    **_of(_LOCK, "Unlock", lock.UnlockRequest, lock.UnlockResponse, "lock/unlock"),
    **_of(_ELECTION, "Campaign", election.CampaignRequest, election.CampaignResponse, "election/campaign"),
    **_of(_ELECTION, "Proclaim", election.ProclaimRequest, election.ProclaimResponse, "election/proclaim"),
    **_of(_ELECTION, "Leader", election.LeaderRequest, election.LeaderResponse, "election/leader"),
    **_of(_ELECTION, "Observe", election.LeaderRequest, election.LeaderResponse, "election/observe"),
    **_of(_ELECTION, "Resign", election.ResignRequest, election.ResignResponse, "election/resign"),
}
