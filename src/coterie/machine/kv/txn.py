"""Transactions: comparisons on the state before, then the operations of one branch at one revision.

The rules are etcd's (server/etcdserver/api/v3rpc/key.go checkTxnRequest and checkIntervals;
server/etcdserver/txn). A transaction that is refused has changed nothing: all but the size of its
reply is checked before the first write, and if that is too large the writes are undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import TO_THE_LAST, Data
from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    DeleteReply,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Target,
    Txn,
    TxnReply,
)
from coterie.machine.kv.reading import (
    EMPTY_KEY,
    MAX_ANSWER_BYTES,
    TOO_LARGE,
    read_range,
    refuse_range,
    reply_size,
)
from coterie.machine.kv.writing import delete_range, refuse_put

Operation: TypeAlias = Put | DeleteRange | Range
_Value = TypeVar("_Value", bytes, int)

MAX_TXN_OPERATIONS = 128
"""Comparisons, and operations of each branch (etcd's default)."""
DUPLICATE_KEY = Rejected("duplicate key given in txn request")
TOO_MANY = Rejected(f"too many operations in txn request: the limit is {MAX_TXN_OPERATIONS}")


def run_txn(store: Data, txn: Txn) -> TxnReply | Rejected:
    """Run the transaction and commit it, or refuse it with nothing changed."""
    refused = _refuse_txn(txn)
    if refused is not None:
        return refused
    succeeded = all(_holds(store, compare) for compare in txn.compares)
    branch = txn.then if succeeded else txn.otherwise
    for operation in branch:
        if isinstance(operation, Range) and (refused := refuse_range(store, operation)) is not None:
            return refused
    replies: list[PutReply | DeleteReply | RangeReply] = []
    size = 0
    for operation in branch:
        reply = _run(store, operation)
        size += 0 if isinstance(reply, Rejected) else reply_size(reply)
        if isinstance(reply, Rejected) or size > MAX_ANSWER_BYTES:
            store.rollback()
            return TOO_LARGE
        replies.append(reply)
    return TxnReply(store.commit(), succeeded, tuple(replies))


def _run(store: Data, operation: Operation) -> PutReply | DeleteReply | RangeReply | Rejected:
    if isinstance(operation, Put):
        previous = store.put(operation.key, operation.value, operation.want_previous)
        return PutReply(store.next_revision, previous if operation.want_previous else None)
    if isinstance(operation, DeleteRange):
        return delete_range(store, operation)
    return read_range(store, operation, store.next_revision)


def _holds(store: Data, compare: Compare) -> bool:
    """Whether the comparison holds in the present state."""
    item = store.get(compare.key)
    if compare.target == Target.VALUE:
        if item is None:
            return False
        return _relates(item.value, compare.relation, compare.value)
    if item is None:
        found = 0
    elif compare.target == Target.VERSION:
        found = item.version
    elif compare.target == Target.CREATE:
        found = item.create
    else:
        found = item.mod
    return _relates(found, compare.relation, compare.number)


def _relates(found: _Value, relation: Relation, operand: _Value) -> bool:
    if relation == Relation.EQUAL:
        return found == operand
    if relation == Relation.NOT_EQUAL:
        return found != operand
    return found > operand if relation == Relation.GREATER else found < operand


def _refuse_txn(txn: Txn) -> Rejected | None:
    """Why the transaction is refused, whatever the store holds; both branches count."""
    if max(len(txn.compares), len(txn.then), len(txn.otherwise)) > MAX_TXN_OPERATIONS:
        return TOO_MANY
    if not all(compare.key for compare in txn.compares):
        return EMPTY_KEY
    for branch in (txn.then, txn.otherwise):
        for operation in branch:
            refused = refuse_put(operation) if isinstance(operation, Put) else None if operation.key else EMPTY_KEY
            if refused is not None:
                return refused
    return DUPLICATE_KEY if _writes_twice(txn.then) or _writes_twice(txn.otherwise) else None


def _writes_twice(branch: Sequence[Operation]) -> bool:
    """True if a key is put twice, or put and deleted: at one revision a key has one item."""
    deletions = [operation for operation in branch if isinstance(operation, DeleteRange)]
    put: set[bytes] = set()
    for operation in branch:
        if isinstance(operation, Put):
            if operation.key in put or any(_covers(deletion, operation.key) for deletion in deletions):
                return True
            put.add(operation.key)
    return False


def _covers(deletion: DeleteRange, key: bytes) -> bool:
    if not deletion.end:
        return key == deletion.key
    return key >= deletion.key and (deletion.end == TO_THE_LAST or key < deletion.end)
