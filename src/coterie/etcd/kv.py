"""The KV service: Range, Put, DeleteRange, Txn, Compact (etcd 3.5, api/v3rpc/key.go)."""

from __future__ import annotations

from functools import partial
from typing import Final, TypeAlias

from coterie.engine.protocol import Answer, Failure, ReadMode
from coterie.etcd.access import Principal
from coterie.etcd.backend import NOTHING, Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.conversion import (
    delete_of,
    delete_response,
    put_of,
    put_response,
    range_of,
    txn_of,
    txn_response,
)
from coterie.etcd.item_bytes import encoded_only, encoded_range
from coterie.etcd.status import failed, refused
from coterie.etcd.wire import rpc
from coterie.machine.interface import Rejected
from coterie.machine.kv.protocol import (
    Compact,
    DeleteReply,
    Item,
    PutReply,
    Range,
    Reply,
    TxnReply,
    encoder,
)
from coterie.machine.kv.reading import read_range, refuse_range

_KEY_TAG: Final = 0x0A
"""Of a RangeRequest's field 1, `key`; its length follows, in one byte if it is below 128."""
_SHORT_KEY_END: Final = 2 + 127
_SERIALIZABLE: Final = b"\x38\x01"
"""Field 7: what may stand behind the key, and nothing else."""
HOT_KEYS = 1024
"""Keys whose encoded items are kept: what is read again and again is encoded once."""
KEPT_MISSES = 8
"""Of so many items that had to be encoded, one is kept."""
HOT_BYTES = 4096
"""Of one of them; larger items are encoded each time."""

_Glance: TypeAlias = tuple[Stream, bytes, Principal | None]
"""A call that reads one key."""


class KeyValueService:
    """etcdserverpb.KV."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._hot: dict[bytes, tuple[Item, bytes]] = {}
        self._missed = 0
        self._glances: list[_Glance] = []
        """Reads of one key each that wait for the fence with the id `_fence`."""
        self._fence = 0

    def put(self, stream: Stream, caller: Caller, request: rpc.PutRequest) -> None:
        """Set a key."""
        command = encoder.encode(put_of(request))
        self._backend.need_space()
        self._backend.run(stream, caller, command, _put)

    def delete_range(self, stream: Stream, caller: Caller, request: rpc.DeleteRangeRequest) -> None:
        """Delete keys."""
        self._backend.run(stream, caller, encoder.encode(delete_of(request)), _deleted)

    def txn(self, stream: Stream, caller: Caller, request: rpc.TxnRequest) -> None:
        """A transaction; one that writes nothing goes through the log all the same."""
        command = encoder.encode(txn_of(request))
        if _puts(request):
            self._backend.need_space()
        self._backend.run(stream, caller, command, _txn)

    def compact(self, stream: Stream, caller: Caller, request: rpc.CompactionRequest) -> None:
        """Forget what was superseded up to a revision. `physical` makes no difference: reads below the revision are
        refused when the answer comes, and the space is freed by and by, with no pause to wait for."""
        self._backend.run(stream, caller, encoder.encode(Compact(request.revision)), _nothing)

    def range(self, stream: Stream, caller: Caller, request: rpc.RangeRequest) -> None:
        """Read keys. A linearizable read is confirmed by a quorum and then done here; nothing goes through the log."""
        question = range_of(request)
        principal = self._backend.principal(caller) if self._backend.access.auth.enabled else None
        mode = ReadMode.STALE if request.serializable else ReadMode.LINEARIZABLE
        self._backend.read(stream, mode, lambda: self._found(question, principal))

    def glance(self, stream: Stream, caller: Caller, message: bytes) -> bool:
        """A read of one key, and of nothing else, is the most frequent call of all: to parse it would take longer than
        to answer it. Whether this is one. Raises `Refusal`."""
        size = len(message)
        end = 2 + message[1] if size > 2 and message[0] == _KEY_TAG else 0
        if not 2 < end <= _SHORT_KEY_END or (end != size and message[end:] != _SERIALIZABLE):
            return False
        backend = self._backend
        principal = backend.principal(caller) if backend.machine.auth.enabled else None
        key = message[2:end]
        if end != size:
            backend.need_state()
            stream.respond(self._found_key(key, principal))
            return True
        requests = backend.requests
        if not requests.open_fence or requests.open_fence != self._fence:
            self._glances = []
            self._fence = requests.fence(partial(self._answer, self._glances))
        self._glances.append((stream, key, principal))
        return True

    def _answer(self, glances: list[_Glance], answer: Answer | Failure) -> None:
        """Reads of one key each that share a fence: what they have in common is found once."""
        backend = self._backend
        if isinstance(answer, Failure):
            refusal = failed(answer)
            for stream, _, _ in glances:
                backend.refuse(stream, refusal)
            return
        store, access = backend.machine.store, backend.access
        guarded = access.auth.enabled
        header = backend.headers.field(store.revision)
        get, encoded = store.get, self._one
        for stream, key, principal in glances:
            forbidden = access.may_read(principal, key, b"") if guarded else None
            if forbidden is None:
                stream.respond(header + encoded(get(key)))
            else:
                backend.refuse(stream, refused(forbidden.reason))

    def _found_key(self, key: bytes, principal: Principal | None) -> bytes:
        machine = self._backend.machine
        if machine.auth.enabled:
            forbidden = self._backend.access.may_read(principal, key, b"")
            if forbidden is not None:
                raise refused(forbidden.reason)
        store = machine.store
        return self._backend.headers.field(store.revision) + self._one(store.get(key))

    def _found(self, question: Range, principal: Principal | None) -> bytes:
        forbidden = self._backend.access.may_read(principal, question.key, question.end)
        if forbidden is not None:
            raise refused(forbidden.reason)
        store = self._backend.machine.store
        refusal = refuse_range(store, question)
        if refusal is not None:
            raise refused(refusal.reason)
        revision = store.revision
        if not (question.end or question.keys_only or question.count_only or question.selection):
            return self._backend.headers.field(revision) + self._one(store.get(question.key, max(question.revision, 0)))
        reply = read_range(store, question, revision)
        if isinstance(reply, Rejected):
            raise refused(reply.reason)
        return self._backend.headers.field(revision) + encoded_range(reply)

    def _one(self, item: Item | None) -> bytes:
        """The answer with this item alone, without its header."""
        if item is None:
            return NOTHING
        key = item.key
        hot = self._hot.get(key)
        if hot is not None and (hot[0] is item or hot[0] == item):
            return hot[1]
        encoded = encoded_only(item)
        self._missed += 1
        # Where keys are read all over the place, to keep each would cost more than it saves; what is hot is met soon.
        if not self._missed % KEPT_MISSES and len(encoded) <= HOT_BYTES:
            if len(self._hot) >= HOT_KEYS:
                self._hot.clear()
            self._hot[key] = (item, encoded)
        return encoded


def _puts(txn: rpc.TxnRequest) -> bool:
    """Whether the transaction may make the data grow."""
    return any(
        operation.HasField("request_put") or (operation.HasField("request_txn") and _puts(operation.request_txn))
        for operation in (*txn.success, *txn.failure)
    )


def _put(reply: Reply) -> bytes:
    assert isinstance(reply, PutReply)
    return NOTHING if reply.previous is None else put_response(reply).SerializeToString()


def _deleted(reply: Reply) -> bytes:
    assert isinstance(reply, DeleteReply)
    return delete_response(reply).SerializeToString()


def _txn(reply: Reply) -> bytes:
    assert isinstance(reply, TxnReply)
    return txn_response(reply).SerializeToString()


def _nothing(_: Reply) -> bytes:
    return NOTHING
