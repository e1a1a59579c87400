"""Nested transactions, ranges of comparisons, puts that keep: what etcd 3.5.1 does with the same, and its words."""

from __future__ import annotations

import time

import pytest
from tests.machine.kv.test_examples import ask, do

from coterie.machine.kv import KeyValue, selecting
from coterie.machine.kv.plans import MAX_NESTING
from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    Item,
    Nested,
    Order,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Selection,
    SortTarget,
    Target,
    Txn,
    TxnReply,
    encoder,
)

Operation = Put | DeleteRange | Range | Nested
DUPLICATE = "duplicate key given in txn request"
A, B, C = Put(b"a", b""), Put(b"b", b""), Put(b"c", b"")


def nested(*then: Operation, otherwise: tuple[Operation, ...] = (), compares: tuple[Compare, ...] = ()) -> Nested:
    return Nested(encoder.encode(Txn(compares, then, otherwise)))


def txn(*then: Operation) -> Txn:
    return Txn((), then)


def missing(key: bytes) -> Compare:
    return Compare(key, Target.VERSION, Relation.EQUAL, 0)


def test_all_comparisons_of_all_levels_are_made_before_any_write() -> None:
    kv = KeyValue()
    inner = nested(C, otherwise=(B,), compares=(missing(b"a"),))
    (reply,) = do(kv, Txn((missing(b"a"),), (A, inner, Range(b"c"))))
    assert reply == TxnReply(
        2,
        True,
        (
            PutReply(2),
            TxnReply(2, True, (PutReply(2),)),
            RangeReply(2, (Item(b"c", b"", 2, 2, 1),), False, 1),
        ),
    )
    assert [item.key for item in kv.events(2)] == [b"a", b"c"]


@pytest.mark.parametrize(
    ("operations", "allowed"),
    [
        ((nested(B, otherwise=(B,)),), True),
        ((nested(B, otherwise=(DeleteRange(b"b"),)),), True),
        ((nested(B), B), False),
        ((nested(B), nested(A, otherwise=(B,))), False),
        ((nested(B), DeleteRange(b"a", b"c")), False),
        ((nested(DeleteRange(b"b")), nested(B)), False),
        ((nested(DeleteRange(b"b")), B), False),
        ((nested(A, otherwise=(DeleteRange(b"b"),)), B), False),
        ((nested(nested(B)), nested(nested(A, C))), True),
        ((nested(nested(B)), nested(nested(A, B))), False),
        ((DeleteRange(b"a", b"b"), DeleteRange(b"aa", b"c"), C), True),
        ((DeleteRange(b"a", b"c"), DeleteRange(b"aa", b"b"), B), False),
        ((DeleteRange(b"c", b"a"), B), True),
        ((DeleteRange(b"a", b"\0"), B), False),  # etcd overlooks this one, and deletes the key again
        ((nested(B), nested(DeleteRange(b"b"))), False),  # and this one
        ((nested(B), nested(otherwise=(DeleteRange(b"b"),))), True),
    ],
)
def test_a_key_is_written_once_in_a_transaction_and_its_branches(
    operations: tuple[Operation, ...], allowed: bool
) -> None:
    for command in (txn(*operations), Txn((missing(b"a"),), (nested(*operations),))):
        kv = KeyValue()
        before = kv.digest()
        (reply,) = do(kv, command)
        if allowed:
            assert isinstance(reply, TxnReply)
        else:
            assert reply == DUPLICATE
            assert kv.digest() == before


def test_what_a_level_uses_of_the_limit_the_level_below_has_not() -> None:
    many = tuple([Put(b"%03d" % number, b"") for number in range(127)])
    kv = KeyValue()
    assert do(kv, txn(*many, nested(B))) == ["too many operations in txn request"]
    assert isinstance(do(kv, txn(*many, nested()))[0], TxnReply)
    assert isinstance(do(kv, txn(*many[1:], nested(B)))[0], TxnReply)
    assert do(kv, txn(*many[1:], nested(compares=(missing(b"a"),) * 2))) == ["too many operations in txn request"]


def test_nesting_has_a_limit_that_does_not_depend_on_the_stack() -> None:
    inner = nested(A)
    for _ in range(MAX_NESTING - 1):
        inner = nested(inner)
    kv = KeyValue()
    assert do(kv, txn(nested(inner))) == [f"transactions are nested more than {MAX_NESTING} deep"]
    assert isinstance(do(kv, txn(inner))[0], TxnReply)


@pytest.mark.parametrize("inside", [b"", b"\xc0", encoder.encode(A), encoder.encode(txn(A)) + b"\0"])
def test_what_is_nested_and_no_transaction_is_refused(inside: bytes) -> None:
    (reply,) = do(KeyValue(), txn(A, Nested(inside)))
    assert isinstance(reply, str)
    assert reply.startswith("what is nested in the transaction is none: ")


def test_a_put_that_keeps_has_etcds_refusals() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"))
    before = kv.digest()
    refusals: list[tuple[Put | Txn, str]] = [
        (Put(b"b", b"", ignore_value=True), "key not found"),
        (Put(b"b", b"x", ignore_lease=True), "key not found"),
        (Put(b"a", b"x", ignore_value=True), "value is provided"),
        (Put(b"a", b"", lease=5, ignore_lease=True), "lease is provided"),
        (Put(b"", b"x", ignore_value=True), "key is not provided"),
        (Put(b"a", b"", lease=5), "requested lease not found"),
        # Alone the lease is looked at first, in a transaction the key, and puts before ranges.
        (Put(b"b", b"", lease=5, ignore_value=True), "requested lease not found"),
        (txn(C, Put(b"b", b"", lease=5, ignore_value=True)), "key not found"),
        (txn(C, Range(b"a", revision=9), nested(Put(b"a", b"", lease=5))), "requested lease not found"),
        (txn(C, nested(Put(b"b", b"", ignore_value=True))), "key not found"),
        (txn(C, nested(Range(b"a", revision=9))), "mvcc: required revision is a future revision"),
        (txn(C, nested(Range(b"a", revision=-2))), "mvcc: required revision has been compacted"),
    ]
    for command, text in refusals:
        assert do(kv, command) == [text]
        assert kv.digest() == before
    assert isinstance(do(kv, txn(nested(otherwise=(Put(b"b", b"", ignore_value=True),))))[0], TxnReply)
    do(kv, Put(b"a", b"", ignore_value=True))
    assert ask(kv, Range(b"a")) == RangeReply(3, (Item(b"a", b"1", 2, 3, 2),), False, 1)


def test_a_comparison_of_a_range_holds_for_every_key_and_of_an_empty_one_for_a_missing_key() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"), Put(b"b", b"2"), Put(b"b", b"3"))

    def holds(target: Target, relation: Relation, number: int = 0, value: bytes = b"", key: bytes = b"a") -> bool:
        (reply,) = do(kv, Txn((Compare(key, target, relation, number, value, b"\0"),), ()))
        assert isinstance(reply, TxnReply)
        return reply.succeeded

    assert holds(Target.VERSION, Relation.GREATER, 0)
    assert not holds(Target.VERSION, Relation.EQUAL, 1)
    assert holds(Target.VALUE, Relation.GREATER, value=b"0")
    assert not holds(Target.VALUE, Relation.LESS, value=b"3")
    assert holds(Target.LEASE, Relation.EQUAL, 0)
    assert holds(Target.MOD, Relation.EQUAL, 0, key=b"z")
    assert not holds(Target.VALUE, Relation.NOT_EQUAL, value=b"x", key=b"z")


def test_sorting_and_bounds() -> None:
    kv = KeyValue()
    do(kv, *(Put(key, b"%d" % number) for number, key in enumerate((b"e", b"d", b"c", b"b", b"a"))))

    def keys(limit: int = 0, keys_only: bool = False, **selection: object) -> tuple[bytes, bool, int]:
        reply = ask(kv, Range(b"a", b"\0", 0, limit, keys_only, selection=Selection(**selection)))  # type: ignore[arg-type]
        assert isinstance(reply, RangeReply)
        assert all(bool(item.value) is not keys_only for item in reply.items)
        return b"".join(item.key for item in reply.items), reply.more, reply.count

    assert keys(2, target=SortTarget.VALUE, order=Order.ASCEND) == (b"ed", True, 5)
    # With a target alone etcd cuts before it sorts.
    assert keys(2, target=SortTarget.VALUE) == (b"cb", True, 5)
    assert keys(2, True, order=Order.DESCEND) == (b"ed", True, 5)
    assert keys(0, True, target=SortTarget.VALUE, order=Order.DESCEND) == (b"abcde", False, 5)
    assert keys(target=SortTarget.VERSION, order=Order.DESCEND) == (b"abcde", False, 5), "equal ones by key"
    assert keys(-1) == (b"abcde", False, 5)
    assert keys(min_mod=4) == (b"abc", False, 5), "the count ignores the bounds"
    assert keys(1, min_mod=4) == (b"a", True, 5)
    assert keys(max_mod=4) == (b"cde", False, 5)
    assert keys(max_create=-1) == (b"", False, 5)
    assert keys(min_mod=-3) == (b"abcde", False, 5)
    assert keys(min_create=3, max_create=4, order=Order.DESCEND) == (b"dc", False, 5)


def test_a_sort_of_many_keeps_no_more_than_an_answer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "_SLACK_ITEMS", 3)
    kv = KeyValue()
    do(kv, *(Put(b"%03d" % number, b"%03d" % (number * 37 % 200)) for number in range(200)))
    for order in (Order.ASCEND, Order.DESCEND):
        for limit in (1, 7, 199, 200, 300):
            reply = ask(kv, Range(b"0", b"\0", limit=limit, selection=Selection(order, SortTarget.VALUE)))
            assert isinstance(reply, RangeReply)
            wanted = sorted((b"%03d" % number for number in range(200)), reverse=order is Order.DESCEND)
            assert [item.value for item in reply.items] == wanted[:limit]
            assert (reply.more, reply.count) == (limit < 200, 200)


def test_what_a_sort_by_value_holds_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "MAX_HELD_BYTES", 4000)
    kv = KeyValue()
    do(kv, *(Put(b"%03d" % number, bytes(300)) for number in range(40)))
    by_value = Selection(Order.ASCEND, SortTarget.VALUE)
    few = ask(kv, Range(b"0", b"\0", limit=2, selection=by_value))
    assert isinstance(few, RangeReply)
    many = ask(kv, Range(b"0", b"\0", limit=30, selection=by_value))
    assert isinstance(many, str)
    assert many.startswith("the answer is larger than")


def test_checking_a_large_transaction_takes_time_in_proportion() -> None:
    """Puts against deletions, each with each, would take minutes."""
    deletions = [DeleteRange(b"d%04d" % number) for number in range(42)]
    puts = [Put(b"p%04d" % number, b"") for number in range(42)]

    def tree(number: int) -> Nested:
        below = [
            nested(
                *[own(d, number, i) for d in deletions],
                otherwise=tuple([own(p, number, i) for p in puts]),
            )
            for i in range(42)
        ]
        return nested(*below)

    def own(command: Put | DeleteRange, number: int, i: int) -> Put | DeleteRange:
        key = command.key + b"/%d/%d" % (number, i)
        return Put(key, b"") if isinstance(command, Put) else DeleteRange(key)

    whole = txn(*[tree(number) for number in range(12)])
    began = time.process_time()
    (reply,) = do(KeyValue(), whole)
    assert isinstance(reply, TxnReply)
    assert time.process_time() - began < 10
