"""Transactions: comparisons on the state before, then the operations of one branch at one revision.

The rules are etcd's (server/etcdserver/txn). First the way through all nested transactions is found, then what lies on
it is checked, puts before ranges, then it runs. A transaction that is refused has changed nothing: all but the size of
its reply is checked before the first write, and if that is too large the writes are undone.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.keyspace import Keyspace
from coterie.machine.kv.plans import Operation, Plan, deletions_of
from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    DeleteReply,
    Item,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Target,
    TxnReply,
)
from coterie.machine.kv.reading import read_range, refuse_range
from coterie.machine.kv.refusals import COMPACTED, DUPLICATE_KEY
from coterie.machine.kv.sizes import MAX_ANSWER_BYTES, TOO_LARGE, reply_size
from coterie.machine.kv.spans import Spans
from coterie.machine.kv.writing import delete_range, put, refuse_keeping, refuse_lease

_Value = TypeVar("_Value", bytes, int)


class _Way(NamedTuple):
    """The branch of a transaction that runs."""

    succeeded: bool
    operations: list[Operation | _Way]


def run_txn(space: Keyspace, plan: Plan) -> TxnReply | Rejected:
    """Run the transaction and commit it, or refuse it with nothing changed."""
    all_operations: list[Operation] = []
    way = _find_way(space.data, plan, all_operations)
    refused = _refuse(space, all_operations)
    if refused is not None:
        return refused
    reply = _Run(space).take(way)
    if isinstance(reply, Rejected):
        space.data.rollback()
        return reply
    return TxnReply(space.commit(), reply.succeeded, reply.replies)


def _find_way(store: Data, plan: Plan, all_operations: list[Operation]) -> _Way:
    """The branches that run, as the state is before any of them; and all their operations in one row."""
    succeeded = all(_holds(store, compare) for compare in plan.compares)
    way = _Way(succeeded, [])
    for operation in plan.then if succeeded else plan.otherwise:
        if isinstance(operation, Plan):
            way.operations.append(_find_way(store, operation, all_operations))
        else:
            way.operations.append(operation)
            all_operations.append(operation)
    return way


def _refuse(space: Keyspace, operations: list[Operation]) -> Rejected | None:
    """Why what is to run can't, as the store is; or None."""
    puts = [operation for operation in operations if isinstance(operation, Put)]
    # A nested transaction may put what a later one beside it deletes; that they both run shows only now. (etcd runs
    # them, and the key then has two changes at one revision.)
    deleted = Spans(deletions_of(operations))
    if any(deleted.covers(command.key) for command in puts):
        return DUPLICATE_KEY
    for command in puts:
        refused = refuse_keeping(space, command) or refuse_lease(space, command)
        if refused is not None:
            return refused
    for operation in operations:
        if isinstance(operation, Range):
            refused = refuse_range(space.data, operation)
            if refused is not None:
                return refused
            if 0 > operation.revision < space.data.compacted:
                return COMPACTED  # as etcd has it, within a transaction only
    return None


class _Run:
    """A transaction that runs."""

    def __init__(self, space: Keyspace) -> None:
        self._space = space
        self._size = 0

    def take(self, way: _Way) -> TxnReply | Rejected:
        """Run what is on the way. `TOO_LARGE` if the replies are: roll back."""
        replies: list[PutReply | DeleteReply | RangeReply | TxnReply] = []
        for operation in way.operations:
            if isinstance(operation, _Way):
                nested = self.take(operation)
                if isinstance(nested, Rejected):
                    return nested
                replies.append(nested)
                continue
            reply = self._one(operation)
            if isinstance(reply, Rejected):
                return reply
            self._size += reply_size(reply)
            if self._size > MAX_ANSWER_BYTES:
                return TOO_LARGE
            replies.append(reply)
        return TxnReply(self._space.data.next_revision, way.succeeded, tuple(replies))

    def _one(self, operation: Operation) -> PutReply | DeleteReply | RangeReply | Rejected:
        if isinstance(operation, Put):
            return put(self._space, operation)
        data = self._space.data
        if isinstance(operation, DeleteRange):
            return delete_range(data, operation)
        return read_range(data, operation, data.next_revision)


def _holds(store: Data, compare: Compare) -> bool:
    """Whether the comparison holds in the present state."""
    if not compare.end:
        return _item_holds(store.get(compare.key), compare)
    # What is read without its value may lack its lease.
    values = compare.target in (Target.VALUE, Target.LEASE)
    item = None
    for item in store.range(compare.key, compare.end, values=values):
        if not _item_holds(item, compare):
            return False
    return item is not None or _item_holds(None, compare)


def _item_holds(item: Item | None, compare: Compare) -> bool:
    target = compare.target
    if target is Target.VALUE:
        return item is not None and _relates(item.value, compare.relation, compare.value)
    if item is None:
        found = 0
    elif target is Target.VERSION:
        found = item.version
    elif target is Target.CREATE:
        found = item.create
    elif target is Target.MOD:
        found = item.mod
    else:
        found = item.lease
    return _relates(found, compare.relation, compare.number)


def _relates(found: _Value, relation: Relation, operand: _Value) -> bool:
    if relation == Relation.EQUAL:
        return found == operand
    if relation == Relation.NOT_EQUAL:
        return found != operand
    return found > operand if relation == Relation.GREATER else found < operand
