"""What the core does about each kind of trouble, one at a time."""

from __future__ import annotations

import msgspec
import pytest
from tests.client.world import CLUSTER, World

from coterie.client.config import ClientConfig
from coterie.client.errors import ClientClosed, ConnectionLost, Overloaded, SessionsFull, TimedOut, Unavailable
from coterie.client.requests import NEVER
from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError, Effect
from coterie.engine.protocol import (
    PROTOCOL_VERSION,
    Answer,
    Failure,
    FailureCode,
    Happened,
    Hello,
    OpenSession,
    Query,
    Submit,
    View,
    Welcome,
)
from coterie.machine.kv.auth.refusals import OLD_REVISION


def greet(world: World, *, leader: int = 0) -> int:
    """Accept the oldest dial and welcome the client; returns the connection."""
    connection = min(world.dials)
    world.accept(connection)
    world.turn()
    hello = world.wires[connection].pending.pop(0)
    response = world.serve(connection, hello)
    assert response is not None
    world.say(connection, response)
    world.say(connection, world.view(leader))
    world.turn()
    return connection


def serve_all(world: World, connection: int) -> None:
    wire = world.wires[connection]
    while wire.pending:
        response = world.serve(connection, wire.pending.pop(0))
        if response is not None:
            world.say(connection, response)
        world.turn()


def ready(world: World) -> int:
    """A client with one connection and a session."""
    world.put("first", exactly_once=True, timeout=9000)
    world.turn()
    connection = greet(world)
    serve_all(world, connection)
    assert isinstance(world.outcome("first"), Answer)
    return connection


def test_nothing_is_dialled_before_there_is_something_to_ask() -> None:
    world = World(1)
    world.turn()
    assert not world.dials
    assert world.deadline == NEVER


def test_members_are_tried_in_turn_from_a_start_that_differs() -> None:
    firsts = set()
    for seed in range(20):
        world = World(seed)
        world.ask("q", timeout=5000)
        world.turn()
        order = []
        for _ in range(3):
            (connection,) = world.dials
            order.append(world.dials[connection])
            world.refuse(connection)
            world.turn()
        assert sorted(order) == [1, 2, 3]
        assert order == [(order[0] + i - 1) % 3 + 1 for i in range(3)]
        firsts.add(order[0])
    assert firsts == {1, 2, 3}


def test_a_dial_without_answer_does_not_hold_up_the_next() -> None:
    world = World(1)
    world.ask("q", timeout=5000)
    world.turn()
    assert len(world.dials) == 1
    world.advance(260 * MILLISECOND)
    assert len(world.dials) == 2


def test_refused_dials_back_off_and_the_error_names_each_endpoint() -> None:
    world = World(1)
    world.ask("q", timeout=5000)
    dials = 0
    world.turn()
    while world.outcome("q") is None:
        for connection in tuple(world.dials):
            dials += 1
            world.refuse(connection)
        world.turn()
        if world.deadline != NEVER:
            world.advance(world.deadline - world.now)
    assert 3 * 4 < dials < 3 * 16
    assert isinstance(world.error("q"), Unavailable)
    assert world.error("q").effect is Effect.NO
    for endpoint in world.endpoints:
        assert f"{endpoint}: refused" in str(world.error("q"))
    world.turn()
    assert world.deadline == NEVER


def test_one_who_wants_no_waiting_is_told_at_once_when_all_refuse() -> None:
    world = World(1, config=ClientConfig(give_up_unreachable=True))
    world.put("p", exactly_once=True, timeout=5000)
    world.turn()
    for _ in range(3):
        world.refuse(min(world.dials))
        world.turn()
    assert isinstance(world.error("p"), Unavailable)
    assert world.core.under_way == 0


def test_commands_wait_for_one_session_and_then_go_together() -> None:
    world = World(1)
    for number in range(5):
        world.put(f"c{number}", exactly_once=True, timeout=5000)
    world.turn()
    connection = greet(world)
    wire = world.wires[connection]
    assert [type(request) for request in wire.pending] == [OpenSession]
    opened = wire.pending.pop(0)
    response = world.serve(connection, opened)
    assert response is not None
    world.say(connection, response)
    world.turn()
    assert [request.seq for request in wire.pending if isinstance(request, Submit)] == [1, 2, 3, 4, 5]
    assert {request.floor for request in wire.pending if isinstance(request, Submit)} == {1}
    serve_all(world, connection)
    world.put("later", exactly_once=True, timeout=5000)
    world.turn()
    (submit,) = wire.pending
    assert isinstance(submit, Submit)
    assert (submit.seq, submit.floor) == (6, 6)


def test_a_full_session_table_fails_the_commands_that_wait_and_none_ran() -> None:
    world = World(1)
    for name in ("a", "b"):
        world.put(name, exactly_once=True, timeout=5000)
    world.turn()
    connection = greet(world)
    (opened,) = world.wires[connection].pending
    assert isinstance(opened, OpenSession)
    world.say(connection, Failure(opened.id, FailureCode.SESSIONS_FULL, Happened.NO, "65536 sessions"))
    world.turn()
    for name in ("a", "b"):
        assert isinstance(world.error(name), SessionsFull)
        assert world.error(name).effect is Effect.NO
    assert world.core.under_way == 0


def test_a_late_request_goes_to_another_member_too_and_the_first_answer_counts() -> None:
    world = World(1)
    first = ready(world)
    world.put("x", exactly_once=True, timeout=9000)
    world.turn()
    world.advance(2100 * MILLISECOND)
    second = greet(world)
    (early,) = world.wires[first].pending
    (late,) = world.wires[second].pending
    assert isinstance(early, Submit)
    assert isinstance(late, Submit)
    assert (early.session, early.seq) == (late.session, late.seq)
    assert early.id != late.id
    serve_all(world, first)
    assert world.answer("x").body == b"x"
    serve_all(world, second)
    assert world.runs[b"x"] == 1
    assert len(world.outcomes["x"]) == 1


def test_who_refused_is_asked_again_when_the_other_that_was_asked_is_given_up() -> None:
    world = World(1)
    first = ready(world)
    world.put("x", exactly_once=True, timeout=60_000)
    world.turn()
    world.advance(2100 * MILLISECOND)
    second = greet(world)
    (attempt,) = world.wires[second].pending
    assert isinstance(attempt, Submit)
    world.wires[second].pending.clear()
    world.say(second, Failure(attempt.id, FailureCode.LEADER_LOST, Happened.UNKNOWN, "a snapshot was installed"))
    world.turn()
    assert not world.wires[second].pending
    for connection in tuple(world.dials):
        world.refuse(connection)
    world.advance(7000 * MILLISECOND)
    assert first not in world.wires
    assert world.wires[second].pending
    serve_all(world, second)
    assert world.answer("x").body == b"x"


def test_a_member_that_says_nothing_at_all_is_soon_passed_over() -> None:
    world = World(1)
    ready(world)
    world.put("x", exactly_once=True, timeout=9000)
    world.turn()
    world.advance(410 * MILLISECOND)
    second = greet(world)
    assert isinstance(world.wires[second].pending[0], Submit)
    world.put("y", exactly_once=True, timeout=9000)
    world.turn()
    assert len(world.wires[second].pending) == 2


def test_a_member_that_says_nothing_is_given_up_though_every_request_gives_up_earlier() -> None:
    world = World(1, members=1)
    silent = ready(world)
    for round in range(8):
        world.ask(f"q{round}", timeout=1000)
        world.turn()
        world.advance(1000 * MILLISECOND)
        assert isinstance(world.outcome(f"q{round}"), TimedOut | Unavailable)
    assert silent not in world.wires
    greet(world)
    world.ask("last", timeout=1000)
    world.turn()
    (connection,) = world.wires
    serve_all(world, connection)
    assert world.answer("last").body == b"last"


@pytest.mark.parametrize("answers_in_time", [True, False])
def test_when_all_that_are_connected_refuse_again_and_again_their_addresses_are_dialled_anew(
    answers_in_time: bool,
) -> None:
    """All three names have come to lead to a member that was removed, and does not know it."""
    world = World(1)
    world.ask("first", timeout=600)
    world.turn()
    for _ in range(200):
        for connection in tuple(world.dials):
            world.accept(connection)
        for connection, wire in tuple(world.wires.items()):
            while wire.pending:
                request = wire.pending.pop(0)
                if isinstance(request, Hello):
                    world.say(connection, Welcome(PROTOCOL_VERSION, CLUSTER, 9, "n9", "machine"))
                    continue
                assert isinstance(request, Query)
                if not answers_in_time:
                    world.advance(700 * MILLISECOND)
                if connection in world.wires:
                    world.say(connection, Failure(request.id, FailureCode.TIMEOUT, Happened.NO, "no leader"))
        world.turn()
        if len(world.wires) < 3 and world.now > 10_000 * MILLISECOND:
            break
        if not world.core.under_way:
            world.ask(f"at {world.now}", timeout=600)
        world.advance(50 * MILLISECOND)
        world.turn()
    assert len(world.wires) < 3
    world.settle()
    world.ask("last", timeout=9000)
    world.turn()
    world.settle()
    assert world.answer("last").body == b"last"


def test_a_member_that_answers_others_is_given_more_time() -> None:
    world = World(1)
    first = ready(world)
    world.put("slow", exactly_once=True, timeout=9000)
    world.turn()
    (slow,) = world.wires[first].pending
    for round in range(6):
        world.ask(f"q{round}", timeout=9000)
        world.turn()
        world.advance(300 * MILLISECOND)
        world.wires[first].pending.remove(slow)
        serve_all(world, first)
        world.wires[first].pending.append(slow)
    assert not world.dials
    assert list(world.wires) == [first]
    world.advance(410 * MILLISECOND)
    assert world.dials


def test_a_late_command_without_session_is_not_sent_twice() -> None:
    world = World(1)
    first = ready(world)
    world.put("x", exactly_once=False, timeout=4000)
    world.turn()
    world.advance(2100 * MILLISECOND)
    for connection in tuple(world.dials):
        world.refuse(connection)
    world.turn()
    assert len(world.wires[first].pending) == 1
    world.advance(2000 * MILLISECOND)
    assert isinstance(world.error("x"), TimedOut)
    assert world.error("x").effect is Effect.UNKNOWN


def test_a_connection_that_owes_answers_and_is_silent_is_closed() -> None:
    world = World(1)
    first = ready(world)
    world.put("x", exactly_once=False, timeout=60_000)
    world.turn()
    world.advance(6100 * MILLISECOND)
    assert first not in world.wires
    assert isinstance(world.error("x"), ConnectionLost)


def test_an_idle_connection_is_left_alone() -> None:
    world = World(1)
    first = ready(world)
    world.advance(600_000 * MILLISECOND)
    assert first in world.wires
    world.ask("q", timeout=1000)
    world.turn()
    serve_all(world, first)
    assert isinstance(world.outcome("q"), Answer)


def test_the_leader_is_dialled_and_then_preferred() -> None:
    world = World(1)
    first = ready(world)
    leader = world.wires[first].member % 3 + 1
    world.say(first, world.view(leader))
    world.ask("q1", timeout=5000)
    world.turn()
    assert len(world.wires[first].pending) == 1
    assert list(world.dials.values()) == [leader]
    second = greet(world, leader=leader)
    world.ask("q2", timeout=5000)
    world.turn()
    assert len(world.wires[second].pending) == 1


def test_a_leader_that_refuses_is_left_until_someone_names_it_again() -> None:
    world = World(1)
    first = ready(world)
    leader = world.wires[first].member % 3 + 1
    world.ask("q0", timeout=5000)
    world.say(first, world.view(leader))
    world.turn()
    second = greet(world, leader=leader)
    serve_all(world, first)
    world.ask("q1", timeout=5000)
    world.turn()
    (asked,) = world.wires[second].pending
    world.wires[second].pending.clear()
    world.advance(MILLISECOND)
    world.say(second, Failure(asked.id, FailureCode.NO_LEADER, Happened.NO, "no"))  # type: ignore[union-attr]  # no Hello
    world.ask("q2", timeout=5000)
    world.turn()
    assert len(world.wires[first].pending) == 2
    assert not world.wires[second].pending
    world.say(first, world.view(leader))
    world.ask("q3", timeout=5000)
    world.turn()
    assert len(world.wires[second].pending) == 1


def test_another_cluster_and_another_protocol_version_are_refused_with_the_reason() -> None:
    for welcome, reason in (
        (Welcome(PROTOCOL_VERSION, CLUSTER + 1, 2, "n", "m"), "belongs to cluster"),
        (Welcome(PROTOCOL_VERSION + 1, CLUSTER, 2, "n", "m"), "speaks client protocol"),
        (Failure(0, FailureCode.INVALID, Happened.NO, "not your version"), "not your version"),
    ):
        world = World(1)
        first = ready(world)
        world.cut(first)
        world.ask("q", timeout=300)
        world.turn()
        connection = min(world.dials)
        world.accept(connection)
        world.turn()
        world.say(connection, welcome)
        world.turn()
        assert connection not in world.wires
        world.advance(400 * MILLISECOND)
        assert reason in str(world.error("q"))


def test_addresses_are_learned_from_members_and_forgotten_when_they_leave() -> None:
    world = World(1)
    first = ready(world)
    book = world.core._routes.book
    world.say(first, View(0, ((77, "new", "[fd00::1]:2379"), (78, "odd", "nonsense"))))
    assert "[fd00::1]:2379" in [str(place.endpoint) for place in book.places()]
    world.say(first, View(0, ()))
    assert len(book.places()) == 3


def test_limits_are_refused_at_once_and_nothing_is_sent() -> None:
    world = World(1, config=ClientConfig(max_requests=2, max_request_bytes_total=1000))
    world.put("a", exactly_once=True, timeout=5000)
    world.turn()
    with pytest.raises(Overloaded, match="max_requests"):  # The session's opening is a request, too.
        world.put("b", exactly_once=True, timeout=5000)
    world.settle()
    with pytest.raises(Overloaded, match="max_request_bytes_total"):
        world.core.submit(world.now, bytes(1001), lambda outcome: None, timeout=1)
    world.put("a2", exactly_once=True, timeout=5000)
    world.put("b", exactly_once=True, timeout=5000)
    with pytest.raises(Overloaded, match="max_requests"):
        world.put("c", exactly_once=True, timeout=5000)
    world.settle()
    world.put("d", exactly_once=True, timeout=5000)


def test_closing_fails_what_is_under_way_with_its_true_effect() -> None:
    world = World(1)
    first = ready(world)
    world.put("sent", exactly_once=True, timeout=5000)
    world.turn()
    world.ask("asked", timeout=5000)
    world.core.close(world.now)
    world.turn()
    assert isinstance(world.error("sent"), ClientClosed)
    assert world.error("sent").effect is Effect.UNKNOWN
    assert world.error("asked").effect is Effect.NO
    assert first not in world.wires
    assert world.deadline == NEVER
    with pytest.raises(ClientClosed):
        world.ask("more", timeout=1)


def test_the_newest_revision_seen_is_remembered() -> None:
    world = World(1)
    first = ready(world)
    assert world.core.revision == 1
    world.put("x", exactly_once=True, timeout=5000)
    world.turn()
    serve_all(world, first)
    assert world.core.revision == 2


def test_deadlines_of_answered_requests_do_not_pile_up() -> None:
    world = World(1)
    first = ready(world)
    for number in range(5000):
        world.ask(f"q{number}", timeout=600_000)
        world.turn()
        serve_all(world, first)
    assert len(world.core._ledger._deadlines) <= 1100
    world.advance(700_000 * MILLISECOND)
    assert world.deadline == NEVER


def test_a_bad_setting_is_named_with_its_rule() -> None:
    with pytest.raises(ConfigurationError, match="session_window is 0"):
        ClientConfig(session_window=0)
    with pytest.raises(ConfigurationError, match="backoff_first"):
        msgspec.structs.replace(ClientConfig(), backoff_first=2_000 * MILLISECOND)


@pytest.mark.parametrize("exactly_once", [True, False])
def test_what_is_refused_for_an_old_revision_of_users_goes_again_under_a_new_number(exactly_once: bool) -> None:
    """The member that named the user was behind. In a session the machine gives that answer to the number for ever, so
    the command needs another; and the old one, which is answered, must not keep the floor down."""
    world = World(1)
    connection = ready(world)
    pending = world.wires[connection].pending
    world.put("p", exactly_once=exactly_once, timeout=5000)
    world.turn()
    (old,) = pending
    assert isinstance(old, Submit)
    pending.clear()
    world.say(connection, Failure(old.id, FailureCode.REJECTED, Happened.NO, OLD_REVISION.reason))
    world.turn()
    assert not pending  # not at once: the member has to catch up
    world.advance(2000 * MILLISECOND)
    (new,) = pending
    assert isinstance(new, Submit)
    assert (new.session, new.seq - old.seq, new.floor - old.floor) == (old.session, exactly_once, exactly_once)
    assert new.id != old.id
    serve_all(world, connection)
    assert isinstance(world.outcome("p"), Answer)


def test_any_other_rejection_is_the_answer() -> None:
    world = World(1)
    connection = ready(world)
    world.put("p", exactly_once=True, timeout=5000)
    world.turn()
    (asked,) = world.wires[connection].pending
    assert isinstance(asked, Submit)
    world.say(connection, Failure(asked.id, FailureCode.REJECTED, Happened.NO, "revision of the store is old"))
    world.turn()
    assert world.error("p").effect is Effect.NO
