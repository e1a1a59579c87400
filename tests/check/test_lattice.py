"""The models weaker than linearizability: the textbook's histories, and agreement with the definitions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.check import brute
from tests.check.histories import OBJECTS, histories

from coterie.check import FOREVER, KEY_VALUE, LOCK, REGISTER, HistoryError, Operation, Verdict, judge, linearizable
from coterie.check.lattice import STRONGEST_FIRST, weaker_than
from coterie.check.sequential import sequential
from coterie.check.views import Guarantee

Call = tuple[int, str, str, int | None]
W, R = "write", "read"


def one_by_one(*calls: Call) -> list[Operation]:
    """Operations that do not overlap."""
    return [
        Operation(
            process=process, f=f, key=key, start=2 * at, end=2 * at + 1,
            argument=value if f == W else None, result=value if f == R else None,
        )
        for at, (process, f, key, value) in enumerate(calls)
    ]  # fmt: skip


ALL = set(STRONGEST_FIRST)
ORDERED = {"linearizable", "sequential", "causal", "pram"}

TEXTBOOK: dict[str, tuple[list[Call], set[str]]] = {
    "a stale read of another process": ([(0, W, "x", 1), (0, W, "x", 2), (1, R, "x", 1)], {"linearizable"}),
    "two processes disagree on the order of concurrent writes (Tanenbaum)": (
        [(0, W, "x", 1), (1, W, "x", 2), (2, R, "x", 1), (2, R, "x", 2), (3, R, "x", 2), (3, R, "x", 1)],
        {"linearizable", "sequential"},
    ),
    "store buffers (Dekker)": (
        [(0, W, "x", 1), (1, W, "y", 1), (0, R, "y", None), (1, R, "x", None)],
        {"linearizable", "sequential"},
    ),
    "an answer is seen without its question": (
        [(0, W, "x", 1), (1, R, "x", 1), (1, W, "y", 2), (2, R, "y", 2), (2, R, "x", None)],
        {"linearizable", "sequential", "causal", "writes-follow-reads"},
    ),
    "a later write is seen without the earlier one": (
        [(0, W, "x", 1), (0, W, "y", 2), (1, R, "y", 2), (1, R, "x", None)],
        ORDERED | {"monotonic-writes"},
    ),
    "reads go back to where there was nothing": (
        [(0, W, "x", 1), (1, R, "x", 1), (1, R, "x", None)],
        ORDERED | {"monotonic-reads"},
    ),
    "reads go back in what one process wrote": (
        [(0, W, "x", 1), (0, W, "x", 2), (1, R, "x", 2), (1, R, "x", 1)],
        ORDERED | {"monotonic-reads", "monotonic-writes"},
    ),
    "one's own write is lost": ([(0, W, "x", 1), (0, R, "x", None)], ORDERED | {"read-your-writes"}),
    "one's own older write is back": (
        [(0, W, "x", 1), (0, W, "x", 2), (0, R, "x", 1)],
        ORDERED | {"read-your-writes"},
    ),
    "a value from nowhere": ([(0, R, "x", 7)], ALL),
    "all is well": ([(0, W, "x", 1), (1, R, "x", 1), (1, W, "x", 2), (0, R, "x", 2)], set()),
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_textbooks_histories_fail_what_the_textbook_says(name: str) -> None:
    calls, fails = TEXTBOOK[name]
    judgement = judge(one_by_one(*calls), REGISTER)
    assert set(judgement.fails) == fails
    assert set(judgement.holds) == ALL - fails
    assert not judgement.undecided
    for counterexample in judgement.counterexamples:
        assert counterexample.reason
        again = judge(counterexample.operations, REGISTER)
        assert counterexample.model in again.fails, "the small part breaks what the whole breaks"


def test_a_counterexample_of_a_weak_model_leaves_out_what_has_no_part_in_it() -> None:
    noise = [(5, W, "z", 9), (6, R, "z", 9), (7, W, "y", 3)]
    calls, _ = TEXTBOOK["a later write is seen without the earlier one"]
    judgement = judge(one_by_one(*noise, *calls, *noise[1:2]), REGISTER)
    smallest = {example.model: example for example in judgement.counterexamples}["monotonic-writes"]
    assert [(o.process, o.f, o.key) for o in smallest.operations] == [(p, f, key) for p, f, key, _ in calls]
    assert smallest.culprit == smallest.operations[-1]


def test_the_lattice_has_causal_between_sequential_and_all_guarantees() -> None:
    assert weaker_than("causal") == {g.value for g in Guarantee} - {"causal"}
    assert weaker_than("linearizable") == ALL - {"linearizable"}
    assert "writes-follow-reads" not in weaker_than("pram")


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_sequential_consistency_is_that_of_trying_every_order(data: st.DataObject) -> None:
    model, fields = OBJECTS[data.draw(st.sampled_from(sorted(OBJECTS)))]
    history = data.draw(histories(fields, most=5))
    assert sequential(history, model, lambda: True) is brute.sequential(history, model)


@pytest.mark.parametrize("guarantee", Guarantee)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_each_guarantee_is_that_of_its_definition(guarantee: Guarantee, data: st.DataObject) -> None:
    model, fields = OBJECTS[data.draw(st.sampled_from(["register", "cas-register", "set"]))]
    history = data.draw(histories(fields, most=4))
    if model is REGISTER:
        history = [
            Operation(
                process=o.process, f=o.f, key=data.draw(st.sampled_from("xy")), argument=o.argument, result=o.result,
                start=o.start, end=o.end,
            )
            for o in history
        ]  # fmt: skip
    judgement = judge(history, model, steps=1_000_000)
    expected = brute.guaranteed(history, model, guarantee)
    if linearizable(history, model).holds or sequential(history, model, lambda: True):
        assert expected, "what a stronger model allows, a weaker one allows"
    assert (guarantee.value in judgement.holds) is expected
    assert (guarantee.value in judgement.fails) is not expected


def test_a_write_of_unknown_outcome_binds_nobody_who_has_not_seen_it() -> None:
    lost = Operation(process=0, f="write", key="x", argument=1, start=0)
    misses = Operation(process=0, f="read", key="x", start=2, end=3)
    sees = Operation(process=0, f="read", key="x", result=1, start=4, end=5)
    back = Operation(process=0, f="read", key="x", start=6, end=7)
    assert judge([lost, misses, sees], REGISTER).verdict is Verdict.LINEARIZABLE
    assert "monotonic-reads" in judge([lost, misses, sees, back], REGISTER).fails


def test_a_write_that_follows_a_read_is_ordered_after_what_was_read() -> None:
    calls: list[Call] = [(0, W, "x", 1), (1, R, "x", 1), (1, W, "x", 2), (2, R, "x", 2), (2, R, "x", 1)]
    assert "writes-follow-reads" in judge(one_by_one(*calls), REGISTER).fails


def test_nobody_reads_what_he_writes_later() -> None:
    assert set(judge(one_by_one((0, R, "x", 1), (0, W, "x", 1)), REGISTER).fails) == ALL


def test_two_calls_of_one_process_at_a_time_are_refused() -> None:
    two = [
        Operation(process=0, f="write", argument=1, start=0, end=3),
        Operation(process=0, f="read", result=2, start=2, end=5),
    ]
    with pytest.raises(
        HistoryError, match="process 0 calls read at 2, before its write that began at 0 has ended at 3"
    ):
        judge(two, REGISTER)


def test_models_that_are_not_defined_for_an_object_stay_open_and_a_budget_that_is_used_up_too() -> None:
    twice = [Operation(process=p, f="acquire", result=True, start=p, end=p + 5) for p in (0, 1)]
    judgement = judge(twice, LOCK)
    assert judgement.fails == ("linearizable", "sequential")
    assert set(judgement.undecided) == ALL - {"linearizable", "sequential"}
    assert judgement.strongest is None
    calls, _ = TEXTBOOK["store buffers (Dekker)"]
    poor = judge(one_by_one(*calls), REGISTER, steps=1)
    assert "sequential" in poor.undecided
    given_up = judge(one_by_one(*calls), REGISTER, lambda: False)
    assert "sequential" not in given_up.holds


def test_a_transaction_that_sees_half_of_another_is_told() -> None:
    both = (("w", "x", "1"), ("w", "y", "1"))
    half = (("r", "x", "1"), ("r", "y", ""))
    history = [
        Operation(process=0, f="txn", argument=both, result=both, start=0, end=1),
        Operation(process=1, f="txn", argument=half, result=half, start=2, end=FOREVER - 1),
    ]
    assert set(judge(history, KEY_VALUE).fails) >= {"linearizable", "sequential", "causal", "pram"}
