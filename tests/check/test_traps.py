"""Small histories on which a checker with one rule left out goes wrong: each was found with just that rule left out."""

from __future__ import annotations

import pytest

from coterie.check import (
    CAS_REGISTER,
    FOREVER,
    KEY_VALUE,
    KV_REVISIONS,
    REGISTER,
    SET,
    Model,
    Operation,
    judge,
    linearizable,
    record,
)
from coterie.check.linearizability import plain
from coterie.check.sequential import sequential

W, R, CAS = "write", "read", "cas"
Line = tuple[int, str, object, object, int, int | None]
"""Process, what it called, argument, answer, start, end (None: nobody knows)."""


def history(*lines: Line) -> list[Operation]:
    return [
        Operation(process=p, f=f, argument=a, result=r, start=s, end=FOREVER if e is None else e)
        for p, f, a, r, s, e in lines
    ]


SEARCHED: dict[str, tuple[bool, list[Line]]] = {
    "what ended comes before what begins": (
        False,
        [(1, W, 2, None, 0, 1), (1, CAS, (2, 1), True, 2, 3), (0, CAS, (1, 2), False, 4, 4)],
    ),
    "what ends when another begins is concurrent with it": (
        True,
        [(0, W, 1, None, 0, 1), (2, CAS, (1, 1), False, 1, 2)],
    ),
    "an unknown outcome is no failure": (
        True,
        [(1, W, 2, None, 0, None), (0, CAS, (1, 1), False, 1, 2), (0, R, None, 2, 3, 4)],
    ),
    "what of unknown outcome began need not happen": (
        True,
        [(0, CAS, (1, 2), True, 0, None), (1, R, None, None, 1, 2), (2, CAS, (3, 3), False, 3, 4)],
    ),
    "two ways to one state, with other operations done on the way": (
        True,
        [(3, W, 1, None, 0, 1), (3, W, 1, None, 2, 5), (2, CAS, (1, 2), True, 3, 4), (2, CAS, (1, 2), False, 6, 7)],
    ),
    "what one branch spent of unknown outcomes is there in the next": (
        True,
        [
            (3, W, 2, None, 0, None),
            (2, CAS, (2, 1), True, 0, None),
            (0, W, 1, None, 0, None),
            (1, R, None, 1, 1, 2),
            (4, CAS, (1, 1), False, 3, 4),
        ],
    ),
    "who has used less may go further": (
        True,
        [
            (0, W, 2, None, 0, 0),
            (4, W, 2, None, 0, None),
            (3, W, 1, None, 1, 2),
            (5, CAS, (2, 1), True, 1, 2),
            (1, CAS, (2, 1), True, 3, 4),
        ],
    ),
    "the same operations done, and another state": (
        True,
        [(1, W, 1, None, 0, None), (2, CAS, (1, 2), True, 1, 2)],
    ),
    "nothing takes effect before it began": (
        False,
        [(2, CAS, (2, 1), True, 0, 1), (0, W, 2, None, 2, None)],
    ),
    "what of unknown outcome happens once": (
        False,
        [
            (0, CAS, (3, 1), False, 0, 0),
            (0, W, 1, None, 0, None),
            (1, R, None, 1, 1, 2),
            (1, W, 2, None, 3, 4),
            (1, R, None, 1, 5, 6),
        ],
    ),
    "what somebody saw of an unknown outcome was of use to him": (
        True,
        [(0, W, 2, None, 0, None), (1, R, None, 2, 0, 1), (2, CAS, (2, 2), False, 2, 4), (1, W, 1, None, 3, 5)],
    ),
    "a look that does not fit has to wait": (
        False,
        [(1, CAS, (2, 2), True, 0, None), (0, W, 2, None, 1, 2), (0, R, None, None, 3, 4)],
    ),
    "a value that is written twice does not say which write was read": (
        False,
        [(0, W, 2, None, 0, 1), (0, R, None, None, 2, 4), (1, W, 2, None, 2, 3)],
    ),
}
CLUSTERS: dict[str, tuple[bool, list[Line]]] = {
    "each value was there after the other had been replaced": (
        False,
        [(3, W, 6, None, 0, 1), (0, W, 2, None, 1, 1), (1, R, None, 6, 2, 4), (3, R, None, 2, 3, 5)],
    ),
    "a write in the middle of another's reads": (
        False,
        [(3, W, 1, None, 0, 1), (2, W, 4, None, 2, 2), (1, R, None, 1, 3, 3)],
    ),
    "what is read when its write begins may be read": (True, [(0, R, None, 1, 0, 1), (1, W, 1, None, 1, 2)]),
    "what nobody wrote": (False, [(0, W, 1, None, 0, 1), (0, R, None, 2, 2, 3)]),
    "a write of unknown outcome, seen late": (
        True,
        [(0, W, 1, None, 0, None), (1, R, None, None, 1, 2), (1, R, None, 1, 3, 4)],
    ),
}
SEQUENCES: dict[str, tuple[bool, list[Line]]] = {
    "the order of a process counts": (False, [(2, W, 2, None, 0, 1), (2, R, None, None, 2, 3)]),
    "real time does not": (True, [(0, W, 2, None, 0, 1), (1, R, None, None, 2, 3)]),
    "what a process called last comes after what it did before": (
        False,
        [(1, R, None, 2, 0, 1), (1, W, 2, None, 2, None)],
    ),
    "what one order spent of unknown outcomes is there in the next": (
        True,
        [(2, W, 1, None, 0, None), (1, R, None, 1, 1, 3), (0, W, 2, None, 2, None), (1, R, None, 2, 4, 5)],
    ),
}
WEAKER: dict[str, tuple[set[str], list[tuple[int, str, str, object, int, int | None]]]] = {
    "an unknown outcome comes before nothing": (
        {"linearizable", "sequential"},
        [
            (1, W, "x", 2, 1, 2),
            (0, W, "x", 2, 4, None),
            (1, R, "y", None, 5, 6),
            (0, W, "y", 1, 7, 8),
            (0, R, "x", None, 9, 11),
        ],
    ),
    "one's own write lies between two reads of another's": (
        {"linearizable", "sequential", "causal", "pram"},
        [(1, R, "x", 2, 2, 4), (0, W, "x", 2, 4, 5), (1, W, "x", 1, 7, 8), (1, R, "x", 2, 11, 13)],
    ),
    "a third process's read is a cause": (
        {"linearizable", "sequential", "causal"},
        [
            (1, W, "y", 1, 1, 3),
            (0, R, "y", 2, 2, 2),
            (2, R, "y", 1, 2, 2),
            (0, R, "y", 1, 3, 5),
            (2, W, "y", 2, 4, 6),
            (1, W, "y", 2, 6, 8),
        ],
    ),
    "each writes what the other had read before": (
        {"linearizable", "sequential", "causal", "writes-follow-reads"},
        [(0, R, "x", 2, 0, 2), (1, R, "x", 1, 2, 3), (0, W, "x", 1, 7, 9), (1, W, "x", 2, 9, 11)],
    ),
}
"""What fails; process, what it called, key, value, start, end."""
NEEDED: dict[str, tuple[Model, int, list[Operation]]] = {
    "a write to which a comparison may owe its failure": (
        CAS_REGISTER,
        1,
        history((0, W, 2, None, 0, 2), (1, W, 1, None, 2, 4), (2, W, 2, None, 2, 6), (0, CAS, (2, 2), False, 5, 6)),
    ),
    "a removal of what an answer does not have": (
        SET,
        1,
        history((0, "add", 1, None, 0, 0), (2, "remove", 1, None, 1, 1), (0, "contains", 1, False, 4, 8)),
    ),
    "an append that a read has within its value": (
        KEY_VALUE,
        0,
        history((2, "append", "b", None, 0, 0), (1, "get", None, "ba", 3, 6), (0, "append", "a", None, 3, 5)),
    ),
    "a change of which a read names the revision": (
        KV_REVISIONS,
        0,
        history(
            (1, "cas", (None, "a"), record(revision=2, succeeded=True), 0, 1),
            (0, "get", None, record(value="a", mod=2, revision=3), 2, 4),
        ),
    ),
}
"""An operation, by its place, without which a right history would be wrong."""


@pytest.mark.parametrize("name", SEARCHED)
def test_the_search_is_not_taken_in(name: str) -> None:
    right, lines = SEARCHED[name]
    assert plain(history(*lines), CAS_REGISTER) is None, "else it is not searched"
    assert linearizable(history(*lines), CAS_REGISTER).holds is right


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_are_not_taken_in(name: str) -> None:
    right, lines = CLUSTERS[name]
    assert linearizable(history(*lines), REGISTER).holds is right


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_not_taken_in(name: str) -> None:
    right, lines = SEQUENCES[name]
    assert sequential(history(*lines), CAS_REGISTER, lambda: True) is right


@pytest.mark.parametrize("name", WEAKER)
def test_weaker_models_are_not_taken_in(name: str) -> None:
    fails, lines = WEAKER[name]
    made = [
        Operation(
            process=p, f=f, key=key, start=s, end=FOREVER if e is None else e,
            argument=value if f == W else None, result=value if f == R else None,
        )
        for p, f, key, value, s, e in lines
    ]  # fmt: skip
    assert set(judge(made, REGISTER).fails) == fails


@pytest.mark.parametrize("name", NEEDED)
def test_what_is_needed_is_not_taken_out(name: str) -> None:
    model, place, operations = NEEDED[name]
    model = model.looser() or model
    assert linearizable(operations, model).holds is True
    without = [*operations[:place], *operations[place + 1 :]]
    assert linearizable(without, model).holds is False
    assert not [group for group in model.removals(operations) if group == (place,)]
