"""All services of a member: which method is whose, and what they are told of. Synchronous, like the engine beneath."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError

from coterie.core.types import NOBODY, Nanos
from coterie.etcd.auth_service import AuthService
from coterie.etcd.backend import Backend, Node
from coterie.etcd.calls import Caller, Handler, Method, Stream, Streaming, Unary
from coterie.etcd.cluster import ClusterService
from coterie.etcd.election_service import ElectionService
from coterie.etcd.flow import Flows
from coterie.etcd.health import HealthService
from coterie.etcd.kv import KeyValueService
from coterie.etcd.lease import LeaseService
from coterie.etcd.lock_service import LockService
from coterie.etcd.maintenance import MaintenanceService
from coterie.etcd.native import NativeUsers
from coterie.etcd.status import Code, Refusal, refused
from coterie.etcd.watch import WatchService
from coterie.etcd.watching import LIMITS, WatchLimits
from coterie.etcd.wire import election, health, lock, rpc
from coterie.machine.kv.machine import KeyValue

SECOND: Nanos = 1_000_000_000
LEADERLESS: Nanos = 3 * SECOND
"""After so long without a leader, streams that asked to be told end (etcd: three election timeouts)."""
NEVER: Nanos = 1 << 62


class Services:
    """What callers reach. Whoever drives it calls `flush` after calls, `deliver` with the engine's answers, `advance`
    when the machine may have moved on, and `wake` at the time that the last `wake` returned."""

    def __init__(self, node: Node, machine: KeyValue, limits: WatchLimits = LIMITS) -> None:
        self.backend = backend = Backend(node, machine)
        self.native = NativeUsers(backend)
        self._node = node
        self._watch = WatchService(backend, limits)
        hub = self._watch.hub
        self._flows = Flows(backend, hub)
        self._health = HealthService(backend)
        self._leaderless_since: Nanos | None = None
        kv = KeyValueService(backend)
        lease = LeaseService(backend)
        self._cluster = cluster = ClusterService(backend)
        maintenance = MaintenanceService(backend)
        auth = AuthService(backend)
        locks = LockService(backend, self._flows)
        elections = ElectionService(backend, hub, self._flows)
        table: dict[str, dict[str, tuple[Any, Any]]] = {
            "etcdserverpb.KV": {
                "Range": (rpc.RangeRequest, kv.range),
                "Put": (rpc.PutRequest, kv.put),
                "DeleteRange": (rpc.DeleteRangeRequest, kv.delete_range),
                "Txn": (rpc.TxnRequest, kv.txn),
                "Compact": (rpc.CompactionRequest, kv.compact),
            },
            "etcdserverpb.Watch": {"Watch": (None, self._watch.watch)},
            "etcdserverpb.Lease": {
                "LeaseGrant": (rpc.LeaseGrantRequest, lease.grant),
                "LeaseRevoke": (rpc.LeaseRevokeRequest, lease.revoke),
                "LeaseKeepAlive": (None, lease.keep_alive),
                "LeaseTimeToLive": (rpc.LeaseTimeToLiveRequest, lease.time_to_live),
                "LeaseLeases": (rpc.LeaseLeasesRequest, lease.leases),
            },
            "etcdserverpb.Cluster": {
                "MemberAdd": (rpc.MemberAddRequest, cluster.add),
                "MemberRemove": (rpc.MemberRemoveRequest, cluster.remove),
                "MemberUpdate": (rpc.MemberUpdateRequest, cluster.update),
                "MemberList": (rpc.MemberListRequest, cluster.members),
                "MemberPromote": (rpc.MemberPromoteRequest, cluster.promote),
            },
            "etcdserverpb.Maintenance": {
                "Alarm": (rpc.AlarmRequest, maintenance.alarm),
                "Status": (rpc.StatusRequest, maintenance.status),
                "Defragment": (rpc.DefragmentRequest, maintenance.defragment),
                "Hash": (rpc.HashRequest, maintenance.hash),
                "HashKV": (rpc.HashKVRequest, maintenance.hash_kv),
                "Snapshot": (None, maintenance.snapshot),
                "MoveLeader": (rpc.MoveLeaderRequest, maintenance.move_leader),
                "Downgrade": (rpc.DowngradeRequest, maintenance.downgrade),
            },
            "etcdserverpb.Auth": {
                "AuthEnable": (rpc.AuthEnableRequest, auth.enable),
                "AuthDisable": (rpc.AuthDisableRequest, auth.disable),
                "AuthStatus": (rpc.AuthStatusRequest, auth.status),
                "Authenticate": (rpc.AuthenticateRequest, auth.authenticate),
                "UserAdd": (rpc.AuthUserAddRequest, auth.user_add),
                "UserGet": (rpc.AuthUserGetRequest, auth.user_get),
                "UserList": (rpc.AuthUserListRequest, auth.user_list),
                "UserDelete": (rpc.AuthUserDeleteRequest, auth.user_delete),
                "UserChangePassword": (rpc.AuthUserChangePasswordRequest, auth.user_change_password),
                "UserGrantRole": (rpc.AuthUserGrantRoleRequest, auth.user_grant_role),
                "UserRevokeRole": (rpc.AuthUserRevokeRoleRequest, auth.user_revoke_role),
                "RoleAdd": (rpc.AuthRoleAddRequest, auth.role_add),
                "RoleGet": (rpc.AuthRoleGetRequest, auth.role_get),
                "RoleList": (rpc.AuthRoleListRequest, auth.role_list),
                "RoleDelete": (rpc.AuthRoleDeleteRequest, auth.role_delete),
                "RoleGrantPermission": (rpc.AuthRoleGrantPermissionRequest, auth.role_grant_permission),
                "RoleRevokePermission": (rpc.AuthRoleRevokePermissionRequest, auth.role_revoke_permission),
            },
            "v3lockpb.Lock": {
                "Lock": (lock.LockRequest, locks.lock),
                "Unlock": (lock.UnlockRequest, locks.unlock),
            },
            "v3electionpb.Election": {
                "Campaign": (election.CampaignRequest, elections.campaign),
                "Proclaim": (election.ProclaimRequest, elections.proclaim),
                "Leader": (election.LeaderRequest, elections.leader),
                "Observe": (None, elections.observe),
                "Resign": (election.ResignRequest, elections.resign),
            },
            "grpc.health.v1.Health": {
                "Check": (health.HealthCheckRequest, self._health.check),
                "Watch": (None, self._health.watch),
            },
        }
        glances = {"Range": kv.glance}
        self.methods: Final[dict[str, Method]] = {
            f"/{service}/{method}": Streaming(run) if request is None else Unary(request, run, glances.get(method))
            for service, methods in table.items()
            for method, (request, run) in methods.items()
        }
        self._names = frozenset(table)
        self.deliver = backend.requests.deliver

    # Calls

    def call(self, stream: Stream, path: str, caller: Caller, message: bytes) -> Handler | None:
        """A call whose one message is here. Gives who is to be told if it is cancelled, if anybody."""
        method = self.methods.get(path)
        if type(method) is not Unary:
            handler = self.open(stream, path, caller)
            if handler is not None:
                handler.received(message)
            return handler
        try:
            if caller.require_leader and self._node.leader == NOBODY:
                raise refused("no leader")
            if method.glance is not None and method.glance(stream, caller, message):
                return None
            return method.run(stream, caller, method.request.FromString(message))
        except DecodeError as error:
            stream.finish(Code.INTERNAL, f"grpc: error unmarshalling request: {error}")
        except Refusal as refusal:
            stream.finish(refusal.code, refusal.text)
        return None

    def open(self, stream: Stream, path: str, caller: Caller) -> Handler | None:
        """A call whose messages will come. None: it is over already."""
        method = self.methods.get(path)
        if method is None:
            stream.finish(Code.UNIMPLEMENTED, self._unknown(path))
            return None
        if isinstance(method, Unary):
            return _OneMessage(self, stream, path, caller)
        if caller.require_leader and self._node.leader == NOBODY:
            refusal = refused("no leader")
            stream.finish(refusal.code, refusal.text)
            return None
        try:
            return method.open(stream, caller)
        except Refusal as refusal:
            stream.finish(refusal.code, refusal.text)
            return None

    def _unknown(self, path: str) -> str:
        """GRPC's words (grpc-go, server.go)."""
        service, slash, method = path[1:].rpartition("/") if path.startswith("/") else ("", "", "")
        if not slash:
            return f'malformed method name: "{path}"'
        if service in self._names:
            return f"unknown method {method} for service {service}"
        return f"unknown service {service}"

    # What happens

    def flush(self) -> None:
        """Send the engine what was asked since the last time."""
        requests = self.backend.requests
        if requests.queued:
            requests.flush()

    def advance(self) -> None:
        """The machine may have moved on: tell the watchers."""
        self._watch.advance()
        self.flush()

    @property
    def lagging(self) -> bool:
        """Whether `advance` is to be called again soon: some watchers are behind."""
        return self._watch.hub.lagging

    def wake(self, now: Nanos) -> Nanos:
        """Do what time has made due; returns when to be woken next."""
        self._health.look()
        self.backend.look_at_space()
        self._cluster.look()
        due = [self._watch.wake(now), now + SECOND]
        keep = self._flows.wake(now)
        if keep is not None:
            due.append(keep)
        if self._node.leader != NOBODY:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = now
        elif now >= self._leaderless_since + LEADERLESS:
            self._watch.leaderless()
        self.flush()
        return min(due)


class _OneMessage:
    """A call with one message, before that is here."""

    def __init__(self, services: Services, stream: Stream, path: str, caller: Caller) -> None:
        self._services = services
        self._stream = stream
        self._path = path
        self._caller = caller
        self._begun = False
        self._handler: Handler | None = None

    def received(self, message: bytes) -> bool:
        """See `Handler`."""
        if self._begun:
            self._stream.finish(Code.INTERNAL, "a second message in a call that has one")
            self.cancelled()
        else:
            self._begun = True
            self._handler = self._services.call(self._stream, self._path, self._caller, message)
        return True

    def ended(self) -> None:
        """See `Handler`."""
        if not self._begun:
            self._begun = True
            self._stream.finish(Code.INTERNAL, "the call ended before its message")

    def cancelled(self) -> None:
        """See `Handler`."""
        if self._handler is not None:
            self._handler.cancelled()

    def drained(self) -> None:
        """See `Handler`."""
