"""Each object of the checker against a plain program that does the same: one operation after the other, a history is
right exactly if the answers are the program's. (Where operations overlap, the search is held against brute force; but
that asks the same objects what they do.)"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from tests.check.histories import Fields

from coterie.check import (
    CAS_REGISTER,
    FOREVER,
    KEY_VALUE,
    KV_REVISIONS,
    LOCK,
    QUEUE,
    REGISTER,
    SET,
    HistoryError,
    Model,
    Operation,
    linearizable,
    record,
)

Answer = Callable[[Fields, int], Any]
"""What the object answers to a call of a process, and does; None: nothing is answered."""


def register() -> Answer:
    value = None

    def answer(call: Fields, process: int) -> Any:
        nonlocal value
        if call["f"] == "read":
            return value
        if call["f"] == "write":
            value = call["argument"]
            return None
        expected, new = call["argument"]
        took = value == expected
        value = new if took else value
        return took

    return answer


def queue() -> Answer:
    items: list[int] = []

    def answer(call: Fields, process: int) -> Any:
        if call["f"] == "enqueue":
            items.append(call["argument"])
            return None
        return items.pop(0) if items else None

    return answer


def whole_set() -> Answer:
    elements: set[Any] = set()

    def answer(call: Fields, process: int) -> Any:
        f, element = call["f"], call.get("argument")
        if f == "read":
            return tuple(sorted(elements))
        if f == "contains":
            return element in elements
        if f == "add":
            elements.add(element)
        else:
            elements.discard(element)
        return None

    return answer


def lock() -> Answer:
    holder: int | None = None

    def answer(call: Fields, process: int) -> Any:
        nonlocal holder
        if call["f"] == "acquire":
            took = holder is None
            holder = process if took else holder
        else:
            took = holder == process
            holder = None if took else holder
        return took

    return answer


def key_value() -> Answer:
    values: dict[str, str] = {}

    def answer(call: Fields, process: int) -> Any:
        if call["f"] == "get":
            return values.get(call["key"], "")
        if call["f"] == "txn":
            found = []
            for f, key, value in call["argument"]:
                if f != "r":
                    values[key] = (values.get(key, "") if f == "append" else "") + value
                found.append((f, key, values.get(key, "") if f == "r" else value))
            return tuple(found)
        before = values.get(call["key"], "") if call["f"] == "append" else ""
        values[call["key"]] = before + call["argument"]
        return None

    return answer


def revisions() -> Answer:
    """As `coterie.machine.kv` answers; at first its revision is 0."""
    items: dict[str, tuple[str, int]] = {}
    revision = 0

    def answer(call: Fields, process: int) -> Any:
        nonlocal revision
        f, key = call["f"], call["key"]
        value, mod = items.get(key, (None, 0))
        if f == "get":
            return record(value=value, revision=revision, mod=mod)
        if f == "delete":
            revision += value is not None
            items.pop(key, None)
            return record(deleted=int(value is not None), revision=revision)
        expected, new = call["argument"] if f == "cas" else (value, call["argument"])
        took = value == expected
        if took:
            revision += 1
            items[key] = (new, revision)
        return record(revision=revision) if f == "put" else record(succeeded=took, revision=revision)

    return answer


class Object(NamedTuple):
    """One object of the checker, and how it is tried."""

    model: Model
    program: Callable[[], Answer]
    call: Callable[[random.Random], Fields]
    """Any call."""
    otherwise: Callable[[random.Random, Fields, Any], Any]
    """An answer to the call that is not the given one; the same one, if the call has no other."""


def _register_call(dice: random.Random) -> Fields:
    return {"f": dice.choice(["read", "write"]), "argument": dice.choice([1, 2])}


def _cas_call(dice: random.Random) -> Fields:
    f = dice.choice(["read", "write", "cas"])
    return {"f": f, "argument": (dice.choice([1, 2]), dice.choice([1, 2])) if f == "cas" else dice.choice([1, 2])}


def _key_value_call(dice: random.Random) -> Fields:
    f = dice.choice(["get", "put", "append", "txn", "txn"])
    if f != "txn":
        return {"f": f, "key": dice.choice("xy"), "argument": dice.choice("ab")}
    parts = [(dice.choice(["r", "w", "append"]), dice.choice("xy"), dice.choice("ab")) for _ in range(2)]
    return {"f": f, "argument": tuple((f, key, None if f == "r" else value) for f, key, value in parts)}


def _revisions_call(dice: random.Random) -> Fields:
    f = dice.choice(["get", "put", "delete", "cas"])
    compared = (dice.choice([None, "a", "b"]), dice.choice("ab"))
    return {"f": f, "key": dice.choice("xy"), "argument": compared if f == "cas" else dice.choice("ab")}


def _one_of(values: Sequence[Any]) -> Callable[[random.Random, Fields, Any], Any]:
    def otherwise(dice: random.Random, call: Fields, answer: Any) -> Any:
        return dice.choice([value for value in values if value is not answer and value != answer])

    return otherwise


def _of_a_register(dice: random.Random, call: Fields, answer: Any) -> Any:
    if call["f"] == "write":
        return answer
    return not answer if call["f"] == "cas" else _one_of([None, 1, 2])(dice, call, answer)


def _of_a_queue(dice: random.Random, call: Fields, answer: Any) -> Any:
    return answer if call["f"] == "enqueue" else _one_of([None, 1, 2, 3])(dice, call, answer)


def _of_a_set(dice: random.Random, call: Fields, answer: Any) -> Any:
    if call["f"] == "read":
        return _one_of([(), (1,), (2,), (1, 2)])(dice, call, answer)
    return not answer if call["f"] == "contains" else answer


def _of_a_key_value(dice: random.Random, call: Fields, answer: Any) -> Any:
    if call["f"] == "get":
        return _one_of(["", "a", "b", "ab", "ba"])(dice, call, answer)
    reads = [place for place, part in enumerate(answer or ()) if part[0] == "r"]
    if not reads:
        return answer
    place = dice.choice(reads)
    f, key, value = answer[place]
    return (*answer[:place], (f, key, _one_of(["", "a", "b", "ab"])(dice, call, value)), *answer[place + 1 :])


def _of_revisions(dice: random.Random, call: Fields, answer: Any) -> Any:
    fields = dict(answer)
    # Of a key that is not there `mod` says nothing.
    name = dice.choice(sorted(name for name in fields if name != "mod" or fields["value"] is not None))
    others: dict[str, list[Any]] = {"value": [None, "a", "b"], "succeeded": [True, False], "deleted": [0, 1]}
    return record(**(fields | {name: _one_of(others.get(name, [*range(8)]))(dice, call, fields[name])}))


OBJECTS = {
    "register": Object(REGISTER, register, _register_call, _of_a_register),
    "cas-register": Object(CAS_REGISTER, register, _cas_call, _of_a_register),
    "key-value": Object(KEY_VALUE, key_value, _key_value_call, _of_a_key_value),
    "kv-revisions": Object(KV_REVISIONS, revisions, _revisions_call, _of_revisions),
    "queue": Object(
        QUEUE, queue, lambda dice: {"f": dice.choice(["enqueue", "dequeue"]), "argument": dice.choice([1, 2, 3])},
        _of_a_queue,
    ),
    "set": Object(
        SET, whole_set,
        lambda dice: {"f": dice.choice(["add", "remove", "contains", "read"]), "argument": dice.choice([1, 2])},
        _of_a_set,
    ),
    "lock": Object(
        LOCK, lock, lambda dice: {"f": dice.choice(["acquire", "release"])}, lambda dice, call, answer: not answer
    ),
}  # fmt: skip


def one_by_one(calls: Sequence[tuple[int, Fields]]) -> list[Operation]:
    """Operations that do not overlap."""
    return [
        Operation(process=process, start=2 * at, end=2 * at + 1, **call) for at, (process, call) in enumerate(calls)
    ]


@pytest.mark.parametrize("name", OBJECTS)
def test_one_operation_after_the_other_is_right_exactly_as_the_object_answers(name: str) -> None:
    model, program, any_call, otherwise = OBJECTS[name]
    wrong = 0
    for seed in range(400):
        dice = random.Random(seed)
        answer = program()
        calls = [(dice.randrange(3), any_call(dice)) for _ in range(dice.randrange(1, 8))]
        if model is KV_REVISIONS:
            calls.insert(0, (0, {"f": "get", "key": "x"}))  # else it may have begun at any revision
        right = [(process, call | {"result": answer(call, process)}) for process, call in calls]
        assert linearizable(one_by_one(right), model).holds is True, right
        *before, (process, last) = right
        other = otherwise(dice, last, last["result"])
        if before and other != last["result"]:
            wrong += 1
            lie = (process, last | {"result": other})
            assert linearizable(one_by_one([*before, lie]), model).holds is False, (right, other)
    assert wrong > 100


def test_an_unknown_outcome_is_one_that_the_object_can_have() -> None:
    lost = Operation(process=0, f="cas", argument=(1, 2), start=0, end=FOREVER)
    nothing = Operation(process=1, f="cas", argument=(2, 3), result=True, start=1, end=2)
    assert linearizable([lost, nothing], CAS_REGISTER).holds is False, "it did not find 1, so it did not set 2"
    write = Operation(process=2, f="write", argument=1, start=1, end=2)
    later = Operation(process=1, f="cas", argument=(2, 3), result=True, start=3, end=4)
    assert linearizable([lost, write, later], CAS_REGISTER).holds is True


def test_with_gaps_revisions_still_go_up() -> None:
    looser = KV_REVISIONS.looser()
    assert looser is not None

    def put(revision: int, at: int) -> Operation:
        return Operation(
            process=0, f="put", key="a", argument="1", result=record(revision=revision), start=at, end=at + 1
        )

    assert linearizable([put(3, 0), put(7, 2)], looser).holds is True
    assert linearizable([put(7, 0), put(3, 2)], looser).holds is False
    assert linearizable([put(7, 0), put(7, 2)], looser).holds is False


def test_an_answer_to_another_transaction_than_was_called_is_refused() -> None:
    called = (("r", "x", None), ("w", "y", "1"))
    for answered in ((("r", "x", ""),), (("r", "z", ""), ("w", "y", "1")), (("r", "x", ""), ("w", "y", "2"))):
        txn = Operation(process=0, f="txn", argument=called, result=answered, start=0, end=1, line=3)
        with pytest.raises(HistoryError, match=r"line 3: txn: field 'value' .* the parts that were called"):
            linearizable([txn], KEY_VALUE)
