"""What a watch tells: every change of its keys once, in order, each revision whole."""

from __future__ import annotations

import pytest
from tests.contract.etcd.serving import DELETE, PUT, TXN, WATCH, Event, Watches, elected

from coterie.etcd import watch
from coterie.etcd.calls import Caller
from coterie.etcd.status import Code
from coterie.etcd.wire import kv, rpc


def put_op(key: bytes, value: bytes = b"x") -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value))


def test_the_first_answer_says_that_the_watch_was_created_and_at_which_revision() -> None:
    cluster, leader, _ = elected()
    revision = cluster.put(leader, b"a")
    watches = cluster.watch(leader, b"a", start_revision=1)
    cluster.run(100)
    first, second = watches.answers
    assert (first.created, first.watch_id, first.header.revision, len(first.events)) == (True, 0, revision, 0)
    assert (second.created, [event.kv.key for event in second.events]) == (False, [b"a"])


def test_every_member_tells_the_same_events_in_the_order_of_their_revisions_and_once() -> None:
    cluster, leader, others = elected()
    streams = [cluster.watch(member, b"\0", b"\0") for member in cluster.nodes]
    expected = []
    for number in range(60):
        member = (leader, *others)[number % 3]
        key = b"k%d" % (number % 4)
        if number % 7 == 6:
            found = cluster.get(leader, key)
            revision = cluster.delete(member, key)
            expected += [Event(revision, key, None)] if found else []
        else:
            expected.append(Event(cluster.put(member, key, b"%d" % number), key, b"%d" % number))
    cluster.run(200)
    for watches in streams:
        assert watches.events() == expected


def test_changes_that_come_together_are_told_in_order_and_once() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"k", b"l")
    calls = [cluster.call(leader, PUT, rpc.PutRequest(key=b"k%d" % i, value=b"x")) for i in range(100)]
    cluster.wait(*calls)
    assert [event.revision for event in watches.events()] == list(range(2, 102))
    assert [event.key for event in watches.events()] == [b"k%d" % i for i in range(100)]


def test_a_transactions_events_come_in_one_answer_and_share_its_revision() -> None:
    cluster, leader, (follower, _) = elected()
    for i in range(5):
        cluster.put(leader, b"old%d" % i)
    cluster.run(200)
    watches = cluster.watch(follower, b"\0", b"\0")
    delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"old", range_end=b"ole"))
    operations = [*(put_op(b"new%d" % i) for i in range(20)), delete]
    done = cluster.ask(leader, TXN, rpc.TxnRequest(success=operations))
    cluster.run(200)
    (answer,) = [answer for answer in watches.answers if answer.events]
    assert {event.kv.mod_revision for event in answer.events} == {done.header.revision}
    assert [event.type for event in answer.events] == [kv.Event.PUT] * 20 + [kv.Event.DELETE] * 5


def test_a_deletion_is_told_with_its_key_and_revision_alone() -> None:
    cluster, leader, _ = elected()
    cluster.put(leader, b"a", b"value")
    watches = cluster.watch(leader, b"a")
    revision = cluster.delete(leader, b"a")
    (event,) = watches.answers[-1].events
    assert (event.type, event.kv) == (kv.Event.DELETE, kv.KeyValue(key=b"a", mod_revision=revision))


def test_a_key_a_prefix_and_all_from_a_key_on_are_told_what_is_theirs() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"b")
    watches.create(b"b", b"c")
    watches.create(b"b", b"\0")
    watches.create(b"", b"\0")
    for key in (b"a", b"b", b"b1", b"c"):
        cluster.put(leader, key)
    told = [[event.key for event in watches.events(id)] for id in range(4)]
    assert told == [[b"b"], [b"b", b"b1"], [b"b", b"b1", b"c"], [b"a", b"b", b"b1", b"c"]]


def test_prev_kv_gives_what_was_there_before_each_event() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a", prev_kv=True)
    first = cluster.put(leader, b"a", b"one")
    second = cluster.put(leader, b"a", b"two")
    cluster.delete(leader, b"a")
    cluster.put(leader, b"a", b"three")
    late = cluster.watch(leader, b"a", prev_kv=True, start_revision=first)
    cluster.run(100)
    for stream in (watches, late):
        events = [event for answer in stream.answers for event in answer.events]
        before = [(event.prev_kv.value, event.prev_kv.mod_revision) for event in events if event.HasField("prev_kv")]
        assert [event.HasField("prev_kv") for event in events] == [False, True, True, False]
        assert before == [(b"one", first), (b"two", second)]


def test_prev_kv_that_was_compacted_is_left_out() -> None:
    cluster, leader, _ = elected()
    cluster.put(leader, b"a", b"one")
    last = cluster.put(leader, b"a", b"two")
    cluster.compact(leader, last)
    watches = cluster.watch(leader, b"a", prev_kv=True, start_revision=last)
    cluster.run(100)
    (event,) = watches.answers[-1].events
    assert (event.kv.value, event.HasField("prev_kv")) == (b"two", False)


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [
        ([rpc.WatchCreateRequest.NOPUT], [True]),
        ([rpc.WatchCreateRequest.NODELETE], [False, False]),
        ([rpc.WatchCreateRequest.NOPUT, rpc.WatchCreateRequest.NODELETE], []),
    ],
)
def test_filters_leave_out_puts_or_deletions(filters: list[int], kinds: list[bool]) -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a", filters=filters)
    cluster.put(leader, b"a")
    cluster.delete(leader, b"a")
    cluster.put(leader, b"a")
    assert [event.value is None for event in watches.events()] == kinds
    assert all(answer.events or answer.created for answer in watches.answers), "no answer has nothing to say"


def test_a_watch_from_a_future_revision_is_told_nothing_before_it() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a", start_revision=5)
    assert watches.answers[0].created
    for _ in range(6):
        cluster.put(leader, b"a")
    assert [event.revision for event in watches.events()] == [5, 6, 7]


@pytest.mark.parametrize("start", [0, -1])
def test_a_start_revision_below_one_means_from_now_on(start: int) -> None:
    cluster, leader, _ = elected()
    cluster.put(leader, b"a")
    watches = cluster.watch(leader, b"a", start_revision=start)
    revision = cluster.put(leader, b"a")
    assert [event.revision for event in watches.events()] == [revision]


def test_ids_are_given_or_chosen_and_never_twice() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.create(b"a", watch_id=1)
    watches.create(b"a")
    watches.create(b"a", watch_id=7)
    assert [answer.watch_id for answer in watches.answers] == [0, 1, 2, 7]
    watches.create(b"b", watch_id=7)
    refused = watches.answers[-1]
    assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    cluster.put(leader, b"b")
    cluster.put(leader, b"a")
    assert [event.key for event in watches.events(7)] == [b"a"], "the first of that id goes on, the second is not there"


@pytest.mark.parametrize(("key", "end"), [(b"b", b"a"), (b"b", b"b")])
def test_an_empty_range_is_refused_and_the_stream_goes_on(key: bytes, end: bytes) -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, key, end)
    (refused,) = watches.answers
    assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
    watches.create(b"a")
    cluster.put(leader, b"a")
    assert len(watches.events(watches.answers[1].watch_id)) == 1


def test_one_watch_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MAX_WATCHES", 2)
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.create(b"b")
    watches.create(b"c")
    assert [answer.canceled for answer in watches.answers] == [False, False, True]
    assert "2 watches, the limit" in watches.answers[-1].cancel_reason
    watches.cancel(0)
    watches.create(b"c")
    assert not watches.answers[-1].canceled


def test_a_cancelled_watch_says_so_and_then_nothing_while_others_of_the_stream_go_on() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.create(b"a")
    watches.cancel(0)
    answer = watches.answers[-1]
    assert (answer.watch_id, answer.canceled, answer.compact_revision) == (0, True, 0)
    cluster.put(leader, b"a")
    assert (watches.events(0), len(watches.events(1))) == ([], 1)


def test_to_cancel_what_is_not_there_changes_nothing() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.cancel(17)
    watches.cancel(-1)
    assert len(watches.answers) == 1
    assert watches.call.status is None
    cluster.put(leader, b"a")
    assert len(watches.events()) == 1


def test_after_the_callers_half_close_the_watches_go_on() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.call.half_close()
    cluster.put(leader, b"a")
    assert watches.call.status is None
    assert len(watches.events()) == 1


def test_a_stream_whose_caller_has_gone_costs_nothing_more() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.create(b"a", b"b", start_revision=1)
    hub = cluster.servers[leader].services._watch.hub
    assert hub._interests
    watches.call.cancel()
    cluster.put(leader, b"a")
    assert not hub._interests
    assert not hub.lagging
    assert not cluster.servers[leader].services._watch._streams


def test_what_is_no_watch_request_ends_the_stream_with_an_error() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    watches.call.say(b"\xff\xff\xff")
    assert watches.call.status is not None
    assert watches.call.status[0] is Code.INTERNAL
    watches.create(b"a")
    assert not cluster.servers[leader].services._watch.hub._interests, "nothing is begun on a stream that has ended"


def test_a_request_for_nothing_is_passed_over() -> None:
    cluster, leader, _ = elected()
    watches = Watches(cluster.call(leader, WATCH))
    watches.call.say(rpc.WatchRequest())
    assert (watches.answers, watches.call.status) == ([], None)


def test_fragments_are_bounded_hold_each_event_once_and_all_but_the_last_say_that_more_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "FRAGMENT_BYTES", 10_000)
    cluster, leader, _ = elected()
    plain = cluster.watch(leader, b"\0", b"\0")
    fragmented = cluster.watch(leader, b"\0", b"\0", fragment=True)
    operations = [put_op(b"k%02d" % i, bytes(3000)) for i in range(20)] + [put_op(b"large", bytes(30_000))]
    cluster.ask(leader, TXN, rpc.TxnRequest(success=operations))
    (whole,) = plain.answers[1:]
    pieces = fragmented.answers[1:]
    assert not whole.fragment
    assert len(pieces) == 8
    assert [piece.fragment for piece in pieces] == [True] * 7 + [False]
    assert {piece.header.revision for piece in pieces} == {whole.header.revision}
    assert [event for piece in pieces for event in piece.events] == list(whole.events)
    assert all(piece.ByteSize() < 11_000 for piece in pieces[:-1])


def test_a_small_answer_is_not_cut() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a", fragment=True)
    cluster.put(leader, b"a")
    assert [answer.fragment for answer in watches.answers] == [False, False]


def test_thousands_of_watches_of_many_streams_are_each_told_what_is_theirs() -> None:
    cluster, leader, _ = elected()
    streams = [Watches(cluster.call(leader, WATCH)) for _ in range(50)]
    for number, watches in enumerate(streams):
        creates = [rpc.WatchCreateRequest(key=b"k%d" % key) for key in range(59)]
        creates.append(rpc.WatchCreateRequest(key=b"k%d" % number, range_end=b"\0", start_revision=1))
        watches.call.say(*(rpc.WatchRequest(create_request=create) for create in creates))
    for key in range(59):
        cluster.put(leader, b"k%d" % key)
    cluster.ask(leader, DELETE, rpc.DeleteRangeRequest(key=b"k", range_end=b"l"))
    cluster.run(100)
    for number, watches in enumerate(streams):
        for key in range(59):
            assert [event.value is None for event in watches.events(key)] == [False, True]
        expected = sorted(key for key in range(59) if b"k%d" % key >= b"k%d" % number)
        assert sorted(int(event.key[1:]) for event in watches.events(59) if event.value is not None) == expected


def test_without_a_leader_for_long_only_streams_that_asked_to_be_told_end() -> None:
    cluster, leader, (follower, _) = elected()
    told = Watches(cluster.call(follower, WATCH, caller=Caller(require_leader=True)))
    told.create(b"a")
    patient = cluster.watch(follower, b"a")
    for member in list(cluster.nodes):
        if member != follower:
            cluster.crash(member)
    cluster.run(10_000)
    assert told.call.status == (Code.UNAVAILABLE, "etcdserver: no leader")
    assert patient.call.status is None
    late = cluster.call(follower, WATCH, caller=Caller(require_leader=True))
    assert late.status == (Code.UNAVAILABLE, "etcdserver: no leader")
    for member in cluster.disks:
        if member != follower:
            cluster.restart(member)
    cluster.run(5_000)
    revision = cluster.put(leader, b"a")
    cluster.run(200)
    assert [event.revision for event in patient.events()] == [revision]


def test_a_change_of_the_leader_ends_no_stream_and_loses_no_event() -> None:
    cluster, leader, (follower, other) = elected()
    watches = Watches(cluster.call(follower, WATCH, caller=Caller(require_leader=True)))
    watches.create(b"a")
    revisions = [cluster.put(follower, b"a")]
    cluster.crash(leader)
    cluster.run(3_000)
    revisions.append(cluster.put(other, b"a"))
    cluster.run(200)
    assert watches.call.status is None
    assert [event.revision for event in watches.events()] == revisions
