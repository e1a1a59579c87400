"""A user's machine in the simulated world: what is right passes, and each fault is found and named."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sim.users import tally
from tests.sim.users.tally import MOST, Tally, letters

from coterie.core.errors import ConfigurationError
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv.machine import KeyValue
from coterie.sim import Command, Operation, Query, SimulationFailed, simulate


def asking(rng: random.Random) -> bytes | Query:
    return Query(letters(rng)) if rng.getrandbits(1) else letters(rng)


def test_a_right_machine_passes_and_the_report_says_what_was_tried(protocol: str) -> None:
    report = simulate(Tally, asking, seeds=range(4), seconds=2, protocol=protocol)
    assert (report.machine, report.protocol, report.runs) == ("Tally", protocol, 4)
    assert report.commands > 80
    assert report.operations > 160
    assert min(report.unknown, report.elections, report.crashes, report.restores) > 3
    assert report.elsewhere == "2 other processes agree"


@pytest.mark.parametrize(
    ("machine", "check", "fewest"),
    [
        (tally.Dice, "machine-deterministic", 1),
        (tally.Clock, "machine-deterministic", 1),
        (tally.Address, "machine-deterministic", 1),
        (tally.SetOrder, "machine-deterministic", 0),
        (tally.Batchwise, "machine-batches", 0),
        (tally.Forgetful, "machine-restore", 2),
        (tally.Merging, "machine-restore", 5),
        (tally.Thawing, "machine-frozen", 1),
        (tally.Raising, "machine-raised", 1),
        (tally.Hasty, "machine-rejected", 1),
        (tally.Curious, "machine-query", 0),
        (tally.Wordy, "machine-reply", 1),
        (tally.Receding, "machine-revision", 1),
    ],
)
def test_a_wrong_machine_is_named_with_what_is_wrong_and_the_fewest_commands(
    machine: type[Tally], check: str, fewest: int
) -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(machine, asking, seeds=range(4), seconds=2)
    failure, text = caught.value.failure, str(caught.value)
    assert (failure.machine, failure.check) == (machine.__name__, check)
    assert len(failure.smallest) == fewest
    assert text.startswith(f"{machine.__name__} [{check}] ")
    assert caught.value.advice in text
    assert f"simulate({machine.__name__}, ..., seeds=[{failure.options.seed}], protocol='raft'" in text
    if check != "machine-query":
        assert failure.at is not None
        assert f"at entry {failure.at.index}, ordinal {failure.at.ordinal}: {failure.at.command!r}" in text


def test_the_command_that_is_named_is_the_one_that_broke_the_law_though_more_came_with_it() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(Tally, letters, seeds=range(10), invariant=at_most_two)
    failure = caught.value.failure
    assert failure.at is not None
    assert failure.at.command == b"a"
    logged = sorted((each for each in failure.operations if each.index), key=lambda each: (each.index, each.ordinal))
    upto = [each for each in logged if (each.index, each.ordinal) <= (failure.at.index, failure.at.ordinal)]
    assert sum(each.body == b"a" for each in upto) == 3


def test_the_same_call_fails_in_the_same_way() -> None:
    texts = []
    for _ in range(2):
        with pytest.raises(SimulationFailed) as caught:
            simulate(tally.Forgetful, asking, seeds=range(4), seconds=2)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_the_replay_of_the_message_fails_at_the_same_step() -> None:
    with pytest.raises(SimulationFailed) as first:
        simulate(tally.Forgetful, asking, seeds=range(4), seconds=2)
    options = first.value.failure.options
    with pytest.raises(SimulationFailed) as again:
        simulate(
            tally.Forgetful,
            asking,
            seeds=[options.seed],
            protocol=options.protocol,
            nodes=options.nodes,
            seconds=options.duration / 1e9,
            faults=options.faults,
        )
    assert (again.value.failure.step, again.value.failure.at) == (first.value.failure.step, first.value.failure.at)


def test_every_listed_operation_is_sent_once_and_in_order_where_nothing_fails(protocol: str) -> None:
    seen: list[Operation] = []
    sent = [b"a", Command(b"b"), Query(b"a"), b"zz", b"a"] * 4

    def look(history: Sequence[Operation]) -> None:
        seen.extend(history[: len(sent)])

    report = simulate(Tally, sent, seeds=10, faults=(), nodes=3, check=look, protocol=protocol)
    assert report.commands == 16
    assert [each.body for each in seen] == [b"a", b"b", b"a", b"zz", b"a"] * 4
    assert [each.outcome for each in seen] == ["ok", "ok", "ok", "rejected", "ok"] * 4
    assert sorted(
        int(each.reply) for each in seen if each.body == b"a" and each.write and isinstance(each.reply, bytes)
    ) == [*range(1, 9)]


def at_most_two(machine: Tally) -> bool:
    return machine.counts.get("a", 0) <= 2


def test_an_invariant_that_does_not_hold_is_found_at_the_first_command_after_which_it_does_not() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(Tally, letters, seeds=[0], seconds=2, invariant=at_most_two)
    assert caught.value.failure.check == "invariant"
    assert "at_most_two returned False" in str(caught.value)
    assert [given.command for given in caught.value.failure.smallest] == [b"a", b"a", b"a"]


def test_an_invariant_of_the_empty_machine_is_looked_at_too() -> None:
    with pytest.raises(SimulationFailed, match=r"\[invariant\] .*returned False"):
        simulate(Tally, letters, seeds=[0], invariant=lambda machine: bool(machine.counts))


def test_a_check_of_the_history_gets_all_operations_and_its_words_are_told() -> None:
    def nothing_is_rejected(history: Sequence[Operation]) -> None:
        assert all(each.outcome != "rejected" for each in history), "something is"

    with pytest.raises(SimulationFailed, match=r"\[check\] nothing_is_rejected: something is"):
        simulate(Tally, letters, seeds=[0], seconds=1, check=nothing_is_rejected)


def test_a_machine_that_lives_in_a_store_is_simulated_in_it() -> None:
    from coterie.machine.kv import protocol as kv

    def puts(rng: random.Random) -> bytes | Query:
        key = b"%d" % rng.randrange(5)
        if rng.getrandbits(1):
            return Query(kv.encoder.encode(kv.Range(key)))
        return kv.encoder.encode(kv.Put(key, b"%d" % rng.randrange(100)))

    report = simulate(KeyValue, puts, seeds=[1], seconds=1.5, faults=("crash", "snapshot"))
    assert report.commands > 10


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([b"a", b"b", b"zz"]), max_size=10), st.integers(0, 1000))
def test_lists_that_hypothesis_draws_can_be_given(operations: list[bytes], seed: int) -> None:
    report = simulate(Tally, operations, seeds=seed, nodes=3, faults=("crash",), seconds=0.3)
    assert report.runs == 1


def test_a_strategy_for_one_operation_is_explored_and_a_failing_list_is_shrunk() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(
            Tally, st.sampled_from([b"b", b"a", b"zz"]), seeds=range(10), invariant=at_most_two, nodes=1, seconds=0.2
        )
    failure = caught.value.failure
    assert [each.body for each in failure.operations if not each.probe] == [b"a", b"a", b"a"]
    assert failure.options.seed == 0


def test_a_machine_from_inside_a_function_is_not_tried_elsewhere_and_the_report_says_so() -> None:
    class Local(Tally):
        pass

    report = simulate(Local, letters, seeds=[0], seconds=0.5)
    assert report.elsewhere.startswith("not checked: ")


def test_a_machine_that_reaches_its_limit_rejects_alike_everywhere() -> None:
    class Full(Tally):
        def add(self, batch: Batch, name: str) -> bytes | Rejected:
            return super().add(batch, name) if sum(self.counts.values()) < 10 else Rejected("full")

    def none_above(machine: Tally) -> bool:
        return sum(machine.counts.values()) <= min(10, MOST)

    assert simulate(Full, letters, seeds=[3], seconds=1, invariant=none_above).commands > 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"machine": Tally()}, "machine .*: give the class"),
        ({"workload": 7}, "workload 7: a function of a random.Random"),
        ({"workload": b"abc"}, "workload b'abc': a function"),
        ({"workload": [b"a", "b"]}, r"workload\[1\] is 'b': an operation is bytes"),
        ({"workload": [b"a" * (2 << 20)]}, r"workload\[0\] is an operation of 2097152 bytes: .* at most 1572856"),
        ({"workload": lambda rng: None}, "returned None: an operation is bytes"),
        ({"seeds": []}, r"seeds \[\]: one whole number"),
        ({"protocol": "zab"}, "protocol 'zab': one of raft, multipaxos"),
        ({"nodes": 0}, "nodes 0: from 1 to 7"),
        ({"seconds": 0}, "seconds 0: from 0.1 to 3600"),
        ({"faults": ["frogs"]}, "faults .'frogs'.: there are delay, "),
    ],
)
def test_a_bad_argument_is_named_with_its_rule(arguments: dict[str, object], words: str) -> None:
    call: dict[str, object] = {"machine": Tally, "workload": letters, "seeds": [0], **arguments}
    with pytest.raises(ConfigurationError, match=words):
        simulate(**call)  # type: ignore[arg-type]  # wrong on purpose
