"""Between etcd's messages and the machine's commands, questions and replies."""

from __future__ import annotations

from collections.abc import Iterable

from coterie.etcd.status import PREFIX, Code, Refusal, refused
from coterie.etcd.wire import kv, rpc
from coterie.machine.kv.plans import MAX_NESTING
from coterie.machine.kv.protocol import (
    Compare,
    DeleteRange,
    DeleteReply,
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

EMPTY_KEY = "key is not provided"
_OPERANDS = ("version", "create_revision", "mod_revision", "value", "lease")
"""By target: where a comparison has its operand."""

# Requests


def put_of(request: rpc.PutRequest) -> Put:
    """The command. Raises `Refusal`."""
    if not request.key:
        raise refused(EMPTY_KEY)
    ignore_value, ignore_lease = request.ignore_value, request.ignore_lease
    if ignore_value and request.value:
        raise refused("value is provided")
    if ignore_lease and request.lease:
        raise refused("lease is provided")
    return Put(request.key, request.value, request.prev_kv, request.lease, ignore_value, ignore_lease)


def delete_of(request: rpc.DeleteRangeRequest) -> DeleteRange:
    """The command. Raises `Refusal`."""
    if not request.key:
        raise refused(EMPTY_KEY)
    return DeleteRange(request.key, request.range_end, request.prev_kv)


def range_of(request: rpc.RangeRequest) -> Range:
    """The question. Raises `Refusal`."""
    if not request.key:
        raise refused(EMPTY_KEY)
    return Range(
        request.key,
        request.range_end,
        request.revision,
        request.limit,
        request.keys_only,
        request.count_only,
        _selection_of(request),
    )


def _selection_of(request: rpc.RangeRequest) -> Selection | None:
    order, target = request.sort_order, request.sort_target
    bounds = (
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    )
    if not order and not target and not any(bounds):
        return None
    try:
        return Selection(Order(order), SortTarget(target), *bounds)
    except ValueError:
        raise refused("invalid sort option") from None


def txn_of(request: rpc.TxnRequest, depth: int = 0) -> Txn:
    """The command. Raises `Refusal`."""
    if depth > MAX_NESTING:
        raise Refusal(Code.INVALID_ARGUMENT, f"{PREFIX}transactions are nested at most {MAX_NESTING} deep")
    return Txn(
        tuple(map(_compare_of, request.compare)),
        tuple(_operation_of(operation, depth) for operation in request.success),
        tuple(_operation_of(operation, depth) for operation in request.failure),
    )


def _operation_of(operation: rpc.RequestOp, depth: int) -> Put | DeleteRange | Range | Nested:
    which = operation.WhichOneof("request")
    if which == "request_put":
        return put_of(operation.request_put)
    if which == "request_range":
        return range_of(operation.request_range)
    if which == "request_delete_range":
        return delete_of(operation.request_delete_range)
    if which == "request_txn":
        return Nested(encoder.encode(txn_of(operation.request_txn, depth + 1)))
    raise refused("key not found")  # etcd's answer to an operation that is none


def _compare_of(compare: rpc.Compare) -> Compare:
    try:
        target, relation = Target(compare.target), Relation(compare.result)
    except ValueError:
        text = f"compare has target {compare.target} and result {compare.result}: there is no such comparison"
        raise Refusal(Code.INVALID_ARGUMENT, PREFIX + text) from None
    if not compare.key:
        raise refused(EMPTY_KEY)
    # The operand of another target counts as none, as with etcd: 0, or no bytes.
    operand = getattr(compare, _OPERANDS[target])
    if target is Target.VALUE:
        return Compare(compare.key, target, relation, 0, operand, compare.range_end)
    return Compare(compare.key, target, relation, operand, b"", compare.range_end)


# Replies; the header of the outermost one is put before it by whoever sends it


def key_value(item: Item) -> kv.KeyValue:
    """An item; a tombstone has no more than a key and a revision."""
    return kv.KeyValue(
        key=item.key,
        create_revision=item.create,
        mod_revision=item.mod,
        version=item.version,
        value=item.value,
        lease=item.lease,
    )


def key_values(items: Iterable[Item]) -> list[kv.KeyValue]:
    """Items."""
    return [
        kv.KeyValue(key=key, create_revision=create, mod_revision=mod, version=version, value=value, lease=lease)
        for key, value, create, mod, version, lease in (
            (i.key, i.value, i.create, i.mod, i.version, i.lease) for i in items
        )
    ]


def put_response(reply: PutReply) -> rpc.PutResponse:
    """Of a put."""
    return rpc.PutResponse(prev_kv=None if reply.previous is None else key_value(reply.previous))


def delete_response(reply: DeleteReply) -> rpc.DeleteRangeResponse:
    """Of a deletion."""
    return rpc.DeleteRangeResponse(deleted=reply.deleted, prev_kvs=key_values(reply.previous))


def range_response(reply: RangeReply) -> rpc.RangeResponse:
    """Of a range."""
    return rpc.RangeResponse(kvs=key_values(reply.items), more=reply.more, count=reply.count)


def txn_response(reply: TxnReply) -> rpc.TxnResponse:
    """Of a transaction."""
    return rpc.TxnResponse(succeeded=reply.succeeded, responses=map(_response, reply.replies))


def _response(reply: PutReply | DeleteReply | RangeReply | TxnReply) -> rpc.ResponseOp:
    """Within a transaction, where each header has a revision and nothing else."""
    header = rpc.ResponseHeader(revision=reply.revision)
    if isinstance(reply, PutReply):
        put = put_response(reply)
        put.header.CopyFrom(header)
        return rpc.ResponseOp(response_put=put)
    if isinstance(reply, RangeReply):
        found = range_response(reply)
        found.header.CopyFrom(header)
        return rpc.ResponseOp(response_range=found)
    if isinstance(reply, DeleteReply):
        deleted = delete_response(reply)
        deleted.header.CopyFrom(header)
        return rpc.ResponseOp(response_delete_range=deleted)
    nested = txn_response(reply)
    nested.header.SetInParent()
    return rpc.ResponseOp(response_txn=nested)
