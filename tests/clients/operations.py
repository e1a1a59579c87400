"""Sequences of operations on etcd's API, for any server; revisions are said relative to where the sequence began."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st

from coterie.etcd.wire import rpc

KEYS = (b"a", b"aa", b"ab", b"b", b"c", b"\x00", b"\xff")
VALUES = (b"", b"x", b"y", b"zz")
ENDS = (b"", b"", b"b", b"c", b"\x00", b"a", b"\xff\xff")
LEASES = (7001, 7002)
ORDERS = (rpc.RangeRequest.NONE, rpc.RangeRequest.NONE, rpc.RangeRequest.ASCEND, rpc.RangeRequest.DESCEND)
SORTS = (
    rpc.RangeRequest.KEY,
    rpc.RangeRequest.KEY,
    rpc.RangeRequest.VERSION,
    rpc.RangeRequest.CREATE,
    rpc.RangeRequest.MOD,
    rpc.RangeRequest.VALUE,
)
RELATIONS = (rpc.Compare.EQUAL, rpc.Compare.GREATER, rpc.Compare.LESS, rpc.Compare.NOT_EQUAL)
TARGETS = (rpc.Compare.VERSION, rpc.Compare.CREATE, rpc.Compare.MOD, rpc.Compare.VALUE, rpc.Compare.LEASE)
BASE = 1 << 40
"""A revision written as BASE + n is n after the one at which the sequence began."""


@st.composite
def _ranges(draw: st.DrawFn) -> rpc.RangeRequest:
    return rpc.RangeRequest(
        key=draw(st.sampled_from((*KEYS, b""))),
        range_end=draw(st.sampled_from(ENDS)),
        limit=draw(st.sampled_from((0, 0, 1, 2, -1))),
        revision=draw(st.sampled_from((0, 0, 0, BASE, BASE + 1, BASE + 2, BASE + 3, BASE - 1, -1))),
        sort_order=draw(st.sampled_from(ORDERS)),
        sort_target=draw(st.sampled_from(SORTS)),
        keys_only=draw(st.booleans()),
        count_only=draw(st.sampled_from((False, False, False, True))),
        min_mod_revision=draw(st.sampled_from((0, 0, 0, BASE + 1, BASE + 2))),
        max_mod_revision=draw(st.sampled_from((0, 0, 0, BASE + 1, BASE + 2))),
        min_create_revision=draw(st.sampled_from((0, 0, 0, BASE + 1, BASE + 2))),
        max_create_revision=draw(st.sampled_from((0, 0, 0, BASE + 1, BASE + 2))),
        serializable=draw(st.booleans()),
    )


@st.composite
def _puts(draw: st.DrawFn) -> rpc.PutRequest:
    return rpc.PutRequest(
        key=draw(st.sampled_from((*KEYS, *KEYS, b""))),
        value=draw(st.sampled_from(VALUES)),
        lease=draw(st.sampled_from((0, 0, 0, *LEASES))),
        prev_kv=draw(st.booleans()),
        ignore_value=draw(st.sampled_from((False, False, False, False, True))),
        ignore_lease=draw(st.sampled_from((False, False, False, False, True))),
    )


@st.composite
def _deletes(draw: st.DrawFn) -> rpc.DeleteRangeRequest:
    return rpc.DeleteRangeRequest(
        key=draw(st.sampled_from((*KEYS, *KEYS, b""))),
        range_end=draw(st.sampled_from(ENDS)),
        prev_kv=draw(st.booleans()),
    )


@st.composite
def _compares(draw: st.DrawFn) -> rpc.Compare:
    target = draw(st.sampled_from((0, 1, 2, 3, 4)))
    number = draw(st.sampled_from((0, 1, 2, BASE + 1, BASE + 2)))
    operands: list[dict[str, Any]] = [
        {"version": draw(st.sampled_from((0, 1, 2)))},
        {"create_revision": number},
        {"mod_revision": number},
        {"value": draw(st.sampled_from(VALUES))},
        {"lease": draw(st.sampled_from((0, *LEASES)))},
    ]
    return rpc.Compare(
        result=draw(st.sampled_from(RELATIONS)),
        target=TARGETS[target],
        key=draw(st.sampled_from((*KEYS, *KEYS, b""))),
        range_end=draw(st.sampled_from(ENDS)),
        **operands[target],
    )


def _operations(depth: int) -> st.SearchStrategy[rpc.RequestOp]:
    kinds: list[st.SearchStrategy[rpc.RequestOp]] = [
        st.builds(lambda found: rpc.RequestOp(request_range=found), _ranges_within()),
        st.builds(lambda put: rpc.RequestOp(request_put=put), _puts()),
        st.builds(lambda put: rpc.RequestOp(request_put=put), _puts()),
        st.builds(lambda gone: rpc.RequestOp(request_delete_range=gone), _deletes_within()),
    ]
    if depth:
        kinds.append(st.builds(lambda inner: rpc.RequestOp(request_txn=inner), txns(depth - 1)))
    return st.one_of(kinds)


@st.composite
def _deletes_within(draw: st.DrawFn) -> rpc.DeleteRangeRequest:
    """Of a transaction. etcd overlooks that a deletion with an open end may meet a put of the same transaction,
    against its own rule that no key is changed twice; we refuse it."""
    gone: rpc.DeleteRangeRequest = draw(_deletes())
    if gone.range_end == b"\0":
        gone.range_end = b"\xff\xff\xff"
    return gone


@st.composite
def _ranges_within(draw: st.DrawFn) -> rpc.RangeRequest:
    """Of a transaction. A put with a range of a future revision makes etcd's members diverge: never sent."""
    found: rpc.RangeRequest = draw(_ranges())
    if found.revision > BASE or found.revision < 0:
        found.revision = 0
    return found


def txns(depth: int = 2) -> st.SearchStrategy[rpc.TxnRequest]:
    """Transactions, nested as deep."""
    return st.builds(
        lambda compare, success, failure: rpc.TxnRequest(compare=compare, success=success, failure=failure),
        st.lists(_compares(), max_size=2),
        st.lists(_operations(depth), max_size=3),
        st.lists(_operations(depth), max_size=2),
    )


def calls() -> st.SearchStrategy[Message]:
    """One call."""
    return st.one_of(
        _puts(),
        _puts(),
        _deletes(),
        _ranges(),
        txns(),
        st.builds(
            lambda lease, ttl: rpc.LeaseGrantRequest(ID=lease, TTL=ttl),
            st.sampled_from(LEASES),
            st.sampled_from((300, 1000, 0, 1, -5, 9_000_000_001)),
        ),
        st.builds(lambda lease: rpc.LeaseRevokeRequest(ID=lease), st.sampled_from(LEASES)),
        st.builds(
            lambda lease, keys: rpc.LeaseTimeToLiveRequest(ID=lease, keys=keys),
            st.sampled_from(LEASES),
            st.booleans(),
        ),
        st.just(rpc.LeaseLeasesRequest()),
        st.builds(
            lambda revision: rpc.CompactionRequest(revision=revision),
            st.sampled_from((BASE, BASE + 1, BASE + 2, BASE + 100, 0, -1)),
        ),
    )


def based(message: Any, base: int) -> Any:
    """The message with its revisions counted from `base`."""
    copy = type(message)()
    copy.CopyFrom(message)
    rebase(copy, lambda revision: revision - BASE + base if revision >= BASE - 1 else revision)
    return copy


def rebase(message: Any, move: Callable[[int], int]) -> None:
    """Change every revision in the message."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                rebase(each, move)
        elif field.name.endswith("revision") and not field.is_repeated:
            setattr(message, field.name, move(value))


def told(answer: Any) -> Any:
    """An answer without what differs from cluster to cluster."""
    if isinstance(answer, tuple):
        return answer
    copy = type(answer)()
    copy.CopyFrom(answer)
    copy.header.ClearField("cluster_id")
    copy.header.ClearField("member_id")
    copy.header.ClearField("raft_term")
    if isinstance(copy, rpc.LeaseTimeToLiveResponse) and copy.TTL > 0:
        copy.TTL = 1  # the clocks of two servers
        keys = sorted(copy.keys)
        del copy.keys[:]
        copy.keys.extend(keys)
    if isinstance(copy, rpc.LeaseLeasesResponse):
        leases = sorted(copy.leases, key=lambda lease: lease.ID)
        del copy.leases[:]
        copy.leases.extend(leases)
    return copy
