"""What becomes of a client's request: answered when it is true, refused with the reason, never forgotten."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.engine.cluster import Cluster, Packet

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Command, Forward, ForwardRefused, ReadIndexReply, Segment, decode
from coterie.core.replica import Refusal
from coterie.engine import proposals
from coterie.engine.engine import EngineConfig
from coterie.engine.protocol import (
    MAX_REQUEST_BYTES,
    Answer,
    AskStatus,
    CloseSession,
    Failure,
    FailureCode,
    Happened,
    Hello,
    KeepAlive,
    NodeStatus,
    OpenSession,
    Query,
    ReadMode,
    Request,
    Submit,
)

SECOND = 1_000_000_000
ME = "client"


def put(id: int, text: bytes = b"x") -> Submit:
    return Submit(id, 0, 0, 0, text)


def ask(id: int, mode: ReadMode = ReadMode.LINEARIZABLE, at_least: int = 0) -> Query:
    return Query(id, mode, at_least, b"")


def failure(cluster: Cluster, id: int) -> tuple[FailureCode, Happened]:
    answer = cluster.only_answer(ME, id)
    assert isinstance(answer, Failure), answer
    assert answer.message
    return answer.code, answer.happened


def body(cluster: Cluster, id: int) -> bytes:
    answer = cluster.only_answer(ME, id)
    assert isinstance(answer, Answer), answer
    return answer.body


def drop_replies(packets: list[Packet]) -> list[Packet]:
    return []


# -- commands ------------------------------------------------------------------------------------


def test_any_member_takes_a_command_and_answers_it() -> None:
    cluster = Cluster()
    leader, others = cluster.elect()
    for id, member in enumerate([leader, *others], start=1):
        cluster.request(member, ME, put(id, b"%d" % id))
    cluster.run(10)
    assert sorted(body(cluster, id) for id in (1, 2, 3)) == [b"1", b"2", b"3"]
    revision = cluster.only_answer(ME, 1)
    assert isinstance(revision, Answer)
    assert 1 <= revision.revision <= 3


def test_commands_that_come_while_an_entry_is_under_way_share_another() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    before = cluster.nodes[leader].engine.replica.last_index
    for id in range(1, 21):
        cluster.request(leader, ME, put(id))
    cluster.run(10)
    assert all(isinstance(cluster.only_answer(ME, id), Answer) for id in range(1, 21))
    assert cluster.nodes[leader].engine.replica.last_index <= before + 3


def test_a_batch_is_bounded_by_bytes_and_by_commands() -> None:
    cluster = Cluster(config=EngineConfig(max_batch_bytes=100, max_batch_commands=5))
    leader, others = cluster.elect()
    for member, first, size in ((leader, 0, 30), (others[0], 100, 30), (leader, 200, 1), (others[0], 300, 250)):
        engine = cluster.nodes[member].engine
        for i in range(12):
            engine.request(cluster.now, ME, put(first + i, b"%03d" % (first + i) + bytes(size)))
        cluster.flush(member)
        cluster.run(50)
    ledger = cluster.nodes[leader].ledger.lines
    assert len(ledger) == 48
    assert ledger == sorted(ledger)


@pytest.mark.parametrize("most", [1, 2, 5, 7])
def test_each_of_many_clients_gets_the_answers_to_its_own_requests_however_they_are_cut_into_batches(most: int) -> None:
    cluster = Cluster(config=EngineConfig(max_batch_commands=most, max_pending_requests=30))
    leader, _ = cluster.elect()
    engine = cluster.nodes[leader].engine
    for id, client, count in ((10, "one", 3), (20, "two", 1), (30, "one", 6), (40, "three", 2), (50, "two", 4)):
        puts = [put(id + i, f"{client} {id + i}".encode()) for i in range(count)]
        # What is no plain command stands among them, and is not passed by nor mixed up with them.
        engine.request(cluster.now, client, *puts[:2], OpenSession(id + 8, SECOND), AskStatus(id + 9), *puts[2:])
    cluster.flush(leader)
    cluster.run(100)
    lines = cluster.nodes[leader].ledger.lines
    for (asker, id), (answer,) in cluster.answers.items():
        assert isinstance(answer, Answer), answer
        if id % 10 < 8:
            assert lines[int(answer.body) - 1] == f"{asker} {id}".encode(), "the reply is the line's number"
    assert len(cluster.answers) == 16 + 2 * 5
    assert engine.idle


def test_of_requests_that_come_at_once_those_beyond_the_limit_are_refused_one_by_one() -> None:
    cluster = Cluster(config=EngineConfig(max_pending_requests=3))
    leader, _ = cluster.elect()
    too_large = put(2, bytes(MAX_REQUEST_BYTES + 1))
    cluster.nodes[leader].engine.request(cluster.now, ME, put(1), too_large, put(3), put(4), put(5), put(6))
    cluster.flush(leader)
    cluster.run(10)
    assert [body(cluster, id) for id in (1, 3, 4)] == [b"1", b"2", b"3"]
    assert failure(cluster, 2) == (FailureCode.INVALID, Happened.NO)
    assert [failure(cluster, id) for id in (5, 6)] == [(FailureCode.OVERLOADED, Happened.NO)] * 2


def test_the_machines_no_is_a_rejection() -> None:
    cluster = Cluster()
    _, (follower, _) = cluster.elect()
    cluster.request(follower, ME, put(1, b"no"))
    cluster.request(follower, ME, Query(2, ReadMode.LINEARIZABLE, 0, b"no"))
    cluster.run(10)
    assert failure(cluster, 1) == (FailureCode.REJECTED, Happened.NO)
    assert failure(cluster, 2) == (FailureCode.REJECTED, Happened.NO)


def test_without_a_leader_a_command_waits_and_then_has_not_happened() -> None:
    cluster = Cluster()
    cluster.cut(1, 2, 3)
    cluster.request(1, ME, put(1))
    cluster.run(4_900)
    assert (ME, 1) not in cluster.answers
    cluster.run(200)
    assert failure(cluster, 1) == (FailureCode.NO_LEADER, Happened.NO)
    cluster.heal()
    cluster.elect()
    assert all(node.ledger.lines == [] for node in cluster.nodes.values())


def test_a_command_that_waits_for_a_leader_goes_to_the_first() -> None:
    cluster = Cluster()
    cluster.request(2, ME, put(1))
    cluster.elect()
    assert body(cluster, 1) == b"1"


@pytest.mark.parametrize("at_leader", [True, False])
def test_no_outcome_in_time_is_unknown(at_leader: bool) -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    cluster.cut(1, 2, 3)
    cluster.request(leader if at_leader else follower, ME, put(1))
    cluster.run(5_100)
    assert failure(cluster, 1) == (FailureCode.TIMEOUT, Happened.UNKNOWN)


def test_a_command_outlives_its_leader() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    cluster.cut(leader)
    cluster.request(follower, ME, put(1))
    cluster.request(leader, ME, put(2, b"at the old leader"))
    cluster.run(2_500)
    assert body(cluster, 1) == b"1"
    assert (ME, 2) not in cluster.answers
    cluster.heal()
    cluster.run(1_000)
    assert body(cluster, 2) == b"2"
    assert cluster.nodes[follower].ledger.lines == [b"x", b"at the old leader"]


def test_a_lost_forward_is_sent_again() -> None:
    cluster = Cluster()
    _leader, (follower, _) = cluster.elect()
    cluster.request(follower, ME, put(1))
    cluster.packets.clear()
    cluster.run(600)
    assert body(cluster, 1) == b"1"


def test_what_a_slow_leader_has_not_got_through_is_sent_again_more_and_more_rarely_and_for_itself() -> None:
    """Copies of all that waits, again and again, are what a slow leader needs least."""
    cluster = Cluster(config=EngineConfig(request_timeout=20_000 * MILLISECOND))
    leader, (follower, other) = cluster.elect()
    for member in (leader, follower, other):
        cluster.nodes[member].hangs = True
    forwarded: list[tuple[int, int]] = []

    def watch(packets: list[Packet]) -> list[Packet]:
        for sender, _, data in packets:
            message = decode(data)
            if sender == follower and isinstance(message, Forward):
                forwarded.append((message.segment.first, (cluster.now - began) // MILLISECOND))
        return packets

    began, cluster.tamper = cluster.now, watch
    cluster.request(follower, ME, put(1))
    cluster.run(400)
    cluster.request(follower, ME, put(2))
    cluster.run(800)
    assert [(first, when // 100) for first, when in forwarded] == [(1, 0), (2, 4), (1, 5), (2, 9)]


def test_what_a_later_number_has_passed_has_not_happened() -> None:
    cluster = Cluster(config=EngineConfig(resend_interval=3_000 * MILLISECOND))
    leader, (follower, _) = cluster.elect()
    cluster.request(follower, ME, put(1, b"lost"))
    cluster.packets.clear()
    cluster.request(follower, ME, put(2, b"kept"))
    cluster.run(100)
    assert failure(cluster, 1) == (FailureCode.LEADER_LOST, Happened.NO)
    assert body(cluster, 2) == b"1"
    cluster.run(8_000)
    assert cluster.nodes[leader].ledger.lines == [b"kept"]


# -- overload ------------------------------------------------------------------------------------


def test_a_member_takes_only_so_many_requests() -> None:
    cluster = Cluster(config=EngineConfig(max_pending_requests=3))
    leader, _ = cluster.elect()
    engine = cluster.nodes[leader].engine
    for id in range(1, 6):
        engine.request(cluster.now, ME, put(id) if id % 2 else ask(id))
    cluster.flush(leader)
    cluster.run(50)
    assert [isinstance(cluster.only_answer(ME, id), Answer) for id in range(1, 6)] == [True, True, True, False, False]
    assert failure(cluster, 5) == (FailureCode.OVERLOADED, Happened.NO)
    assert engine.idle


def overloaded_cluster() -> tuple[Cluster, int, int]:
    """A leader that can't commit, full up to its limit, but still confirmed by its followers."""
    cluster = Cluster(config=EngineConfig(replica=ReplicaConfig(max_uncommitted_bytes=100)))
    leader, (follower, other) = cluster.elect()
    for member in (leader, follower, other):
        cluster.nodes[member].hangs = True
    cluster.request(leader, ME, put(1, bytes(90)))
    cluster.run(50)
    return cluster, leader, follower


def test_a_leader_that_is_full_says_so_and_nothing_happened() -> None:
    cluster, leader, _ = overloaded_cluster()
    cluster.request(leader, ME, put(2, bytes(90)))
    cluster.run(50)
    assert failure(cluster, 2) == (FailureCode.OVERLOADED, Happened.NO)
    for node in cluster.nodes.values():
        node.hangs = False
    cluster.run(50)
    assert body(cluster, 1) == b"1"
    cluster.request(leader, ME, put(3))
    cluster.run(50)
    assert body(cluster, 3) == b"2"


def test_a_full_leader_is_left_alone_by_the_others_and_their_commands_get_through_later() -> None:
    cluster, _, follower = overloaded_cluster()
    cluster.request(follower, ME, put(2, bytes(90)))
    backoff = cluster.nodes[follower].engine._proposals
    cluster.run(500, until=lambda: backoff.overloaded_until > cluster.now)
    cluster.request(follower, ME, put(3))
    assert failure(cluster, 3) == (FailureCode.OVERLOADED, Happened.NO)
    for node in cluster.nodes.values():
        node.hangs = False
    cluster.run(700)
    assert body(cluster, 2) == b"2"


def test_a_full_disk_is_refused_with_its_reason() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    node = cluster.nodes[leader]
    node.hangs = True
    cluster.request(leader, ME, put(1))
    node.engine.store_failed(cluster.now, node.batches[0].mark)
    cluster.run(50)
    cluster.request(leader, ME, put(2))
    cluster.request(follower, ME, put(3))
    cluster.run(50)
    assert isinstance(cluster.only_answer(ME, 1), Answer)
    assert failure(cluster, 2) == (FailureCode.NO_SPACE, Happened.NO)
    node.hangs = False
    cluster.run(700)
    assert isinstance(cluster.only_answer(ME, 3), Answer)


def test_a_leader_takes_only_so_many_commands_from_its_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "MAX_FORWARDED_COMMANDS", 2)
    cluster = Cluster()
    _leader, (follower, _) = cluster.elect()
    engine = cluster.nodes[follower].engine
    for id in (1, 2, 3):
        engine.request(cluster.now, ME, put(id))
    cluster.flush(follower)
    cluster.step()
    cluster.step()
    cluster.request(follower, ME, put(4))
    assert failure(cluster, 4) == (FailureCode.OVERLOADED, Happened.NO)


# -- reads ---------------------------------------------------------------------------------------


def test_a_linearizable_read_at_any_member_sees_what_was_acknowledged() -> None:
    cluster = Cluster()
    leader, others = cluster.elect()
    cluster.request(leader, ME, put(1, b"seen"))
    cluster.run(1000, until=lambda: (ME, 1) in cluster.answers)
    for id, member in enumerate([leader, *others], start=2):
        cluster.request(member, ME, ask(id))
    cluster.run(50)
    assert [body(cluster, id) for id in (2, 3, 4)] == [b"seen"] * 3


def test_a_read_waits_until_its_index_is_applied_here() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    replica = cluster.nodes[follower].engine.replica
    cluster.request(follower, ME, ask(1))
    token = cluster.nodes[follower].engine._last_token
    late = ReadIndexReply(replica.epoch, token, replica.last_index + 1)
    cluster.packets.clear()
    cluster.nodes[follower].engine.receive(cluster.now, leader, late)
    cluster.flush(follower)
    assert (ME, 1) not in cluster.answers
    cluster.request(leader, ME, put(2, b"it"))
    cluster.run(50)
    assert body(cluster, 1) == b"it"


def test_a_read_that_is_never_applied_here_times_out() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    engine = cluster.nodes[follower].engine
    cluster.request(follower, ME, ask(1))
    engine.receive(cluster.now, leader, ReadIndexReply(engine.replica.epoch, engine._last_token, 1000))
    cluster.packets.clear()
    cluster.run(5_100)
    assert failure(cluster, 1) == (FailureCode.TIMEOUT, Happened.NO)
    assert engine.idle


def test_a_read_outlives_its_leader() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    cluster.cut(leader)
    cluster.request(follower, ME, ask(1))
    cluster.request(leader, ME, ask(2))
    cluster.run(3_000)
    assert isinstance(cluster.only_answer(ME, 1), Answer)
    assert (ME, 2) not in cluster.answers
    cluster.heal()
    cluster.run(500)
    assert isinstance(cluster.only_answer(ME, 2), Answer)


def test_a_read_without_a_leader_or_without_a_quorum_fails_in_time() -> None:
    cluster = Cluster()
    cluster.cut(1, 2, 3)
    cluster.request(1, ME, ask(1))
    cluster.run(5_100)
    assert failure(cluster, 1) == (FailureCode.NO_LEADER, Happened.NO)
    patient = Cluster(
        config=EngineConfig(request_timeout=500 * MILLISECOND, replica=ReplicaConfig(election_timeout=SECOND))
    )
    leader, _ = patient.elect()
    patient.cut(leader)
    patient.request(leader, ME, ask(2))
    patient.run(600)
    assert failure(patient, 2) == (FailureCode.TIMEOUT, Happened.NO)


def test_a_session_read_waits_for_its_revision() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    cluster.request(follower, ME, ask(1, ReadMode.SESSION, at_least=0))
    cluster.request(follower, ME, ask(2, ReadMode.SESSION, at_least=2))
    assert body(cluster, 1) == b""
    assert (ME, 2) not in cluster.answers
    cluster.request(leader, ME, put(3, b"a"))
    cluster.run(50)
    assert (ME, 2) not in cluster.answers
    cluster.request(leader, ME, put(4, b"b"))
    cluster.run(50)
    assert body(cluster, 2) == b"a,b"


def test_a_session_read_of_a_revision_that_does_not_come_fails_in_time() -> None:
    cluster = Cluster()
    _, (follower, _) = cluster.elect()
    cluster.request(follower, ME, ask(1, ReadMode.SESSION, at_least=9))
    cluster.run(1_000)
    cluster.request(follower, ME, ask(2, ReadMode.SESSION, at_least=9))
    cluster.run(4_100)
    assert failure(cluster, 1) == (FailureCode.TIMEOUT, Happened.NO)
    assert (ME, 2) not in cluster.answers
    cluster.run(1_000)
    assert failure(cluster, 2) == (FailureCode.TIMEOUT, Happened.NO)


def stale_age(cluster: Cluster, member: int, id: int) -> int:
    cluster.request(member, ME, ask(id, ReadMode.STALE))
    answer = cluster.only_answer(ME, id)
    assert isinstance(answer, Answer)
    return answer.age


def test_a_stale_read_says_how_old_it_can_be() -> None:
    cluster = Cluster()
    assert stale_age(cluster, 1, 1) == -1
    leader, (follower, _) = cluster.elect()
    assert 0 <= stale_age(cluster, leader, 2) <= 100 * MILLISECOND
    assert 0 <= stale_age(cluster, follower, 3) <= 300 * MILLISECOND
    cluster.cut(follower)
    began = cluster.now
    cluster.run(2_000)
    age = stale_age(cluster, follower, 4)
    assert cluster.now - began <= age <= cluster.now - began + 300 * MILLISECOND


# -- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (put(7, bytes(MAX_REQUEST_BYTES + 1)), "limit is"),
        (Submit(7, 5, 0, 0, b""), "seq is 0"),
        (Submit(7, 5, 1 << 63, 0, b""), "seq is"),
        (Query(7, ReadMode.STALE, 0, bytes(MAX_REQUEST_BYTES + 1)), "limit is"),
        (Query(7, ReadMode.SESSION, -1, b""), "at_least is -1"),
    ],
)
def test_what_breaks_a_limit_is_refused_at_the_door(request_: Request, says: str) -> None:
    cluster = Cluster(size=1)
    cluster.request(1, ME, request_)
    assert failure(cluster, 7) == (FailureCode.INVALID, Happened.NO)
    answer = cluster.only_answer(ME, 7)
    assert isinstance(answer, Failure)
    assert says in answer.message


def test_a_second_hello_is_invalid() -> None:
    cluster = Cluster(size=1)
    cluster.request(1, ME, Hello(1, "again"))
    assert failure(cluster, 0) == (FailureCode.INVALID, Happened.NO)


def test_a_member_that_stops_takes_no_more_and_finishes_what_it_has() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    engine = cluster.nodes[leader].engine
    cluster.request(leader, ME, put(1))
    engine.stop(cluster.now)
    assert not engine.idle
    late_requests: list[Request] = [put(2), ask(3), OpenSession(4, SECOND)]
    for id, late in enumerate(late_requests, start=2):
        cluster.request(leader, ME, late)
        assert failure(cluster, id) == (FailureCode.STOPPING, Happened.NO)
    cluster.run(50)
    assert body(cluster, 1) == b"1"
    assert engine.idle


def test_status_never_waits() -> None:
    cluster = Cluster()
    cluster.request(2, ME, AskStatus(1))
    before = msgspec.msgpack.decode(body(cluster, 1), type=NodeStatus)
    assert (before.name, before.role, before.leader, before.boot) == ("n2", "follower", 0, 1)
    leader, _ = cluster.elect()
    cluster.request(leader, ME, AskStatus(2))
    after = msgspec.msgpack.decode(body(cluster, 2), type=NodeStatus)
    assert (after.role, after.leader, after.protocol) == ("leader", leader, cluster.protocol)
    assert after.commit == cluster.nodes[leader].engine.replica.commit > 0
    assert [(m.id, m.name, m.voter) for m in after.members] == [(1, "n1", True), (2, "n2", True), (3, "n3", True)]
    assert "leads" in after.last_elections[-1]


def test_clients_are_told_of_a_new_leader() -> None:
    cluster = Cluster()
    leader, _others = cluster.elect()
    for node in cluster.nodes.values():
        assert node.views[-1].leader == leader
        assert node.views[-1] == node.engine.view()
        assert any(event.kind == "role" and event.fields["leader"] == f"n{leader}" for event in node.events)


# -- sessions ------------------------------------------------------------------------------------


def open_session(cluster: Cluster, member: int, id: int, ttl: int) -> int:
    cluster.request(member, ME, OpenSession(id, ttl))
    cluster.run(50)
    return int(msgspec.msgpack.decode(body(cluster, id), type=int))


def test_a_command_sent_twice_in_a_session_takes_effect_once() -> None:
    cluster = Cluster()
    leader, (follower, other) = cluster.elect()
    session = open_session(cluster, follower, 1, 10 * SECOND)
    cluster.request(follower, ME, Submit(2, session, 1, 1, b"once"))
    cluster.request(other, ME, Submit(3, session, 1, 1, b"once"))
    cluster.run(50)
    assert body(cluster, 2) == body(cluster, 3) == b"1"
    assert cluster.nodes[leader].ledger.lines == [b"once"]


def test_a_session_ends_by_the_logs_time_though_nobody_writes() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    kept = open_session(cluster, leader, 1, 2 * SECOND)
    left = open_session(cluster, follower, 2, 2 * SECOND)
    cluster.run(1_500)
    cluster.request(follower, ME, KeepAlive(3, kept, 0))
    cluster.run(1_000)
    assert isinstance(cluster.only_answer(ME, 3), Answer)
    for id, session in ((4, kept), (5, left)):
        cluster.request(follower, ME, Submit(id, session, 1, 1, b"%d" % id))
    cluster.run(50)
    assert isinstance(cluster.only_answer(ME, 4), Answer)
    assert failure(cluster, 5)[0] is FailureCode.SESSION_EXPIRED
    assert cluster.nodes[leader].ledger.lines == [b"4"]


def test_a_leader_logs_time_only_when_a_session_is_due() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    replica = cluster.nodes[leader].engine.replica
    before = replica.last_index
    cluster.run(5_000)
    assert replica.last_index == before
    open_session(cluster, leader, 1, SECOND)
    opened = replica.last_index
    cluster.run(5_000)
    assert opened < replica.last_index <= opened + 2
    assert all(node.engine.host.next_timer() is None for node in cluster.nodes.values())


def test_while_something_waits_for_a_time_an_idle_leader_logs_it_now_and_then() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    cluster.request(leader, ME, Submit(1, 0, 0, 0, b"in 3600"))
    cluster.run(100)
    before = cluster.nodes[leader].engine.replica.last_index
    cluster.run(60_000)
    assert before + 5 <= cluster.nodes[leader].engine.replica.last_index <= before + 6


def test_leaders_that_come_and_go_in_an_idle_cluster_do_not_put_off_what_waits_for_a_time() -> None:
    cluster = Cluster()
    leader, _ = cluster.elect()
    cluster.request(leader, ME, Submit(1, 0, 0, 0, b"in 60"))
    cluster.run(100)
    for _ in range(4):
        cluster.run(14_000)
        cluster.crash(leader)
        cluster.run(5_000)
        cluster.restart(leader)
        leader, _ = cluster.elect()
    # 56 seconds under leaders, of which each change cost less than ten.
    cluster.run(4_000 + 4 * 10_000)
    assert all(node.ledger.lines[0].startswith(b"over with ") for node in cluster.nodes.values())


def test_an_idle_cluster_lets_its_machine_act_when_its_timer_is_reached_and_not_before() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    cluster.request(follower, ME, Submit(1, 0, 0, 0, b"in 2"))
    cluster.run(100)
    replica = cluster.nodes[leader].engine.replica
    before = replica.last_index
    cluster.run(1_700)
    assert replica.last_index == before, "time is logged only when it is due"
    assert all(node.ledger.lines[0].startswith(b"due ") for node in cluster.nodes.values())
    cluster.run(1_000)
    assert {tuple(node.ledger.lines) for node in cluster.nodes.values()} == {(b"over with %d" % (before + 1),)}
    cluster.run(3_000)
    assert replica.last_index == before + 1


def test_a_closed_session_is_forgotten() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    session = open_session(cluster, leader, 1, 10 * SECOND)
    cluster.request(follower, ME, CloseSession(2, session))
    cluster.run(50)
    cluster.request(follower, ME, Submit(3, session, 1, 1, b"late"))
    cluster.run(50)
    assert isinstance(cluster.only_answer(ME, 2), Answer)
    assert failure(cluster, 3)[0] is FailureCode.SESSION_EXPIRED


# -- peers ---------------------------------------------------------------------------------------


def test_a_forward_in_anothers_name_is_dropped_and_told() -> None:
    cluster = Cluster()
    leader, (follower, other) = cluster.elect()
    node = cluster.nodes[leader]
    command = Command(0, 0, 0, b"forged")
    for segment in (Segment(other, 1, 1, (command,)), Segment(follower, 1, 1, ()), Segment(follower, 1, 0, (command,))):
        node.engine.receive(cluster.now, follower, Forward(segment))
    cluster.run(50)
    assert [event.kind for event in node.events].count("bad-forward") == 3
    assert node.ledger.lines == []


def test_who_does_not_lead_refuses_a_forward_and_says_who_does() -> None:
    cluster = Cluster()
    leader, (follower, other) = cluster.elect()
    segment = Segment(other, 1, 1, (Command(0, 0, 0, b"x"),))
    cluster.nodes[follower].engine.receive(cluster.now, other, Forward(segment))
    cluster.flush(follower)
    refused = [(to, data) for sender, to, data in cluster.packets if sender == follower]
    assert len(refused) == 1
    assert refused[0][0] == other
    expected = ForwardRefused(1, 1, 1, int(Refusal.NOT_LEADER), leader)
    assert msgspec.msgpack.decode(refused[0][1], type=ForwardRefused) == expected


def test_a_refusal_of_an_earlier_boot_means_nothing() -> None:
    cluster = Cluster()
    leader, (follower, _) = cluster.elect()
    engine = cluster.nodes[follower].engine
    cluster.request(follower, ME, put(1))
    engine.receive(cluster.now, leader, ForwardRefused(1, 1, 99, int(Refusal.OVERLOADED), leader))
    cluster.request(follower, ME, put(2))
    cluster.run(50)
    assert isinstance(cluster.only_answer(ME, 1), Answer)
    assert isinstance(cluster.only_answer(ME, 2), Answer)


def test_the_leaders_process_gone_means_an_early_election() -> None:
    cluster = Cluster()
    leader, others = cluster.elect()
    cluster.crash(leader)
    for member in others:
        cluster.nodes[member].engine.connection_closed(cluster.now, leader, True)
        cluster.flush(member)
    cluster.run(300)
    assert cluster.leaders() == [cluster.nodes[others[0]].engine.replica.leader]
