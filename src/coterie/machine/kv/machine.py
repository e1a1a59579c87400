"""The key-value machine: commands and questions in MessagePack, to and from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from coterie.machine.chunks import pack, unpack
from coterie.machine.durable import DurableMachine, MachineFlush
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv.data import FIRST_REVISION, Data
from coterie.machine.kv.filling import fill
from coterie.machine.kv.layered import LayeredFlush, LayeredStore
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    CompactReply,
    Item,
    Put,
    PutReply,
    Txn,
    command_decoder,
    encoder,
    question_decoder,
)
from coterie.machine.kv.reading import (
    EMPTY_KEY,
    MAX_ANSWER_BYTES,
    TOO_LARGE,
    read_range,
    refuse_range,
    reply_size,
)
from coterie.machine.kv.snapshots import header_of, items_of, read_header, records, stored_records
from coterie.machine.kv.store import Store
from coterie.machine.kv.txn import run_txn
from coterie.machine.kv.writing import MAX_KEY_BYTES, MAX_VALUE_BYTES, delete_range, refuse_compaction, refuse_put
from coterie.machine.stores.interface import OrderedStore, Reading

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be. Not RecursionError: that depends on
the stack, so answering it might differ from member to member; the protocol leaves no room for it."""


class KeyValue(DurableMachine):
    """Keys and values with revisions, as etcd has them: every revision can be read until compaction.

    As it is made, all of it is in memory. `attach` puts it on an ordered store: the host does that when it is
    given one (`Host(KeyValue(), store=open_store(directory))`); memory then holds only what no flush has
    moved there yet.
    """

    def __init__(self) -> None:
        self.store: Data = Store()
        self._layered: LayeredStore | None = None
        """`store`, if it is on disk."""

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Run `protocol.Command`s; the replies are `protocol.Reply`s. What is malformed is rejected."""
        decode = command_decoder.decode
        replies: list[bytes | Rejected] = []
        puts: list[Put] = []
        for body in batch.commands:
            try:
                command = decode(body)
            except _UNREADABLE as error:
                self._put_each(puts, replies)
                replies.append(Rejected(f"not a key-value command: {error}"))
                continue
            if type(command) is Put and not command.want_previous:
                key = command.key
                if key and len(key) <= MAX_KEY_BYTES and len(command.value) <= MAX_VALUE_BYTES:
                    puts.append(command)
                    continue
            self._put_each(puts, replies)
            replies.append(self._run(command))
        self._put_each(puts, replies)
        self.store.end_batch()
        return replies

    def _put_each(self, puts: list[Put], replies: list[bytes | Rejected]) -> None:
        """Run the puts that were gathered, none of which is to be refused."""
        if puts:
            first = self.store.revision + 1
            self.store.put_each(puts)
            encode = encoder.encode
            replies += [encode(PutReply(revision)) for revision in range(first, first + len(puts))]
            puts.clear()

    def _run(self, command: Command) -> bytes | Rejected:
        """Any command, the common put aside."""
        store = self.store
        if isinstance(command, Put):
            refused = refuse_put(command)
            if refused is not None:
                return refused
            previous = store.put(command.key, command.value, command.want_previous)
            return encoder.encode(PutReply(store.commit(), previous if command.want_previous else None))
        if isinstance(command, Txn):
            reply = run_txn(store, command)
            return reply if isinstance(reply, Rejected) else encoder.encode(reply)
        if isinstance(command, Compact):
            refused = refuse_compaction(store, command.revision)
            if refused is not None:
                return refused
            store.compact(command.revision)
            return encoder.encode(CompactReply(store.revision))
        if not command.key:
            return EMPTY_KEY
        deleted = delete_range(store, command)
        if reply_size(deleted) > MAX_ANSWER_BYTES:
            store.rollback()
            return TOO_LARGE
        store.commit()
        return encoder.encode(deleted)

    def query(self, question: bytes) -> bytes | Rejected:
        """Answer a `protocol.Question` from the present state or a past one."""
        try:
            asked = question_decoder.decode(question)
        except _UNREADABLE as error:
            return Rejected(f"not a key-value question: {error}")
        refused = refuse_range(self.store, asked)
        if refused is not None:
            return refused
        reply = read_range(self.store, asked, self.store.revision)
        return reply if isinstance(reply, Rejected) else encoder.encode(reply)

    def revision(self) -> int:
        """The store's revision: 1 when empty, one more with every command that wrote."""
        return self.store.revision

    def events(self, revision: int) -> Sequence[Item]:
        """What a revision changed (see `Store.events`)."""
        return self.store.events(revision)

    def snapshot(self) -> Iterator[bytes]:
        """The whole state, history included. Nothing may be applied before the last chunk is taken."""
        return pack(self._records())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the whole state by a snapshot's; in memory, on `ValueError` the state is as it was."""
        assert self._layered is None, "a machine on a store is restored by its host"
        found = unpack(chunks)
        store = Store()
        header = read_header(found)
        store.load(header.revision, header.compacted, items_of(found))
        self.store = store

    def digest(self) -> bytes:
        """Hash of everything that can be read: items, history, revision and compaction."""
        state = blake2b(digest_size=32)
        for record in self._records():
            state.update(len(record).to_bytes(4, "big"))
            state.update(record)
        return state.digest()

    def _records(self) -> Iterator[bytes]:
        return records(header_of(self.store.revision, self.store.compacted), self.store.items())

    # On an ordered store: see `DurableMachine`

    def attach(self, store: OrderedStore) -> None:
        """See `DurableMachine`."""
        assert self.store.revision == FIRST_REVISION, "attach comes before anything else"
        self.store = self._layered = LayeredStore(store)

    @property
    def _on_store(self) -> LayeredStore:
        assert self._layered is not None, "the machine is in memory: attach it first"
        return self._layered

    def begin_flush(self) -> MachineFlush:
        """See `DurableMachine`."""
        return self._on_store.begin_flush()

    def finish_flush(self, flush: MachineFlush) -> None:
        """See `DurableMachine`."""
        assert isinstance(flush, LayeredFlush)
        self._on_store.finish_flush(flush)

    @property
    def unflushed_items(self) -> int:
        """See `DurableMachine`."""
        return self._on_store.unflushed_items

    def stored_chunks(self, view: Reading) -> Iterator[bytes]:
        """See `DurableMachine`."""
        return pack(stored_records(view))

    def fill(self, store: OrderedStore, chunks: Iterable[bytes]) -> None:
        """See `DurableMachine`."""
        found = unpack(chunks)
        header = read_header(found)
        fill(store, header.revision, header.compacted, items_of(found))

    def reload(self) -> None:
        """See `DurableMachine`."""
        self._on_store.reload()

    def detach(self) -> None:
        """See `DurableMachine`."""
        self._on_store.close()
