"""The judge of the system tests' histories finds each kind of lie."""

from __future__ import annotations

import pytest
from tests.contract.processes.history import History, Seen

pytestmark = pytest.mark.any_protocol


def write(value: bytes, start: int, end: int, revision: int) -> Seen:
    return Seen(
        what="put", key=b"k", value=value, write=True, start=start, end=end, revision=revision, fresh_from=start
    )


def read(value: bytes | None, start: int, end: int, revision: int, mod: int, version: int, age: int = 0) -> Seen:
    return Seen(
        what="read", key=b"k", value=value, write=False, start=start, end=end, revision=revision,
        fresh_from=start - age, mod=mod, version=version,
    )  # fmt: skip


def problems(*seen: Seen, unknown: tuple[tuple[bytes, int], ...] = ()) -> str:
    history = History()
    for each in seen:
        history.add(each)
    history.unknown = [(b"k", value, start) for value, start in unknown]
    return "\n".join(history.problems())


def test_what_one_store_could_have_said_is_accepted() -> None:
    one, two = write(b"1", 0, 10, 2), write(b"2", 5, 20, 3)
    assert not problems(read(None, 0, 8, 1, 0, 0), one, two, read(b"1", 8, 15, 2, 2, 1), read(b"2", 21, 22, 3, 3, 2))
    assert not problems(one, read(b"3", 11, 12, 3, 3, 2), unknown=((b"3", 5),))
    assert not problems(one, two, read(b"1", 25, 26, 2, 2, 1, age=10)), "a stale read that says so"


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ((write(b"1", 0, 10, 2), read(None, 11, 12, 1, 0, 0)), "came after"),
        ((write(b"1", 0, 10, 2), write(b"2", 11, 20, 3), read(b"1", 21, 22, 3, 2, 1)), "misses the write"),
        ((write(b"1", 0, 10, 2), write(b"2", 11, 20, 2)), "came after"),
        ((write(b"1", 0, 10, 3), read(b"1", 11, 12, 4, 4, 2)), "took effect twice"),
        ((write(b"1", 0, 10, 2), read(b"1", 11, 12, 2, 2, 2)), "2 writes took effect, but 1 are known"),
        ((write(b"1", 0, 10, 2), read(b"9", 11, 12, 3, 3, 2)), "nobody wrote"),
        ((write(b"1", 0, 10, 2), write(b"2", 11, 20, 3), read(b"1", 35, 36, 2, 2, 1, age=10)), "came after"),
    ],
)
def test_what_no_store_could_have_said_is_refused(seen: tuple[Seen, ...], word: str) -> None:
    assert word in problems(*seen)
