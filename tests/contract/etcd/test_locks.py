"""The Lock service: a lock is held by one at a time, in the order in which they came, and as long as its lease."""

from __future__ import annotations

from tests.contract.etcd.serving import LOCK, REVOKE, UNLOCK, Call, ServedCluster, elected, seconds

from coterie.core.types import MemberId
from coterie.etcd.status import Code
from coterie.etcd.wire import lock, rpc


def ask_lock(cluster: ServedCluster, member: MemberId, lease: int = 0, name: bytes = b"L") -> Call[lock.LockResponse]:
    call = cluster.call(member, LOCK, lock.LockRequest(name=name, lease=lease))
    cluster.run(100)
    return call


def unlock(cluster: ServedCluster, member: MemberId, key: bytes) -> None:
    cluster.ask(member, UNLOCK, lock.UnlockRequest(key=key))
    cluster.run(100)


def keys(cluster: ServedCluster, member: MemberId) -> list[bytes]:
    return list(cluster.get(member, b"L/", b"L0"))


def test_a_lock_is_held_by_one_and_handed_on_in_the_order_of_arrival() -> None:
    cluster, leader, others = elected()
    members = [leader, *others, leader, *others]
    calls = [ask_lock(cluster, member, cluster.grant(member, 60)) for member in members]
    for place, (call, member) in enumerate(zip(calls, members, strict=True)):
        assert [other.over() for other in calls] == [True] * (place + 1) + [False] * (len(calls) - place - 1)
        unlock(cluster, member, call.answer.key)
    assert keys(cluster, leader) == []


def test_the_key_is_the_name_and_the_lease_and_exists_while_the_lock_is_held() -> None:
    cluster, leader, _ = elected()
    lease = cluster.grant(leader, 60)
    call = ask_lock(cluster, leader, lease)
    assert call.answer.key == b"L/%x" % lease
    assert cluster.get(leader, call.answer.key) == {call.answer.key: b""}


def test_who_has_the_lock_gets_it_again_at_once_by_the_same_lease() -> None:
    cluster, leader, (follower, _) = elected()
    lease = cluster.grant(leader, 60)
    first, again = ask_lock(cluster, leader, lease), ask_lock(cluster, follower, lease)
    assert first.answer.key == again.answer.key


def test_locks_of_other_names_are_other_locks_though_one_is_the_others_beginning() -> None:
    cluster, leader, _ = elected()
    for name in (b"L", b"L/x", b"LL"):
        assert ask_lock(cluster, leader, cluster.grant(leader, 60), name).over()


def test_without_a_lease_the_lock_gets_one_of_its_own() -> None:
    cluster, leader, _ = elected()
    held = ask_lock(cluster, leader)
    waiting = ask_lock(cluster, leader)
    assert not waiting.over()
    unlock(cluster, leader, held.answer.key)
    assert waiting.answer.key != held.answer.key


def test_a_lock_is_free_when_its_lease_ends_or_is_revoked() -> None:
    cluster, leader, (follower, _) = elected()
    leases = [cluster.grant(leader, 4), cluster.grant(leader, 60), cluster.grant(leader, 60)]
    calls = [ask_lock(cluster, follower, lease) for lease in leases]
    cluster.run(seconds(3))
    assert [call.over() for call in calls] == [True, False, False]
    cluster.run(seconds(2))
    assert [call.over() for call in calls] == [True, True, False]
    cluster.ask(leader, REVOKE, rpc.LeaseRevokeRequest(ID=leases[1]))
    cluster.run(200)
    assert calls[2].over()


def test_while_one_waits_its_lease_is_kept_alive_and_not_after_it_has_the_lock() -> None:
    cluster, leader, _ = elected()
    held = ask_lock(cluster, leader, cluster.grant(leader, 60))
    lease = cluster.grant(leader, 3)
    waiting = ask_lock(cluster, leader, lease)
    cluster.run(seconds(15))
    assert not waiting.over()
    unlock(cluster, leader, held.answer.key)
    assert waiting.over()
    cluster.run(seconds(5))
    assert cluster.time_to_live(leader, lease) == -1, "whoever holds it must keep it alive"


def test_a_lease_that_does_not_exist_gets_no_lock() -> None:
    cluster, leader, _ = elected()
    call = ask_lock(cluster, leader, 123)
    assert call.status == (Code.UNKNOWN, "etcdserver: requested lease not found")
    assert keys(cluster, leader) == []


def test_a_waiting_call_whose_lease_ends_does_not_get_the_lock() -> None:
    cluster, leader, _ = elected()
    held = ask_lock(cluster, leader, cluster.grant(leader, 60))
    lease = cluster.grant(leader, 60)
    waiting = ask_lock(cluster, leader, lease)
    cluster.ask(leader, REVOKE, rpc.LeaseRevokeRequest(ID=lease))
    unlock(cluster, leader, held.answer.key)
    cluster.run(200)
    assert waiting.status == (Code.UNKNOWN, "mutex: session is expired")


def test_who_gives_up_leaves_no_key_behind_and_is_passed_over() -> None:
    cluster, leader, (follower, _) = elected()
    held = ask_lock(cluster, leader, cluster.grant(leader, 60))
    quitter = ask_lock(cluster, follower, cluster.grant(leader, 60))
    last = ask_lock(cluster, leader, cluster.grant(leader, 60))
    assert len(keys(cluster, leader)) == 3
    quitter.cancel()
    cluster.run(100)
    assert len(keys(cluster, leader)) == 2
    assert not last.over(), "the one before the quitter still holds it"
    unlock(cluster, leader, held.answer.key)
    assert last.over()


def test_who_gives_up_before_the_key_is_there_leaves_none_behind() -> None:
    cluster, _, (follower, _) = elected()
    lease = cluster.grant(follower, 60)
    for steps in range(8):
        call = cluster.call(follower, LOCK, lock.LockRequest(name=b"L", lease=lease))
        for _ in range(steps):
            cluster.step()
        call.cancel()
        cluster.run(300)
        assert keys(cluster, follower) == [], f"cancelled after {steps} steps"


def test_a_leader_that_dies_while_one_waits_changes_nothing_for_who_waits_at_another_member() -> None:
    cluster, leader, (follower, other) = elected()
    held = ask_lock(cluster, other, cluster.grant(other, 60))
    waiting = ask_lock(cluster, follower, cluster.grant(follower, 60))
    cluster.crash(leader)
    cluster.run(3_000)
    assert not waiting.over()
    unlock(cluster, other, held.answer.key)
    assert waiting.over()
    assert waiting.answer.key == keys(cluster, other)[0]


def test_who_waits_is_not_misled_by_a_compaction() -> None:
    cluster, leader, _ = elected()
    held = ask_lock(cluster, leader, cluster.grant(leader, 60))
    waiting = ask_lock(cluster, leader, cluster.grant(leader, 60))
    cluster.compact(leader, cluster.put(leader, b"x"))
    cluster.run(200)
    assert not waiting.over()
    unlock(cluster, leader, held.answer.key)
    assert waiting.over()


def test_to_unlock_what_is_not_locked_changes_nothing() -> None:
    cluster, leader, _ = elected()
    held = ask_lock(cluster, leader, cluster.grant(leader, 60))
    unlock(cluster, leader, b"L/none")
    assert keys(cluster, leader) == [held.answer.key]
