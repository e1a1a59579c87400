"""The search agrees with the definition, for every object; and what it calls wrong is wrong for the reason shown."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.check import brute
from tests.check.histories import OBJECTS, Fields, histories, recorded

from coterie.check import (
    CAS_REGISTER,
    FOREVER,
    KEY_VALUE,
    KV_REVISIONS,
    QUEUE,
    REGISTER,
    HistoryError,
    Operation,
    linearizable,
    record,
    smallest,
)
from coterie.check.linearizability import cut, parts
from coterie.check.search import search


def op(f: str, start: int, end: int = FOREVER, process: int = 0, **fields: object) -> Operation:
    return Operation(process=process, f=f, start=start, end=end, **fields)  # type: ignore[arg-type]  # fields of any type


@pytest.mark.parametrize("name", OBJECTS)
@settings(max_examples=70, deadline=None)
@given(data=st.data())
def test_the_verdict_is_that_of_trying_every_order(name: str, data: st.DataObject) -> None:
    model, fields = OBJECTS[name]
    history = data.draw(histories(fields))
    assert linearizable(history, model).holds is brute.linearizable(history, model)


@pytest.mark.parametrize("name", OBJECTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_may_be_taken_out_or_said_less_of_a_right_history_leaves_it_right(name: str, data: st.DataObject) -> None:
    model, fields = OBJECTS[name]
    history = data.draw(histories(fields))
    if not brute.linearizable(history, model):
        return
    pure = [(place,) for place, action in enumerate(model.actions(history)) if action.effect is None]
    for group in [*pure, *model.removals(history)]:
        assert brute.linearizable([o for place, o in enumerate(history) if place not in group], model), group
    for place, operation in enumerate(history):
        weaker = model.weaker(operation)
        if weaker is not None:
            assert brute.linearizable([*history[:place], weaker, *history[place + 1 :]], model)


@pytest.mark.parametrize("name", OBJECTS)
@settings(max_examples=35, deadline=None)
@given(data=st.data())
def test_a_counterexample_is_wrong_by_itself_and_needs_each_of_its_operations(name: str, data: st.DataObject) -> None:
    model, fields = OBJECTS[name]
    history = data.draw(histories(fields, most=8))
    found = smallest(history, model)
    assert (found is None) is brute.linearizable(history, model)
    if found is None:
        return
    small = list(found.operations)
    assert not brute.linearizable(small, model)
    assert found.reason
    assert found.culprit is None or found.culprit in small
    loosest = model.looser() or model
    if brute.linearizable(small, loosest):
        loosest = model
    for place, action in enumerate(loosest.actions(small)):
        if action.effect is None:
            assert brute.linearizable([*small[:place], *small[place + 1 :]], loosest), "a look that is not needed"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_two_methods_agree_where_both_apply(data: st.DataObject) -> None:
    """Clusters (Gibbons and Korach) are what decides registers with distinct values; the search decides them, too."""
    history = data.draw(histories(OBJECTS["register"][1], most=9, processes=4))
    distinct = [
        msgspec.structs.replace(o, argument=place) if o.f == "write" else o for place, o in enumerate(history, 1)
    ]
    values = [None, *(o.argument for o in distinct if o.f == "write")]
    distinct = [
        msgspec.structs.replace(o, result=data.draw(st.sampled_from(values))) if o.f == "read" else o for o in distinct
    ]
    searched = search(distinct, REGISTER.actions(distinct), REGISTER.initials(distinct), lambda: True)
    assert linearizable(distinct, REGISTER).holds is searched.linearizable


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_is_right_with_every_revision_is_right_with_gaps_and_in_part(data: st.DataObject) -> None:
    model, fields = OBJECTS["kv-revisions"]
    history = data.draw(histories(fields, most=5))
    looser = model.looser()
    assert looser is not None
    right = brute.linearizable(history, looser)
    assert right or not brute.linearizable(history, model)
    assert linearizable(history, looser).holds is right
    for group in looser.removals(history) if right else ():
        assert brute.linearizable([o for place, o in enumerate(history) if place not in group], looser)


def test_a_stale_read_of_the_machine_with_revisions_is_shown_without_the_thousand_puts_before_it() -> None:
    puts = [
        op("put", 2 * n, 2 * n + 1, key=f"k{n % 7}", argument=n, result=record(revision=n + 2)) for n in range(1000)
    ]
    stale = op("get", 3000, 3001, process=1, key="k5", result=record(value=5, revision=7, mod=7))
    found = smallest([*puts, stale], KV_REVISIONS)
    assert found is not None
    assert len(found.operations) <= 3
    assert found.culprit == stale


def test_real_time_counts() -> None:
    stale = [op("write", 0, 1, argument=1), op("write", 2, 3, argument=2), op("read", 4, 5, result=1, process=1)]
    assert linearizable(stale, REGISTER).holds is False
    under_way = [*stale[:1], op("write", 2, 5, argument=2), stale[2]]
    assert linearizable(under_way, REGISTER).holds is True
    same_moment = [op("write", 0, 4, argument=1), op("read", 4, 5, result=None, process=1)]
    assert linearizable(same_moment, REGISTER).holds is True, "what ends when another begins is concurrent with it"


@pytest.mark.parametrize("model", [REGISTER, CAS_REGISTER])
def test_a_write_of_unknown_outcome_may_be_seen_late_or_never(model: object) -> None:
    assert isinstance(model, type(REGISTER))
    write, nothing, late = op("write", 0, argument=1), op("read", 1, 2, process=1), op("read", 8, 9, process=1)
    seen_late = msgspec.structs.replace(late, result=1)
    twice = [op("write", 0, argument=1, process=5)]
    assert linearizable([write, nothing, seen_late], model).holds is True
    assert linearizable([write, nothing, late], model).holds is True
    seen = msgspec.structs.replace(nothing, result=1)
    assert linearizable([write, seen, late], model).holds is False, "seen once, it stays"
    over = op("write", 3, 4, argument=2, process=1)
    again = msgspec.structs.replace(late, result=1)
    assert linearizable([write, seen, over, again], model).holds is False, "it takes effect once"
    assert linearizable([write, *twice, seen, over, again], model).holds is True, "there are two of them"


def test_keys_are_apart_unless_an_operation_touches_several() -> None:
    both = (("w", "x", "1"), ("w", "y", "1"))
    puts = op("txn", 0, 9, argument=both, result=both)
    sees_x = op("get", 1, 2, key="x", result="1", process=1)
    not_y = op("get", 3, 4, key="y", result="", process=1)
    assert linearizable([puts, not_y], KEY_VALUE).holds is True
    assert linearizable([puts, sees_x, not_y], KEY_VALUE).holds is False, "a transaction happens at one moment"
    assert len(parts([puts, sees_x, not_y], KEY_VALUE)) == 1
    assert [len(part) for part in parts([sees_x, not_y], KEY_VALUE)] == [1, 1]
    chained = [op("txn", 0, 1, result=(("r", a, ""), ("r", b, ""))) for a, b in ("xy", "zw", "yz")]
    assert len(parts(chained, KEY_VALUE)) == 1, "x and w are tied through y and z"


def test_a_branch_that_fails_leaves_no_trace_in_the_next() -> None:
    history = [
        op("enqueue", 0, 9, argument=1, process=0),
        op("enqueue", 0, 9, argument=2, process=1),
        op("dequeue", 10, 11, result=2, process=0),
        op("dequeue", 12, 13, result=1, process=0),
    ]
    assert linearizable(history, QUEUE).holds is True
    assert linearizable([*history, op("dequeue", 14, 15, result=1)], QUEUE).holds is False


def test_who_gives_up_says_unknown_and_never_yes() -> None:
    history = recorded(7, 3000, 30, _mixed(None))
    last = max(place for place, o in enumerate(history) if o.f == "read")
    history[last] = msgspec.structs.replace(history[last], result="never written")
    asked = []

    def stop() -> bool:
        asked.append(True)
        return False

    assert linearizable(history, CAS_REGISTER, stop).holds is None
    assert asked


def test_an_operation_that_the_object_has_not_is_named_with_its_line() -> None:
    with pytest.raises(HistoryError, match=r"line 4: field 'f' is 'pop'; a queue allows dequeue, enqueue"):
        linearizable([op("pop", 0, 1, line=4)], QUEUE)
    with pytest.raises(HistoryError, match=r"line 5: cas: field 'value' is 3; a cas-register allows a pair"):
        linearizable([op("cas", 0, 1, argument=3, result=True, line=5)], CAS_REGISTER)
    with pytest.raises(HistoryError, match="ends before it starts"):
        linearizable([op("read", 5, 1)], REGISTER)


def _mixed(values: int | None) -> Callable[[random.Random, int], Fields]:
    def call(dice: random.Random, number: int) -> Fields:
        def value(most: int | None = values) -> int:
            return number if most is None else dice.randrange(most)

        f = dice.choice(["read", "write", "cas"])
        arguments = {"read": None, "write": value(), "cas": (value(), value())}
        return {"f": f, "argument": arguments[f]}

    return call


def test_each_key_is_looked_at() -> None:
    well = [op("write", 0, 1, key="x", argument=1)]
    stale = [
        op("write", 0, 1, key="y", argument=1, process=1),
        op("write", 2, 3, key="y", argument=2, process=1),
        op("read", 4, 5, key="y", result=1, process=1),
    ]
    assert linearizable([*well, *stale], REGISTER).holds is False


def test_the_beginning_of_a_right_history_is_right() -> None:
    for seed in range(8):
        history = recorded(seed, 40, 5, _mixed(3), unknown=0.1)
        for moment in range(0, 160, 7):
            assert linearizable(cut(history, CAS_REGISTER, moment), CAS_REGISTER).holds is True, (seed, moment)


def test_a_recorded_history_with_one_lie_is_made_small() -> None:
    found = 0
    for seed in range(40):
        history = recorded(seed, 30, 4, _mixed(3))
        reads = [place for place, operation in enumerate(history) if operation.f == "read"]
        place = reads[len(reads) // 2]
        history[place] = msgspec.structs.replace(history[place], result=seed % 3)
        small = smallest(history, CAS_REGISTER)
        if small is None:
            continue  # It was no lie.
        found += 1
        kept = list(small.operations)
        assert not brute.linearizable(kept, CAS_REGISTER), "it shows nothing"
        assert small.culprit in kept
        for one, action in enumerate(CAS_REGISTER.actions(kept)):
            if action.effect is None:
                assert brute.linearizable([*kept[:one], *kept[one + 1 :]], CAS_REGISTER), "a look that is not needed"
    assert found > 10


@pytest.mark.parametrize("wrong", [False, True])
def test_ten_thousand_operations_of_ten_clients_on_one_register_take_seconds(wrong: bool) -> None:
    history = recorded(3, 10_000, 10, _mixed(5), unknown=0.0 if wrong else 0.002)
    if wrong:
        last = max(place for place, o in enumerate(history) if o.f == "read" and o.known)
        history[last] = msgspec.structs.replace(history[last], result="never written")
    begun = time.process_time()
    assert linearizable(history, CAS_REGISTER).holds is not wrong
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("wrong", [False, True])
def test_distinct_values_take_a_second_whatever_is_under_way_or_unknown(wrong: bool) -> None:
    def call(dice: random.Random, number: int) -> Fields:
        f = dice.choice(["read", "write"])
        return {"f": f, "argument": number if f == "write" else None}

    history = recorded(3, 10_000, 100, call, unknown=0.05)
    if wrong:
        last = max(place for place, o in enumerate(history) if o.f == "read" and o.known)
        history[last] = msgspec.structs.replace(history[last], result=history[last - 4000].argument)
    begun = time.process_time()
    assert linearizable(history, REGISTER).holds is not wrong
    assert time.process_time() - begun < 2
