"""What a call is told when it fails: etcd's codes and words, on which clients decide whether to try again."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from tests.contract.etcd.serving import (
    DELETE,
    GRANT,
    KEEP_ALIVE,
    LOCK,
    PUT,
    RANGE,
    TXN,
    WATCH,
    Method,
    ServedCluster,
    elected,
)

from coterie.engine.config import EngineConfig
from coterie.engine.protocol import MAX_REQUEST_BYTES
from coterie.etcd.status import Code
from coterie.etcd.wire import lock, rpc

NO_LEADER = (Code.UNAVAILABLE, "etcdserver: no leader")
CHANGED = (Code.UNAVAILABLE, "etcdserver: leader changed")
TIMED_OUT = (Code.UNAVAILABLE, "etcdserver: request timed out")
put_x = rpc.PutRequest(key=b"x", value=b"x")


def lonely() -> tuple[ServedCluster, int]:
    """A member that has lost the others."""
    cluster, _, (follower, _) = elected()
    for member in list(cluster.nodes):
        if member != follower:
            cluster.crash(member)
    cluster.run(2_000)
    return cluster, follower


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (PUT, put_x),
        (DELETE, rpc.DeleteRangeRequest(key=b"x")),
        (TXN, rpc.TxnRequest()),
        (RANGE, rpc.RangeRequest(key=b"x")),
        (GRANT, rpc.LeaseGrantRequest(TTL=5)),
    ],
)
def test_without_a_leader_a_call_fails_in_time_and_may_be_tried_elsewhere(
    method: Method[Any], request_: Message
) -> None:
    cluster, member = lonely()
    assert cluster.refusal(member, method, request_) == NO_LEADER


def test_without_a_leader_streams_and_long_calls_end_with_the_reason() -> None:
    cluster, member = lonely()
    keeper = cluster.call(member, KEEP_ALIVE)
    keeper.say(rpc.LeaseKeepAliveRequest(ID=1))
    cluster.wait(keeper)
    assert keeper.status == NO_LEADER
    code, text = cluster.refusal(member, LOCK, lock.LockRequest(name=b"L"))
    assert (code, text) == (Code.UNKNOWN, "etcdserver: no leader"), "as etcd passes on what its own client said"


def test_a_write_whose_leader_is_lost_fails_as_unavailable_whether_it_took_effect_or_not() -> None:
    cluster, leader, (follower, _) = elected(config=EngineConfig(request_timeout=2_000_000_000))
    lost = cluster.call(leader, PUT, put_x)
    cluster.cut(leader)
    cluster.run(3_000)
    cluster.heal()
    cluster.wait(lost)
    assert lost.status in (CHANGED, TIMED_OUT)
    assert cluster.get(follower, b"x") in ({}, {b"x": b"x"})


def test_without_a_quorum_a_call_times_out() -> None:
    cluster, leader, _ = elected(config=EngineConfig(request_timeout=300_000_000))
    cluster.cut(leader)
    assert cluster.refusal(leader, PUT, put_x) == TIMED_OUT
    assert cluster.refusal(leader, RANGE, rpc.RangeRequest(key=b"x")) in (TIMED_OUT, NO_LEADER)


def test_too_many_requests_are_refused_as_such() -> None:
    cluster, leader, _ = elected(config=EngineConfig(max_pending_requests=3))
    cluster.cut(leader)
    calls = [cluster.call(leader, PUT, put_x) for _ in range(5)]
    refused = [call.status for call in calls if call.over()]
    assert refused == [(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")] * 2


def test_the_largest_request_is_taken_and_one_byte_more_is_not() -> None:
    cluster, leader, _ = elected()
    too_large = (Code.INVALID_ARGUMENT, "etcdserver: request is too large")
    assert cluster.refusal(leader, PUT, rpc.PutRequest(key=b"x", value=bytes(MAX_REQUEST_BYTES))) == too_large
    low, high = 0, MAX_REQUEST_BYTES
    while low + 1 < high:
        middle = (low + high) // 2
        call = cluster.call(leader, PUT, rpc.PutRequest(key=b"x", value=bytes(middle)))
        cluster.wait(call)
        low, high = (middle, high) if call.status == (Code.OK, "") else (low, middle)
    assert MAX_REQUEST_BYTES - 100 < low < MAX_REQUEST_BYTES
    call = cluster.call(leader, PUT, rpc.PutRequest(key=b"x", value=bytes(high)))
    assert call.status == too_large


def test_a_member_that_stops_refuses_what_is_new_and_finishes_what_it_has() -> None:
    cluster, _, (follower, _) = elected()
    taken = cluster.call(follower, PUT, put_x)
    cluster.nodes[follower].engine.stop(cluster.now)
    stopped = (Code.UNAVAILABLE, "etcdserver: server stopped")
    assert cluster.refusal(follower, PUT, put_x) == stopped
    assert cluster.refusal(follower, RANGE, rpc.RangeRequest(key=b"x")) == stopped
    cluster.wait(taken)
    assert taken.answer.header.revision == 2


@pytest.mark.parametrize("message", [b"\xff", b"\x0a\xff", b"\x0a\x05ab", b"\x08\x01\x0a"])
@pytest.mark.parametrize("method", [PUT, RANGE, TXN, GRANT, LOCK], ids=lambda method: method.path)
def test_what_is_no_protobuf_is_an_internal_error_as_with_grpc(method: Method[Any], message: bytes) -> None:
    cluster, leader, _ = elected()
    code, text = cluster.refusal(leader, method, message)
    assert code is Code.INTERNAL
    assert text.startswith("grpc: error unmarshalling request")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"),
        ("/etcdserverpb.Nothing/Range", "unknown service etcdserverpb.Nothing"),
        ("/nothing", 'malformed method name: "/nothing"'),
        ("nothing", 'malformed method name: "nothing"'),
        ("", 'malformed method name: ""'),
    ],
)
def test_a_method_that_there_is_not_is_unimplemented(path: str, text: str) -> None:
    cluster, leader, _ = elected()
    method = Method(path, rpc.PutResponse)
    assert cluster.call(leader, method, put_x).status == (Code.UNIMPLEMENTED, text)
    assert cluster.call(leader, method).status == (Code.UNIMPLEMENTED, text)


def test_a_call_with_one_message_is_done_with_its_first_and_refuses_a_second() -> None:
    cluster, leader, _ = elected()
    single = cluster.call(leader, PUT)
    single.say(put_x)
    single.half_close()
    cluster.wait(single)
    assert single.answer.header.revision == 2
    double = cluster.call(leader, PUT)
    double.say(put_x, put_x)
    cluster.run(100)
    assert double.status is not None
    assert double.status[0] is Code.INTERNAL
    assert double.answers == []
    empty = cluster.call(leader, PUT)
    empty.half_close()
    assert empty.status is not None
    assert empty.status[0] is Code.INTERNAL


def test_a_second_message_in_a_call_that_waits_gives_it_up() -> None:
    cluster, leader, _ = elected()
    first = cluster.call(leader, LOCK, lock.LockRequest(name=b"L", lease=cluster.grant(leader, 60)))
    cluster.wait(first)
    waiting = cluster.call(leader, LOCK)
    waiting.say(lock.LockRequest(name=b"L", lease=cluster.grant(leader, 60)))
    cluster.run(100)
    waiting.say(lock.LockRequest(name=b"L"))
    cluster.run(100)
    assert waiting.over()
    assert len(cluster.get(leader, b"L/", b"L0")) == 1, "its key is gone"


def test_when_a_member_dies_nothing_of_its_callers_is_left_but_what_their_leases_hold() -> None:
    cluster, leader, (follower, other) = elected()
    lease = cluster.grant(follower, 5)
    cluster.call(other, LOCK, lock.LockRequest(name=b"L", lease=cluster.grant(follower, 60)))
    cluster.run(100)
    waiting = cluster.call(follower, LOCK, lock.LockRequest(name=b"L", lease=lease))
    watches = cluster.call(follower, WATCH)
    cluster.run(100)
    cluster.crash(follower)
    assert waiting.status is not None
    assert watches.status is not None
    assert len(cluster.get(leader, b"L/", b"L0")) == 2
    cluster.run(7_000)
    assert len(cluster.get(leader, b"L/", b"L0")) == 1
