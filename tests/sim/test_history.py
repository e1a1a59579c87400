"""Each law of what clients see speaks up when it is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coterie.machine.interface import Batch
from coterie.machine.kv import protocol as kv
from coterie.machine.kv.machine import KeyValue
from coterie.sim.history import History
from coterie.sim.verdict import Figures, Violation


def history(*values: bytes) -> History:
    """One replica applied puts of these values to key k, at revisions 2, 3, ..."""
    made = History(Figures())
    for number, value in enumerate(values):
        command = kv.encoder.encode(kv.Put(b"k", value))
        reply = kv.encoder.encode(kv.PutReply(number + 2))
        made.applied(KeyValue(), Batch(number + 1, 0, (0,), (command,)), [reply])
    return made


def answer(revision: int, value: bytes | None, mod: int = 0) -> kv.RangeReply:
    items = () if value is None else (kv.Item(b"k", value, mod, mod, 1),)
    return kv.RangeReply(revision, items, False, len(items))


def test_an_honest_history_breaks_no_law() -> None:
    made = history(b"a", b"b")
    made.wrote(made.begin(0, "put", b"k", b"a", 0), 5, 2, True)
    made.got(made.begin(1, "get", b"k", b"", 6), 9, answer(2, b"a", 2), 0, 0)
    made.wrote(made.begin(0, "put", b"k", b"b", 7), 12, 3, True)
    made.got(made.begin(1, "get", b"k", b"", 13), 14, answer(3, b"b", 3), 0, 0)
    made.got(made.begin(1, "stale", b"k", b"", 15), 16, answer(2, b"a", 2), 4, 0)
    made.fail(made.begin(2, "put", b"k", b"c", 20), 25, "no")
    made.fail(made.begin(2, "put", b"k", b"d", 26), 27, "unknown")
    made.check()


def a_wrong_revision(made: History) -> None:
    made.wrote(made.begin(0, "put", b"k", b"a", 0), 5, 3, True)


def a_write_older_than_what_was_seen(made: History) -> None:
    made.wrote(made.begin(0, "put", b"k", b"b", 0), 5, 3, True)
    made.wrote(made.begin(0, "put", b"k", b"a", 6), 9, 2, True)


def a_read_of_another_state(made: History) -> None:
    made.got(made.begin(1, "get", b"k", b"", 0), 9, answer(3, b"a", 2), 0, 0)


def a_stale_linearizable_read(made: History) -> None:
    made.wrote(made.begin(0, "put", b"k", b"b", 0), 5, 3, True)
    made.got(made.begin(1, "get", b"k", b"", 6), 9, answer(2, b"a", 2), 0, 0)


def a_transaction_that_succeeds_against_its_comparison(made: History) -> None:
    guard = kv.Compare(b"k", kv.Target.MOD, kv.Relation.EQUAL, number=1)
    txn = kv.Txn((guard,), (kv.Put(b"k", b"c"),))
    reply = kv.TxnReply(4, True, ())
    made.applied(KeyValue(), Batch(9, 0, [0], [kv.encoder.encode(txn)]), [kv.encoder.encode(reply)])


def a_session_read_older_than_asked(made: History) -> None:
    made.got(made.begin(1, "session", b"k", b"", 6), 9, answer(2, b"a", 2), 0, 3)


def a_stale_read_older_than_it_says(made: History) -> None:
    made.wrote(made.begin(0, "put", b"k", b"b", 0), 5, 3, True)
    made.got(made.begin(1, "stale", b"k", b"", 100), 109, answer(2, b"a", 2), 10, 0)


def a_refusal_of_what_happened(made: History) -> None:
    made.fail(made.begin(0, "put", b"k", b"a", 0), 5, "no")


def a_promise_of_what_did_not_happen(made: History) -> None:
    made.fail(made.begin(0, "put", b"k", b"z", 0), 5, "yes")


@pytest.mark.parametrize(
    ("law", "crime"),
    [
        ("write-true", a_wrong_revision),
        ("write-order", a_write_older_than_what_was_seen),
        ("read-true", a_read_of_another_state),
        ("read-fresh", a_stale_linearizable_read),
        ("read-fresh", a_session_read_older_than_asked),
        ("compare-true", a_transaction_that_succeeds_against_its_comparison),
        ("read-age", a_stale_read_older_than_it_says),
        ("said-no", a_refusal_of_what_happened),
        ("said-yes", a_promise_of_what_did_not_happen),
    ],
)
def test_each_lie_is_named(law: str, crime: Callable[[History], None]) -> None:
    with pytest.raises(Violation) as caught:
        crime(history(b"a", b"b"))
    assert caught.value.check == law
