"""The register checker agrees with an exhaustive search, and names what is wrong."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.check.register import FOREVER, Operation, check_register


def exhaustive(operations: list[Operation]) -> bool:
    """Try every subset of the unknown writes and every order: the definition itself."""
    unknown = [o for o in operations if o.end == FOREVER]
    known = [o for o in operations if o.end != FOREVER]
    for chosen in range(1 << len(unknown)):
        present = known + [o for i, o in enumerate(unknown) if chosen >> i & 1]
        if any(_legal(order) for order in permutations(present)):
            return True
    return False


def _legal(order: tuple[Operation, ...]) -> bool:
    value: object = None
    for position, operation in enumerate(order):
        if any(later.end < operation.start for later in order[position + 1 :]):
            return False
        if operation.write:
            value = operation.value
        elif operation.value != value:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    writes = draw(st.integers(1, 3))
    operations = []
    for value in range(writes):
        start = draw(st.integers(0, 9))
        end = draw(st.one_of(st.just(FOREVER), st.integers(start, 10)))
        operations.append(Operation(True, value, start, end))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, 9))
        source = draw(st.one_of(st.none(), st.integers(0, writes - 1)))
        operations.append(Operation(False, source, start, draw(st.integers(start, 10))))
    return operations


@settings(max_examples=600, deadline=None)
@given(histories())
def test_the_verdict_is_the_one_of_an_exhaustive_search(history: list[Operation]) -> None:
    assert (check_register(history) is None) == exhaustive(history)


def test_a_read_of_a_replaced_value_is_found() -> None:
    history = [Operation(True, "a", 0, 1), Operation(True, "b", 2, 3), Operation(False, "a", 4, 5)]
    assert "cannot be ordered" in (check_register(history) or "")


def test_two_reads_that_go_back_in_time_are_found() -> None:
    history = [
        Operation(True, "a", 0, 1),
        Operation(True, "b", 2, 9),
        Operation(False, "b", 3, 4),
        Operation(False, "a", 5, 6),
    ]
    assert check_register(history) is not None


def test_a_lost_write_is_found() -> None:
    assert check_register([Operation(True, "a", 0, 1), Operation(False, None, 2, 3)]) is not None


def test_a_value_from_nowhere_is_found() -> None:
    assert "nobody wrote" in (check_register([Operation(False, "x", 0, 1)]) or "")


def test_a_write_of_unknown_outcome_may_be_seen_late_or_never() -> None:
    write = Operation(True, "a", 0, FOREVER)
    assert check_register([write, Operation(False, None, 1, 2), Operation(False, "a", 8, 9)]) is None
    assert check_register([write, Operation(False, None, 8, 9)]) is None
    assert check_register([write, Operation(False, "a", 1, 2), Operation(False, None, 8, 9)]) is not None


def test_a_value_written_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="more than once"):
        check_register([Operation(True, "a", 0, 1), Operation(True, "a", 2, 3)])
