"""How the client gets an administrator's request to the leader, and when it sends it again."""

from __future__ import annotations

from tests.client.test_core import greet
from tests.client.world import World

from coterie.client.errors import NotNow, TimedOut, UnsafeChange
from coterie.client.requests import Outcome
from coterie.core.config import MILLISECOND
from coterie.core.errors import Effect
from coterie.engine.admin_requests import AskMembers, ChangeMembers, NewMember
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened

CHANGE = ChangeMembers(0, add=(NewMember("n4", "n4:1", ""),))


class Desk:
    """One client, one change, and the members that it reaches."""

    def __init__(self) -> None:
        self.world = World(1)
        self.outcomes: list[Outcome] = []
        core = self.world.core
        core.administer(self.world.now, CHANGE, self.outcomes.append, timeout=9000 * MILLISECOND)
        self.world.turn()

    def arrived(self, connection: int) -> ChangeMembers:
        """The change, as it came to this member."""
        request = self.world.wires[connection].pending.pop(0)
        assert isinstance(request, ChangeMembers)
        return request

    def fail(self, connection: int, code: FailureCode, happened: Happened, leader: int = 0) -> ChangeMembers:
        request = self.arrived(connection)
        self.world.say(connection, Failure(request.id, code, happened, "no", leader))
        self.world.turn()
        return request

    def outcome(self) -> Outcome:
        (outcome,) = self.outcomes
        return outcome


def test_who_does_not_lead_sends_the_client_to_who_does_and_nothing_is_marked_as_tried() -> None:
    desk = Desk()
    first = greet(desk.world)
    leader = desk.world.wires[first].member % 3 + 1
    desk.fail(first, FailureCode.NOT_LEADER, Happened.NO, leader)
    second = first
    while desk.world.wires[second].member != leader:
        while not desk.world.dials:
            desk.world.advance(100 * MILLISECOND)
        second = greet(desk.world, leader=leader)
    desk.world.advance(2000 * MILLISECOND)
    request = desk.arrived(second)
    assert not request.again, "a refusal for certain is no attempt that may have happened"
    desk.world.say(second, Answer(request.id, 0, 0, b""))
    desk.world.turn()
    assert isinstance(desk.outcome(), Answer)


def test_a_change_whose_answer_was_lost_is_sent_again_and_says_so() -> None:
    desk = Desk()
    first = greet(desk.world)
    assert not desk.arrived(first).again
    desk.world.cut(first)
    desk.world.turn()
    while not desk.world.dials:
        desk.world.advance(100 * MILLISECOND)
    second = greet(desk.world)
    assert desk.arrived(second).again
    desk.world.advance(20_000 * MILLISECOND)
    error = desk.outcome()
    assert isinstance(error, TimedOut)
    assert error.effect is Effect.UNKNOWN


def test_what_is_refused_with_a_reason_is_told_at_once() -> None:
    for code, kind in ((FailureCode.NOT_NOW, NotNow), (FailureCode.UNSAFE, UnsafeChange)):
        desk = Desk()
        desk.fail(greet(desk.world), code, Happened.NO)
        error = desk.outcome()
        assert isinstance(error, kind)
        assert error.effect is Effect.NO


def test_a_look_has_no_effect() -> None:
    world = World(1)
    outcomes: list[Outcome] = []
    world.core.administer(world.now, AskMembers(0), outcomes.append, timeout=500 * MILLISECOND)
    world.turn()
    greet(world)
    world.advance(1000 * MILLISECOND)
    (error,) = outcomes
    assert isinstance(error, TimedOut)
    assert error.effect is Effect.NO
