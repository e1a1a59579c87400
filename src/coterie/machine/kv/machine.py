"""The key-value machine: commands and questions in MessagePack, to and from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from coterie.machine.chunks import pack, unpack
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    CompactReply,
    DeleteRange,
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
    item_size,
    read_range,
    refuse_range,
    reply_size,
)
from coterie.machine.kv.store import Store
from coterie.machine.kv.txn import run_txn
from coterie.machine.kv.writing import MAX_KEY_BYTES, MAX_VALUE_BYTES, delete_range, refuse_compaction, refuse_put

SNAPSHOT_FORMAT = 1
RECORD_BYTES = 64 * 1024
"""A snapshot's record holds items up to about this size (one item may exceed it)."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that are not what they should be. Not RecursionError: that depends on
the stack, so answering it might differ from member to member; the protocol leaves no room for it."""


class KeyValue(StateMachine):
    """Keys and values with revisions, as etcd has them: every revision can be read until compaction."""

    def __init__(self) -> None:
        self.store = Store()

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Run `protocol.Command`s; the replies are `protocol.Reply`s. What is malformed is rejected."""
        store = self.store
        store.sweep()
        put, commit = store.put, store.commit
        decode, encode = command_decoder.decode, encoder.encode
        replies: list[bytes | Rejected] = []
        add = replies.append
        for body in batch.commands:
            try:
                command = decode(body)
            except _UNREADABLE as error:
                add(Rejected(f"not a key-value command: {error}"))
                continue
            if type(command) is Put:
                key, value = command.key, command.value
                if key and len(key) <= MAX_KEY_BYTES and len(value) <= MAX_VALUE_BYTES:
                    previous = put(key, value)
                    add(encode(PutReply(commit(), previous if command.want_previous else None)))
                    continue
            add(self._run(command))
        return replies

    def _run(self, command: Command) -> bytes | Rejected:
        """Any command, the common put aside."""
        store = self.store
        if isinstance(command, Txn):
            reply = run_txn(store, command)
            return reply if isinstance(reply, Rejected) else encoder.encode(reply)
        if isinstance(command, Compact):
            refused = refuse_compaction(store, command.revision)
            if refused is not None:
                return refused
            store.compact(command.revision)
            return encoder.encode(CompactReply(store.revision))
        if isinstance(command, DeleteRange):
            if not command.key:
                return EMPTY_KEY
            deleted = delete_range(store, command)
            if reply_size(deleted) > MAX_ANSWER_BYTES:
                store.rollback()
                return TOO_LARGE
            store.commit()
            return encoder.encode(deleted)
        refused = refuse_put(command)
        assert refused is not None, "apply runs every put that nothing refuses"
        return refused

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
        """Replace the whole state by a snapshot's; on `ValueError` the state is as it was."""
        records = unpack(chunks)
        store = Store()
        try:
            header = _record_decoder.decode(next(records, b""))
            if not isinstance(header, _Header) or header.format != SNAPSHOT_FORMAT:
                raise ValueError(f"not a key-value snapshot of format {SNAPSHOT_FORMAT}")
            store.load(header.revision, header.compacted, _items(records))
        except _UNREADABLE as error:
            raise ValueError(f"the key-value snapshot is not readable: {error}") from error
        self.store = store

    def digest(self) -> bytes:
        """Hash of everything that can be read: items, history, revision and compaction."""
        state = blake2b(digest_size=32)
        for record in self._records():
            state.update(len(record).to_bytes(4, "big"))
            state.update(record)
        return state.digest()

    def _records(self) -> Iterator[bytes]:
        store = self.store
        yield encoder.encode(_Header(SNAPSHOT_FORMAT, store.revision, store.compacted))
        group: list[Item] = []
        size = count = 0
        for item in store.items():
            group.append(item)
            count += 1
            size += item_size(item)
            if size >= RECORD_BYTES:
                yield encoder.encode(_Group(group))
                group, size = [], 0
        if group:
            yield encoder.encode(_Group(group))
        yield encoder.encode(_End(count))


class _Header(msgspec.Struct, frozen=True, array_like=True, tag=1):
    format: int
    revision: int
    compacted: int


class _Group(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: list[Item]


class _End(msgspec.Struct, frozen=True, array_like=True, tag=3):
    count: int
    """Items in the whole snapshot."""


_record_decoder: msgspec.msgpack.Decoder[_Header | _Group | _End] = msgspec.msgpack.Decoder(_Header | _Group | _End)


def _items(records: Iterator[bytes]) -> Iterator[Item]:
    """The items of a snapshot's groups. Raises `ValueError` if the end is missing or counts otherwise."""
    count = 0
    for data in records:
        record = _record_decoder.decode(data)
        if isinstance(record, _Group):
            count += len(record.items)
            yield from record.items
        elif isinstance(record, _End) and record.count == count and next(records, None) is None:
            return
        else:
            raise ValueError("the key-value snapshot has records that don't belong together")
    raise ValueError("the key-value snapshot has no end")
