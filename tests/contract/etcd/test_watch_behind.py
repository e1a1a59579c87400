"""Watchers that are behind: from the past, too slow, or cut off. Nothing is lost, nothing comes twice, and a slow one
costs what its place costs."""

from __future__ import annotations

import pytest
from tests.contract.etcd.serving import PUT, RANGE, TXN, WATCH, Event, ServedCluster, Watches, elected

from coterie.core.types import MemberId
from coterie.engine.admin_requests import ChangeSetting
from coterie.engine.work import Job
from coterie.etcd.status import Code
from coterie.etcd.watching import LIMITS, STALL_BYTES, WatchLimits
from coterie.etcd.wire import rpc

MIB = 1024 * 1024


def write(cluster: ServedCluster, member: MemberId, count: int, key: bytes = b"a") -> list[Event]:
    """So many puts of one key: what a watcher is to be told of them."""
    return [Event(cluster.put(member, key, b"%d" % number), key, b"%d" % number) for number in range(count)]


SMALL_SLICES = WatchLimits(slice_revisions=5, slice_watchers=2)


def test_watches_from_past_revisions_are_told_all_from_there_on_and_then_what_is_new() -> None:
    cluster, leader, _ = elected(limits=SMALL_SLICES)
    past = write(cluster, leader, 40)
    watches = cluster.watch(leader, b"a", start_revision=past[0].revision)
    for event in past[1::5]:
        watches.create(b"a", start_revision=event.revision)
    cluster.run(100)
    new = write(cluster, leader, 3)
    expected = past + new
    for id, first in enumerate([0, *range(1, 40, 5)]):
        assert watches.events(id) == expected[first:]


def test_a_transaction_in_the_past_is_told_whole() -> None:
    cluster, leader, _ = elected(limits=SMALL_SLICES)
    puts = [rpc.RequestOp(request_put=rpc.PutRequest(key=b"a%02d" % i, value=b"x")) for i in range(30)]
    revisions = [cluster.ask(leader, TXN, rpc.TxnRequest(success=puts)).header.revision for _ in range(12)]
    watches = cluster.watch(leader, b"a", b"b", start_revision=1)
    cluster.run(100)
    found = [{event.kv.mod_revision for event in answer.events} for answer in watches.answers]
    for revision in revisions:
        assert sum(revision in answer for answer in found) == 1, "one answer has all of it"
    assert len(watches.events()) == 12 * 30


def test_who_is_behind_delays_nobody_who_is_not() -> None:
    cluster, leader, _ = elected(limits=SMALL_SLICES)
    write(cluster, leader, 60)
    services = cluster.servers[leader].services
    prompt = cluster.watch(leader, b"now")
    for _ in range(5):
        cluster.call(leader, WATCH).say(
            rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"a", start_revision=1))
        )
    assert services.lagging
    cluster.call(leader, PUT, rpc.PutRequest(key=b"now"))
    slices = 0
    while not prompt.events():
        cluster.step()
        slices += 1
    assert services.lagging, "it was told before all of the past was"
    assert slices < 10


def test_a_stream_that_ended_is_resumed_at_another_member_without_a_gap_or_a_repetition() -> None:
    cluster, leader, others = elected()
    told: list[Event] = []
    expected: list[Event] = []
    for member in (leader, *others, leader):
        watches = cluster.watch(member, b"a", start_revision=told[-1].revision + 1 if told else 1)
        expected += write(cluster, leader, 5)
        cluster.run(100)
        watches.call.cancel()
        expected += write(cluster, leader, 2)
        told += watches.events()
    assert told == expected[: len(told)]
    assert len(told) == len(expected) - 2


def test_a_member_that_dies_ends_the_stream_and_another_one_goes_on_with_it() -> None:
    cluster, leader, (follower, other) = elected()
    watches = cluster.watch(follower, b"a")
    before = write(cluster, leader, 5)
    cluster.run(100)
    cluster.crash(follower)
    assert watches.call.status is not None
    between = write(cluster, leader, 5)
    resumed = cluster.watch(other, b"a", start_revision=watches.events()[-1].revision + 1)
    cluster.run(100)
    assert watches.events() + resumed.events() == before + between


# -- compaction ----------------------------------------------------------------------------------


def test_a_start_that_was_compacted_is_created_and_then_cancelled_with_the_first_revision_there_is() -> None:
    cluster, leader, _ = elected()
    events = write(cluster, leader, 10)
    cluster.compact(leader, events[5].revision)
    watches = cluster.watch(leader, b"a", start_revision=events[4].revision)
    watches.create(b"a", start_revision=events[5].revision)
    cluster.run(100)
    created, cancelled = [answer for answer in watches.answers if answer.watch_id == 0]
    assert (created.created, created.canceled) == (True, False)
    assert (cancelled.canceled, cancelled.compact_revision) == (True, events[5].revision)
    assert cancelled.cancel_reason == "mvcc: required revision has been compacted"
    assert watches.events(1) == events[5:], "the compaction's own revision is still there"


def test_compaction_behind_whoever_is_up_to_date_concerns_nobody() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    quiet = cluster.watch(leader, b"quiet")
    events = write(cluster, leader, 10)
    cluster.compact(leader, events[-1].revision)
    events += write(cluster, leader, 1)
    revision = cluster.put(leader, b"quiet")
    assert watches.events() == events
    assert [event.revision for event in quiet.events()] == [revision]


def slow(cluster: ServedCluster, member: MemberId) -> Watches:
    """A stream that does not read, with so much to be told that it is told no more."""
    watches = cluster.watch(member, b"a")
    watches.call.reads = False
    for _ in range(6):
        cluster.put(member, b"a", bytes(300_000))
    return watches


def test_a_slow_watcher_whose_history_is_compacted_is_told_so_and_skips_nothing_silently() -> None:
    cluster, leader, _ = elected()
    watches = slow(cluster, leader)
    last = write(cluster, leader, 3)[-1]
    cluster.compact(leader, last.revision)
    watches.call.read()
    cluster.run(100)
    watches.call.read()
    told = [event.revision for event in watches.events()]
    assert told == list(range(told[0], told[0] + len(told)))
    assert told[-1] < last.revision
    answer = watches.answers[-1]
    assert (answer.canceled, answer.compact_revision) == (True, last.revision)


def test_a_deletion_that_is_compacted_at_its_own_revision_is_still_told() -> None:
    cluster, leader, _ = elected()
    watches = slow(cluster, leader)
    revision = cluster.delete(leader, b"a")
    seen = len(watches.events())
    cluster.compact(leader, revision)
    watches.call.read()
    cluster.run(100)
    watches.call.read()
    late = cluster.watch(leader, b"a", start_revision=revision)
    cluster.run(100)
    assert late.events() == [Event(revision, b"a", None)]
    assert watches.answers[-1].canceled or len(watches.events()) == seen + 7


# -- streams that do not read --------------------------------------------------------------------


def test_a_stream_that_never_reads_keeps_a_bounded_amount_and_harms_nobody() -> None:
    cluster, leader, _ = elected()
    lazy = Watches(cluster.call(leader, WATCH))
    for _ in range(100):
        lazy.create(b"a")
    lazy.call.reads = False
    lively = cluster.watch(leader, b"a")
    for _ in range(40):
        cluster.put(leader, b"a", bytes(200_000))
    assert lazy.call.most_unsent < STALL_BYTES + 250_000
    assert len(lively.events()) == 40


def test_a_stream_that_reads_again_is_told_all_that_it_missed_once_and_in_order() -> None:
    cluster, leader, _ = elected()
    watches = slow(cluster, leader)
    watches.create(b"a", b"b")
    watches.create(b"other")
    cluster.put(leader, b"other")
    write(cluster, leader, 5)
    for _ in range(10):
        watches.call.read()
        cluster.run(50)
    watches.call.reads = True
    revision = cluster.put(leader, b"a")
    assert [event.revision for event in watches.events(0)] == [*range(2, 8), *range(9, 15)]
    assert [event.revision for event in watches.events(1)] == [*range(9, 15)]
    assert [event.revision for event in watches.events(2)] == [8]
    assert revision == 14


def test_a_watch_of_a_stream_that_does_not_read_can_be_cancelled() -> None:
    cluster, leader, _ = elected()
    watches = slow(cluster, leader)
    watches.cancel(0)
    watches.call.read()
    cluster.run(50)
    watches.call.read()
    told = len(watches.events())
    cluster.put(leader, b"a")
    watches.call.read()
    assert told < 6
    assert len(watches.events()) == told
    assert watches.answers[-1].canceled


# -- bookmarks -----------------------------------------------------------------------------------


def told_up_to(watches: Watches, place: int, id: int = 0) -> int:
    """Revision of the last event among the answers before this place; 0: none."""
    found = [e.kv.mod_revision for a in watches.answers[:place] if a.watch_id == id for e in a.events]
    return found[-1] if found else 0


def test_progress_is_answered_with_the_revision_up_to_which_all_was_told() -> None:
    cluster, leader, _ = elected()
    watches = cluster.watch(leader, b"a")
    write(cluster, leader, 3)
    other = cluster.put(leader, b"b")
    watches.ask_progress()
    answer = watches.answers[-1]
    assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, other, 0)


def test_progress_waits_for_watches_that_are_behind() -> None:
    cluster, leader, _ = elected(limits=SMALL_SLICES)
    last = write(cluster, leader, 50)[-1].revision
    watches = cluster.watch(leader, b"a", start_revision=1)
    watches.ask_progress()
    assert not watches.bookmarks()
    cluster.run(100)
    ((place, revision),) = watches.bookmarks()
    assert revision == last == told_up_to(watches, place)


def test_progress_waits_for_a_stalled_watch_and_comes_though_nothing_else_happens() -> None:
    cluster, leader, _ = elected()
    watches = slow(cluster, leader)
    last = write(cluster, leader, 2)[-1].revision
    watches.ask_progress()
    watches.call.reads = True
    watches.call.read()
    cluster.run(50)
    ((place, revision),) = watches.bookmarks()
    assert revision == last == told_up_to(watches, place)


def test_a_bookmark_is_a_place_to_resume_from_wherever_it_was_given() -> None:
    cluster, leader, (follower, other) = elected()
    watches = cluster.watch(follower, b"a")
    events: list[Event] = []
    for round in range(10):
        events += write(cluster, leader, 3)
        watches.ask_progress()
        cluster.run(20 * (round % 3))
    for place, revision in watches.bookmarks():
        resumed = cluster.watch(other, b"a", start_revision=revision + 1)
        cluster.run(20)
        before = [event for event in events if event.revision <= told_up_to(watches, place)]
        assert before + resumed.events() == events


def test_who_asked_for_it_is_told_now_and_then_that_nothing_has_changed() -> None:
    cluster = ServedCluster(limits=WatchLimits(progress_interval=10 * 1_000_000_000))
    leader, _ = cluster.elect()
    watches = cluster.watch(leader, b"a", progress_notify=True)
    watches.create(b"a")
    revision = cluster.put(leader, b"b")
    cluster.run(35_000)
    assert [answer.watch_id for answer in watches.answers[2:]] == [0, 0]
    assert all(answer.header.revision == revision for answer in watches.answers[2:])


def test_who_was_told_an_event_in_the_interval_is_told_nothing_more() -> None:
    cluster = ServedCluster(limits=WatchLimits(progress_interval=10 * 1_000_000_000))
    leader, _ = cluster.elect()
    cluster.run(11_000)
    watches = cluster.watch(leader, b"a", progress_notify=True)
    for _ in range(4):
        cluster.put(leader, b"a")
        cluster.run(5_000)
    assert not watches.bookmarks()


# -- snapshots -----------------------------------------------------------------------------------


def compacting_logs(cluster: ServedCluster, leader: MemberId) -> None:
    for id, (name, value) in enumerate(
        (("snapshot_log_bytes", 2000), ("snapshot_log_ratio", 1), ("snapshot_keep_entries", 0)), start=1
    ):
        cluster.request(leader, "office", ChangeSetting(id, name, str(value)))
        cluster.run(500)


def hold_installation(cluster: ServedCluster, member: MemberId) -> list[Job]:
    """The job that installs a snapshot is put here, and not performed."""
    node, held = cluster.nodes[member], list[Job]()
    work = node.work

    def hold(job: Job) -> None:
        if type(job).__name__ == "InstallJob":
            held.append(job)
        else:
            work(job)

    node.work = hold  # type: ignore[method-assign]
    return held


@pytest.mark.parametrize("news", [LIMITS.news_revisions, 7])
def test_a_snapshot_that_is_installed_underneath_takes_no_event_from_any_watcher(
    news: int,
) -> None:
    cluster, leader, (_, lost) = elected(limits=WatchLimits(news_revisions=news))
    compacting_logs(cluster, leader)
    watches = cluster.watch(lost, b"a")
    past = write(cluster, leader, 5)
    cluster.run(200)
    cluster.cut(lost)
    past += write(cluster, leader, 60)
    watches.create(b"a", start_revision=1)
    watches.create(b"a", start_revision=past[-1].revision + 2)
    held = hold_installation(cluster, lost)
    cluster.heal()
    cluster.run(5_000, until=lambda: bool(held))
    watches.ask_progress()
    watches.create(b"a", start_revision=2)
    assert not [p for p, revision in watches.bookmarks() if revision > told_up_to(watches, p)]
    cluster.nodes[lost].perform(held[0], cluster.now)
    cluster.flush(lost)
    cluster.run(1_000)
    assert cluster.nodes[lost].heard("snapshot-installed")
    past += write(cluster, leader, 3)
    cluster.run(200)
    assert watches.events(0) == watches.events(1) == watches.events(3) == past
    assert watches.events(2) == past[-2:]


def test_while_a_snapshot_is_installed_nobody_reads_the_machine() -> None:
    cluster, leader, (_, lost) = elected()
    compacting_logs(cluster, leader)
    cluster.cut(lost)
    write(cluster, leader, 60)
    held = hold_installation(cluster, lost)
    cluster.heal()
    cluster.run(5_000, until=lambda: bool(held))
    services = cluster.servers[lost].services
    watches = cluster.watch(lost, b"a", start_revision=1)
    assert not services.lagging, "else a shell would ask again and again"
    assert watches.events() == []
    stale = rpc.RangeRequest(key=b"a", serializable=True)
    assert cluster.refusal(lost, RANGE, stale)[0] is Code.UNAVAILABLE, "another member may do better"


def test_a_snapshot_that_knows_less_than_a_watcher_needs_cancels_it_with_the_first_revision_there_is() -> None:
    cluster, leader, (_, lost) = elected()
    compacting_logs(cluster, leader)
    watches = cluster.watch(lost, b"a")
    future = cluster.watch(lost, b"a", start_revision=200)
    past = write(cluster, leader, 5)
    cluster.run(200)
    cluster.cut(lost)
    past += write(cluster, leader, 60)
    cluster.compact(leader, past[-1].revision)
    write(cluster, leader, 20)
    cluster.heal()
    cluster.run(5_000)
    assert cluster.nodes[lost].heard("snapshot-installed")
    told = watches.events()
    assert told == past[: len(told)]
    answer = watches.answers[-1]
    assert (answer.canceled, answer.compact_revision) == (True, past[-1].revision)
    assert [answer.canceled for answer in future.answers] == [False]
    resumed = cluster.watch(lost, b"a", start_revision=answer.compact_revision)
    cluster.run(100)
    assert resumed.events()[0] == past[-1]


def test_who_does_not_read_is_not_sent_ever_more_notices_that_there_is_nothing() -> None:
    interval_ms = 1000
    limits = WatchLimits(stall_bytes=200, progress_interval=interval_ms * 1_000_000)
    cluster, leader, _ = elected(limits=limits)
    watches = cluster.watch(leader, b"a", progress_notify=True)
    watches.call.reads = False
    watches.call.most_unsent = 0
    cluster.run(100 * interval_ms)
    assert 200 < watches.call.most_unsent < 300


def test_who_does_not_read_gets_one_answer_to_all_its_requests_for_progress() -> None:
    cluster, leader, _ = elected(limits=WatchLimits(stall_bytes=200))
    watches = cluster.watch(leader, b"a")
    watches.call.reads = False
    for _ in range(100):
        watches.ask_progress()
    assert 200 < watches.call.most_unsent < 300
    assert watches.call.handler is not None
    watches.call.reads = True
    watches.call.read()
    watches.call.handler.drained()
    cluster.run(10)
    told = len(watches.bookmarks())
    assert told < 15
    watches.ask_progress()
    assert len(watches.bookmarks()) == told + 1
