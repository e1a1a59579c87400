"""With auth on every service works for whoever may use it, and for nobody else; members go on caring for themselves."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from tests.contract.etcd.serving import (
    CAMPAIGN,
    GRANT,
    LEADER,
    LEASES,
    LOCK,
    OBSERVE,
    PUT,
    RANGE,
    Call,
    Method,
    ServedCluster,
    elected,
    seconds,
)

from coterie.core.types import MemberId
from coterie.etcd.calls import Caller
from coterie.etcd.status import Code
from coterie.etcd.wire import auth as authpb
from coterie.etcd.wire import election, lock, rpc

ROOT, ANN = Caller(certified="root"), Caller(certified="ann")
ALARM = Method("/etcdserverpb.Maintenance/Alarm", rpc.AlarmResponse)
STATUS = Method("/etcdserverpb.Maintenance/Status", rpc.StatusResponse)
_AUTH = "/etcdserverpb.Auth/"
_EMPTY = (Code.INVALID_ARGUMENT, "etcdserver: user name is empty")
_DENIED = "etcdserver: permission denied"


def settled(cluster: ServedCluster, member: MemberId, method: Method, request: Message, caller: Caller) -> Call:  # type: ignore[type-arg]
    call = cluster.call(member, method, request, caller)
    cluster.wait(call)
    return call


@pytest.fixture
def guarded() -> tuple[ServedCluster, MemberId]:
    """Auth is on; users are known by certificate. ann may do all under `own/`."""
    cluster, leader, _ = elected()
    without = authpb.UserAddOptions(no_password=True)
    own = authpb.Permission(permType=authpb.Permission.READWRITE, key=b"own/", range_end=b"own0")
    for name, request, response in (
        ("UserAdd", rpc.AuthUserAddRequest(name="root", options=without), rpc.AuthUserAddResponse),
        ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="root", role="root"), rpc.AuthUserGrantRoleResponse),
        ("UserAdd", rpc.AuthUserAddRequest(name="ann", options=without), rpc.AuthUserAddResponse),
        ("RoleAdd", rpc.AuthRoleAddRequest(name="own"), rpc.AuthRoleAddResponse),
        (
            "RoleGrantPermission",
            rpc.AuthRoleGrantPermissionRequest(name="own", perm=own),
            rpc.AuthRoleGrantPermissionResponse,
        ),
        ("UserGrantRole", rpc.AuthUserGrantRoleRequest(user="ann", role="own"), rpc.AuthUserGrantRoleResponse),
        ("AuthEnable", rpc.AuthEnableRequest(), rpc.AuthEnableResponse),
    ):
        cluster.ask(leader, Method(_AUTH + name, response), request)
    return cluster, leader


def test_a_lock_is_waited_for_and_its_lease_kept_in_the_callers_name(guarded: tuple[ServedCluster, MemberId]) -> None:
    cluster, leader = guarded
    leases = [settled(cluster, leader, GRANT, rpc.LeaseGrantRequest(TTL=2), ANN).answer.ID for _ in range(2)]
    first, second = (
        cluster.call(leader, LOCK, lock.LockRequest(name=b"own/lock", lease=lease), ANN) for lease in leases
    )
    cluster.wait(first)
    for _ in range(4):  # longer than the second's lease, which only the waiting keeps alive
        cluster.run(seconds(1))
        settled(cluster, leader, GRANT, rpc.LeaseGrantRequest(TTL=60), ANN)  # time passes with the log
    cluster.wait(second)
    assert second.answer.key == b"own/lock/%x" % leases[1]


def test_a_leader_is_elected_and_observed_in_the_callers_name(guarded: tuple[ServedCluster, MemberId]) -> None:
    cluster, leader = guarded
    elected_one = settled(cluster, leader, CAMPAIGN, election.CampaignRequest(name=b"own/e", value=b"me"), ANN)
    assert elected_one.answer.leader.name == b"own/e"
    observed = cluster.call(leader, OBSERVE, None, ANN)
    observed.say(election.LeaderRequest(name=b"own/e"))
    cluster.run(100)
    assert [answer.kv.value for answer in observed.answers] == [b"me"]
    stranger = cluster.call(leader, OBSERVE, None, ANN)
    stranger.say(election.LeaderRequest(name=b"other"))
    cluster.run(100)
    assert stranger.status == (Code.PERMISSION_DENIED, _DENIED)


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_locks_and_elections_elsewhere_are_denied(guarded: tuple[ServedCluster, MemberId], who: str) -> None:
    cluster, leader = guarded
    caller, text = (ANN, _DENIED) if who == "ann" else (Caller(), _EMPTY[1])
    for method, request in (
        (LOCK, lock.LockRequest(name=b"other")),
        (CAMPAIGN, election.CampaignRequest(name=b"other")),
        (LEADER, election.LeaderRequest(name=b"other")),
    ):
        assert settled(cluster, leader, method, request, caller).status == (Code.UNKNOWN, text)


def test_leases_are_told_to_users_alarms_to_root_and_neither_to_nobody(guarded: tuple[ServedCluster, MemberId]) -> None:
    cluster, leader = guarded
    lease = settled(cluster, leader, GRANT, rpc.LeaseGrantRequest(TTL=60), ANN).answer.ID
    told = settled(cluster, leader, LEASES, rpc.LeaseLeasesRequest(), ANN).answer
    assert [each.ID for each in told.leases] == [lease]
    assert list(settled(cluster, leader, ALARM, rpc.AlarmRequest(), ROOT).answer.alarms) == []
    assert settled(cluster, leader, ALARM, rpc.AlarmRequest(), ANN).status == (Code.PERMISSION_DENIED, _DENIED)
    for method, request in ((LEASES, rpc.LeaseLeasesRequest()), (ALARM, rpc.AlarmRequest())):
        assert settled(cluster, leader, method, request, Caller()).status == _EMPTY


def test_a_member_whose_quota_is_reached_raises_its_alarm_and_says_so_of_itself(
    guarded: tuple[ServedCluster, MemberId],
) -> None:
    cluster, leader = guarded
    put = rpc.PutRequest(key=b"own/k", value=b"v")
    server = cluster.servers[leader]
    assert list(settled(cluster, leader, STATUS, rpc.StatusRequest(), Caller()).answer.errors) == []
    server.database_bytes_in_use = server.quota_bytes
    server.wake()
    full = (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    assert settled(cluster, leader, PUT, put, ANN).status == full
    cluster.run(200)
    for member in cluster.servers:
        (said,) = settled(cluster, member, STATUS, rpc.StatusRequest(), Caller()).answer.errors
        assert "NOSPACE" in said
        assert settled(cluster, member, PUT, put, ANN).status == full
    assert settled(cluster, leader, RANGE, rpc.RangeRequest(key=b"own/k"), ANN).answer.count == 0
