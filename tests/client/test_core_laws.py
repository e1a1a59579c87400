"""Laws of the client's core, whatever the cluster and the network do."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.world import REFUSALS, World

from coterie.client.config import ClientConfig
from coterie.client.requests import Outcome
from coterie.core.config import MILLISECOND
from coterie.core.errors import Effect
from coterie.engine.protocol import Answer, Failure, Happened, Hello, Query, Submit

CONFIG = ClientConfig(session_window=3)


class Script:
    """Turns a list of numbers into decisions, so that failures shrink."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers
        self._position = 0

    def __bool__(self) -> bool:
        return self._position < len(self._numbers)

    def number(self, below: int) -> int:
        """0 to below-1; 0 when the script has ended."""
        if self._position >= len(self._numbers):
            return 0
        self._position += 1
        return self._numbers[self._position - 1] % below

    def choice(self, options: list[int]) -> int:
        return options[self.number(len(options))]


def deal_with(world: World, script: Script, connection: int) -> None:
    """Do something, right or wrong, with a request that has arrived."""
    wire = world.wires[connection]
    request = wire.pending.pop(script.number(len(wire.pending)))
    if isinstance(request, Hello):
        response = world.serve(connection, request)
        assert response is not None
        world.say(connection, response, script.number(9))
        world.say(connection, world.view(script.number(5)))
        return
    act = script.number(8)
    if act <= 2:  # As it should be; perhaps twice, perhaps after others.
        response = world.serve(connection, request)
        if response is not None:
            if act == 2:
                wire.held.append(response)
            if act != 1 or script.number(2):
                world.say(connection, response, script.number(40))
            else:
                wire.held.append(response)
    elif act == 3:  # It takes effect, and the connection closes before the answer.
        world.serve(connection, request)
        world.cut(connection)
    elif act in {4, 5} and isinstance(request, Submit | Query):
        code, happened = REFUSALS[script.number(len(REFUSALS))]
        if isinstance(request, Submit):
            world.sent.setdefault(request.command, []).append(request)
            if happened is Happened.UNKNOWN:
                world.ghosts.append(request)
            else:
                world.refused[request.command] += 1
        world.say(connection, Failure(request.id, code, happened, "refused"))
    elif isinstance(request, Submit):  # Nobody hears of it; it may run much later.
        world.sent.setdefault(request.command, []).append(request)
        world.ghosts.append(request)


def play(world: World, script: Script) -> tuple[list[str], list[str], list[str]]:
    once: list[str] = []
    bare: list[str] = []
    asked: list[str] = []
    while script:
        act = script.number(16)
        if act <= 1:
            once.append(f"once-{len(once)}")
            world.put(once[-1], exactly_once=True, timeout=500 + script.number(8000))
        elif act == 2:
            bare.append(f"bare-{len(bare)}")
            world.put(bare[-1], exactly_once=False, timeout=500 + script.number(8000))
        elif act == 3:
            asked.append(f"asked-{len(asked)}")
            world.ask(asked[-1], timeout=500 + script.number(8000))
        elif act <= 5 and world.dials:
            connection = script.choice(sorted(world.dials))
            if script.number(3):
                world.accept(connection)
            else:
                world.refuse(connection)
        elif act <= 11:
            busy = sorted(c for c, wire in world.wires.items() if wire.pending)
            if busy:
                deal_with(world, script, script.choice(busy))
        elif act == 12 and world.wires:
            connection = script.choice(sorted(world.wires))
            held = world.wires[connection].held
            if held:
                world.say(connection, held.pop(script.number(len(held))))
            else:
                world.say(connection, world.view(script.number(5)))
        elif act == 13 and world.ghosts:
            world.apply(world.ghosts.pop(script.number(len(world.ghosts))))
        elif act == 14:
            if script.number(4) == 0 and world.wires:
                world.cut(script.choice(sorted(world.wires)))
            elif script.number(3) == 0 and world.sessions:
                del world.sessions[script.choice(sorted(world.sessions))]
        else:
            world.advance(script.number(3000) * MILLISECOND)
        world.turn()
    world.settle()
    return once, bare, asked


def certain_effect(outcome: Outcome) -> Effect:
    return Effect.YES if isinstance(outcome, Answer) else outcome.effect


SCRIPTS = st.lists(st.integers(0, 9999), min_size=20, max_size=400)


def long_script(seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(10_000) for _ in range(600)]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1000), numbers=SCRIPTS)
def test_each_request_completes_once_with_the_effect_that_is_true(seed: int, numbers: list[int]) -> None:
    check_effects(seed, numbers)


def test_long_scripts_keep_the_laws_and_reach_every_kind_of_outcome() -> None:
    seen: Counter[tuple[str, Effect]] = Counter()
    for seed in range(200):
        seen += check_effects(seed, long_script(seed))
        check_numbers(seed, long_script(seed))
    assert seen["Answer", Effect.YES] > 1000
    for kind, effect in (
        ("TimedOut", Effect.UNKNOWN),
        ("TimedOut", Effect.NO),
        ("Unavailable", Effect.NO),
        ("ConnectionLost", Effect.UNKNOWN),
        ("SessionExpired", Effect.UNKNOWN),
        ("NoSpace", Effect.NO),
        ("NoSpace", Effect.UNKNOWN),
        ("Overloaded", Effect.NO),
    ):
        assert seen[kind, effect], (kind, effect)


def check_effects(seed: int, numbers: list[int]) -> Counter[tuple[str, Effect]]:
    seen: Counter[tuple[str, Effect]] = Counter()
    world = World(seed, config=CONFIG)
    once, bare, asked = play(world, Script(numbers))
    assert world.core.under_way == 0
    for name in (*once, *bare, *asked):
        outcome = world.outcome(name)
        assert outcome is not None, f"{name} never completed"
        runs = world.runs[name.encode()]
        seen[type(outcome).__name__, certain_effect(outcome)] += 1
        if name in asked:
            assert isinstance(outcome, Answer) or outcome.effect is Effect.NO
        elif isinstance(outcome, Answer):
            assert runs == 1
            assert outcome.body == name.encode()
        else:
            assert runs <= 1
            assert outcome.advice
            if outcome.effect is not Effect.UNKNOWN:
                assert runs == (1 if outcome.effect is Effect.YES else 0), (name, outcome)
    return seen


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1000), numbers=SCRIPTS)
def test_a_command_keeps_its_number_and_is_never_sent_again_unless_that_is_safe(seed: int, numbers: list[int]) -> None:
    check_numbers(seed, numbers)


def check_numbers(seed: int, numbers: list[int]) -> None:
    world = World(seed, config=CONFIG)
    once, bare, _ = play(world, Script(numbers))
    assert world.widest <= CONFIG.session_window
    names: dict[tuple[int, int], bytes] = {}
    for name in once:
        numbers_of: dict[int, set[int]] = defaultdict(set)
        for submit in world.sent.get(name.encode(), []):
            assert submit.session
            assert submit.seq >= submit.floor >= 1
            assert names.setdefault((submit.session, submit.seq), submit.command) == submit.command
            numbers_of[submit.session].add(submit.seq)
        assert all(len(seqs) == 1 for seqs in numbers_of.values())
        if len(numbers_of) > 1:  # It changed sessions: nothing may have run in those that it left.
            left = len(world.sent[name.encode()]) - world.refused[name.encode()]
            assert left <= len([s for s in world.sent[name.encode()] if s.session == max(numbers_of)])
    for name in bare:
        sent = world.sent.get(name.encode(), [])
        assert all(not submit.session and not submit.seq for submit in sent)
        assert len(sent) <= world.refused[name.encode()] + 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), numbers=SCRIPTS)
def test_the_same_inputs_give_the_same_bytes(seed: int, numbers: list[int]) -> None:
    first, second = World(seed, config=CONFIG), World(seed, config=CONFIG)
    play(first, Script(numbers))
    play(second, Script(numbers))
    assert first.bytes_out == second.bytes_out
    assert first.now == second.now


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 1000), garbage=st.binary(min_size=1, max_size=200), greeted=st.booleans())
def test_garbage_from_a_member_closes_its_connection_and_the_request_goes_elsewhere(
    seed: int, garbage: bytes, greeted: bool
) -> None:
    world = World(seed)
    world.put("x", exactly_once=True, timeout=9000)
    world.turn()
    connection = min(world.dials)
    world.accept(connection)
    if greeted:
        world.turn()
        hello = world.wires[connection].pending.pop(0)
        response = world.serve(connection, hello)
        assert response is not None
        world.say(connection, response)
    world.turn()
    world.core.received(world.now, connection, b"\xff\xff" + garbage + bytes(4))
    world.turn()
    assert connection not in world.wires
    world.settle()
    assert world.answer("x").body == b"x"
    assert world.runs[b"x"] == 1
