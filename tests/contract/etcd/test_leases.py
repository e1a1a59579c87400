"""Leases in cluster time: they end when nobody keeps them alive, never early, and take their keys along at once."""

from __future__ import annotations

import pytest
from tests.contract.etcd.serving import (
    GRANT,
    KEEP_ALIVE,
    LEASES,
    PUT,
    REVOKE,
    TIME_TO_LIVE,
    Call,
    ServedCluster,
    elected,
    seconds,
)

from coterie.core.types import MemberId
from coterie.etcd import lease as lease_service
from coterie.etcd.status import Code
from coterie.etcd.wire import rpc

NOT_FOUND = (Code.NOT_FOUND, "etcdserver: requested lease not found")


def keep(*leases: int) -> list[rpc.LeaseKeepAliveRequest]:
    return [rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases]


def keeper(cluster: ServedCluster, member: MemberId) -> Call[rpc.LeaseKeepAliveResponse]:
    return cluster.call(member, KEEP_ALIVE)


def test_a_lease_ends_after_its_time_with_all_of_its_keys_at_one_revision() -> None:
    cluster, leader, (follower, _) = elected()
    lease = cluster.grant(leader, 5)
    for key in (b"a", b"b", b"c"):
        cluster.put(follower, key, lease=lease)
    revision = cluster.put(leader, b"other")
    cluster.run(200)
    watches = cluster.watch(follower, b"\0", b"\0")
    cluster.run(seconds(4.3))
    assert set(cluster.get(leader, b"a", b"d")) == {b"a", b"b", b"c"}
    cluster.run(seconds(1.5))
    assert cluster.get(leader, b"\0", b"\0") == {b"other": b"x"}
    assert cluster.time_to_live(leader, lease) == -1
    events = watches.events()
    assert [(event.revision, event.key, event.value) for event in events] == [
        (revision + 1, key, None) for key in (b"a", b"b", b"c")
    ]
    assert len([answer for answer in watches.answers if answer.events]) == 1


def test_a_key_that_was_put_again_without_the_lease_outlives_it() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 3)
    cluster.put(leader, b"tied", lease=lease)
    cluster.put(leader, b"freed", lease=lease)
    cluster.put(leader, b"freed")
    cluster.run(seconds(4))
    assert set(cluster.get(leader, b"\0", b"\0")) == {b"freed"}


def test_a_lease_that_is_kept_alive_at_any_member_lives_on() -> None:
    cluster, leader, others = elected()
    lease = cluster.grant(leader, 3)
    cluster.put(leader, b"k", lease=lease)
    streams = [keeper(cluster, member) for member in (leader, *others)]
    for number in range(6):
        cluster.run(seconds(2))
        streams[number % 3].say(*keep(lease))
    cluster.run(seconds(2))
    assert cluster.get(leader, b"k") == {b"k": b"x"}
    assert [(answer.ID, answer.TTL) for stream in streams for answer in stream.answers] == [(lease, 3)] * 6
    cluster.run(seconds(2))
    assert cluster.get(leader, b"k") == {}


def test_keep_alives_of_a_stream_are_answered_in_their_order() -> None:
    cluster, _, (follower, _) = elected()
    leases = [cluster.grant(follower, 60) for _ in range(5)]
    stream = keeper(cluster, follower)
    asked = [leases[number % 5] if number % 4 else 77 for number in range(40)]
    stream.say(*keep(*asked))
    cluster.run(100)
    assert [answer.ID for answer in stream.answers] == asked
    assert {answer.TTL for answer in stream.answers if answer.ID == 77} == {0}


def test_a_lease_that_is_not_there_is_answered_with_no_time_to_live_and_the_stream_goes_on() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 60)
    stream = keeper(cluster, leader)
    stream.say(*keep(12345))
    cluster.run(50)
    assert [(answer.ID, answer.TTL) for answer in stream.answers] == [(12345, 0)]
    stream.say(*keep(lease))
    cluster.run(50)
    assert stream.answers[-1].TTL == 60


def test_a_half_closed_keep_alive_stream_ends_when_all_is_answered() -> None:
    cluster, _, (follower, _) = elected()
    lease = cluster.grant(follower, 60)
    idle = keeper(cluster, follower)
    idle.half_close()
    assert idle.status == (Code.OK, "")
    stream = keeper(cluster, follower)
    stream.say(*keep(lease, lease, lease))
    stream.half_close()
    assert not stream.over()
    cluster.run(100)
    assert (len(stream.answers), stream.status) == (3, (Code.OK, ""))


def test_keep_alives_beyond_the_limit_wait_for_their_turn_and_hold_the_caller_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_service, "MAX_UNANSWERED", 3)
    cluster, _, (follower, _) = elected()
    leases = [cluster.grant(follower, 60) for _ in range(10)]
    stream = keeper(cluster, follower)
    stream.say(*keep(*leases))
    assert (stream.held, stream.released) == (7, 0)
    stream.half_close()
    cluster.run(400)
    assert [answer.ID for answer in stream.answers] == leases
    assert (stream.released, stream.status) == (7, (Code.OK, ""))


def test_of_a_keep_alive_that_waits_its_lease_alone_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_service, "MAX_UNANSWERED", 1)
    cluster, _, (follower, _) = elected()
    stream = keeper(cluster, follower)
    large = rpc.LeaseKeepAliveRequest(ID=7).SerializeToString() + b"\x12\x80\x80\x40" + bytes(1 << 20)
    stream.say(*keep(1), large)
    assert isinstance(stream.handler, lease_service.KeepAliveStream)
    assert list(stream.handler._waiting) == [7]
    cluster.run(400)
    assert [answer.ID for answer in stream.answers] == [1, 7]


def test_a_stream_that_ends_forgets_the_keep_alives_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_service, "MAX_UNANSWERED", 2)
    cluster, _, (follower, _) = elected()
    stream = keeper(cluster, follower)
    stream.say(*keep(1, 1), b"\xff\xff", *keep(1, 1))
    assert stream.held == 3
    cluster.run(400)
    assert stream.status is not None
    assert stream.status[0] is Code.INTERNAL
    assert len(stream.answers) == 1


def test_what_is_no_keep_alive_ends_the_stream() -> None:
    cluster, leader, _ = elected()
    stream = keeper(cluster, leader)
    stream.say(b"\xff\xff")
    assert stream.status is not None
    assert stream.status[0] is Code.INTERNAL


def test_revoking_ends_a_lease_and_its_keys_at_once() -> None:
    cluster, leader, (follower, _) = elected()
    lease = cluster.grant(leader, 60)
    cluster.put(leader, b"a", lease=lease)
    revision = cluster.put(leader, b"b", lease=lease)
    revoked = cluster.ask(follower, REVOKE, rpc.LeaseRevokeRequest(ID=lease))
    assert revoked.header.revision == revision + 1
    assert cluster.get(leader, b"a", b"c") == {}
    assert cluster.refusal(leader, REVOKE, rpc.LeaseRevokeRequest(ID=lease)) == NOT_FOUND


def test_what_a_lease_has_left_and_what_hangs_on_it_is_told_by_any_member() -> None:
    cluster, leader, (follower, _) = elected()
    lease = cluster.grant(leader, 10)
    cluster.put(leader, b"b", lease=lease)
    cluster.put(leader, b"a", lease=lease)
    cluster.run(seconds(3.5))
    told = cluster.ask(follower, TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=lease, keys=True))
    assert (told.ID, told.grantedTTL, list(told.keys)) == (lease, 10, [b"a", b"b"])
    assert 5 <= told.TTL <= 7
    unknown = cluster.ask(follower, TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=99))
    assert (unknown.ID, unknown.TTL, unknown.grantedTTL) == (99, -1, 0)


def test_leases_are_listed_and_their_ids_given_or_chosen() -> None:
    cluster, leader, (follower, _) = elected()
    chosen = cluster.grant(leader, 60, id=42)
    drawn = cluster.grant(follower, 60)
    listed = cluster.ask(follower, LEASES, rpc.LeaseLeasesRequest())
    assert {lease.ID for lease in listed.leases} == {chosen, drawn} >= {42}
    again = rpc.LeaseGrantRequest(TTL=60, ID=42)
    assert cluster.refusal(leader, GRANT, again) == (Code.FAILED_PRECONDITION, "etcdserver: lease already exists")
    long = rpc.LeaseGrantRequest(TTL=9_000_000_001)
    assert cluster.refusal(leader, GRANT, long) == (Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")
    lost = rpc.PutRequest(key=b"k", lease=7)
    assert cluster.refusal(leader, PUT, lost) == NOT_FOUND


def test_a_new_leader_ends_no_lease_early_and_gives_none_more_time_than_the_log_knows_it_had() -> None:
    cluster, leader, (follower, _) = elected()
    short, long = cluster.grant(follower, 6), cluster.grant(follower, 9)
    granted_at = cluster.now
    cluster.put(follower, b"short", lease=short)
    cluster.put(follower, b"long", lease=long)
    for _ in range(6):
        cluster.run(seconds(0.5))
        cluster.put(follower, b"\0")  # time is in the log where something was written
    cluster.crash(leader)
    cluster.until(lambda: any(other != leader for other in cluster.leaders()))
    cluster.run(seconds(5.5) - (cluster.now - granted_at) // 1_000_000)
    assert set(cluster.get(follower, b"a", b"\0")) == {b"short", b"long"}
    cluster.run(seconds(2.5))
    assert set(cluster.get(follower, b"a", b"\0")) == {b"long"}, "six seconds, and an election at most"
    cluster.run(seconds(3.5))
    assert cluster.get(follower, b"a", b"\0") == {}


def test_a_lease_ends_though_its_leader_died_and_nobody_writes() -> None:
    cluster, leader, (follower, _) = elected()
    lease = cluster.grant(follower, 6)
    cluster.put(follower, b"k", lease=lease)
    cluster.run(seconds(3))
    cluster.crash(leader)
    cluster.run(seconds(10))
    assert cluster.get(follower, b"k") == {}


def test_while_there_is_no_leader_no_lease_ends() -> None:
    cluster, leader, others = elected()
    lease = cluster.grant(leader, 3)
    cluster.put(leader, b"k", lease=lease)
    cluster.cut(leader, *others)
    cluster.run(seconds(20))
    cluster.heal()
    cluster.run(seconds(1))
    stream = keeper(cluster, cluster.leaders()[0])
    stream.say(*keep(lease))
    cluster.run(100)
    assert stream.answers[0].TTL == 3
    assert cluster.get(leader, b"k") == {b"k": b"x"}
