"""Transactions, decoded with all that is nested in them, and refused if they can't be run whatever the store holds.

The rules are etcd's (server/etcdserver/api/v3rpc/key.go, `checkTxnRequest` and `checkIntervals`): at each level the
longest of comparisons and branches counts against the limit, and what it leaves is the limit of the level below. A key
may be put once, and not deleted as well: at one revision a key has one item. The two branches of a nested transaction
exclude each other, so each may put it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from coterie.machine.interface import Rejected
from coterie.machine.kv.protocol import Compare, DeleteRange, Nested, Put, Range, Txn
from coterie.machine.kv.refusals import DUPLICATE_KEY, EMPTY_KEY, TOO_MANY_OPERATIONS
from coterie.machine.kv.spans import Spans
from coterie.machine.kv.writing import refuse_put

MAX_TXN_OPERATIONS = 128
"""Comparisons, and operations of each branch, and those of what is nested in it (etcd's default)."""
MAX_NESTING = 32
"""Transactions within transactions: each level takes its share of the stack. (etcd has no such limit; that on
operations ends it at 128.)"""
TOO_DEEP = Rejected(f"transactions are nested more than {MAX_NESTING} deep")

Operation: TypeAlias = Put | DeleteRange | Range


class Plan(NamedTuple):
    """A transaction with what is nested in it."""

    compares: tuple[Compare, ...]
    then: list[Operation | Plan]
    otherwise: list[Operation | Plan]


def plan_of(txn: Txn) -> Plan | Rejected:
    """The transaction, decoded to the bottom; or why it is refused, whatever the store holds."""
    plan = _plan(txn, MAX_TXN_OPERATIONS, 0)
    if isinstance(plan, Rejected):
        return plan
    for branch in (plan.then, plan.otherwise):
        if _writes(branch) is None:
            return DUPLICATE_KEY
    return plan


def _plan(txn: Txn, room: int, depth: int) -> Plan | Rejected:
    """`room`: operations that are allowed here."""
    room -= max(len(txn.compares), len(txn.then), len(txn.otherwise))
    if room < 0:
        return TOO_MANY_OPERATIONS
    if not all(compare.key for compare in txn.compares):
        return EMPTY_KEY
    plan = Plan(txn.compares, [], [])
    for branch, planned in ((txn.then, plan.then), (txn.otherwise, plan.otherwise)):
        for operation in branch:
            if isinstance(operation, Nested):
                nested = _nested(operation, room, depth + 1)
                if isinstance(nested, Rejected):
                    return nested
                planned.append(nested)
                continue
            refused = refuse_put(operation) if isinstance(operation, Put) else None if operation.key else EMPTY_KEY
            if refused is not None:
                return refused
            planned.append(operation)
    return plan


def _nested(nested: Nested, room: int, depth: int) -> Plan | Rejected:
    if depth > MAX_NESTING:
        return TOO_DEEP
    try:
        txn = _txn_decoder.decode(nested.txn)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Rejected(f"what is nested in the transaction is none: {error}")
    return _plan(txn, room, depth)


def has_put(plan: Plan) -> bool:
    """Whether any branch, at any level, puts something."""
    for branch in (plan.then, plan.otherwise):
        for operation in branch:
            if has_put(operation) if isinstance(operation, Plan) else isinstance(operation, Put):
                return True
    return False


def deletions_of(operations: Iterable[Operation | Plan]) -> Iterator[tuple[bytes, bytes]]:
    """The ranges that these delete."""
    for operation in operations:
        if isinstance(operation, DeleteRange):
            yield operation.key, operation.end


def _writes(branch: list[Operation | Plan]) -> tuple[set[bytes], Spans] | None:
    """What a branch may put and delete, whichever way its nested transactions go. None: a key twice."""
    deleted = Spans(deletions_of(branch))
    put: set[bytes] = set()
    for operation in branch:
        if not isinstance(operation, Plan):
            continue
        then, otherwise = _writes(operation.then), _writes(operation.otherwise)
        if then is None or otherwise is None:
            return None
        below = then[0] | otherwise[0]
        if not put.isdisjoint(below) or any(map(deleted.covers, below)):
            return None
        put |= below
        deleted.add(then[1])
        deleted.add(otherwise[1])
    for operation in branch:
        if isinstance(operation, Put):
            if operation.key in put or deleted.covers(operation.key):
                return None
            put.add(operation.key)
    return put, deleted


_txn_decoder: msgspec.msgpack.Decoder[Txn] = msgspec.msgpack.Decoder(Txn)
