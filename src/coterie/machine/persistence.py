"""How the host's state, and the machine's with it, goes to an ordered store and into snapshots and back.

| Key in the store | Value |
|---|---|
| `h0` | `HostRecord`: written by the last batch of a flush or a restoration; without it the store holds no state |
| `m...` | the machine's |
| `s` session (8 bytes) | the session's records, as a snapshot has them |

A snapshot is a row of records, each with a tag: `H` the host's record, `S` sessions, `M` the machine's chunks, `E`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.settings import Settings
from coterie.core.types import Epoch, Index, MemberId, Membership, Nanos, SnapshotMeta
from coterie.machine.chunks import Sections, giving_way, pack, unpack
from coterie.machine.durable import DurableMachine, MachineFlush
from coterie.machine.interface import StateMachine
from coterie.machine.sessions import Frozen, group_records, session_records
from coterie.machine.stores.interface import Change, OrderedStore, Reading, StoreFailed

FORMAT = 2
"""Of snapshots and of the host's part of a store."""
HOST_KEY = b"h0"
SESSIONS = b"s"
SESSIONS_END = b"t"
_NOT_READABLE = (msgspec.DecodeError, UnicodeDecodeError, CoterieError)
"""Settings out of their ranges are no settings: they raise `ConfigurationError` while they are decoded."""


class HostRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the host keeps, sessions aside."""

    format: int
    applied: Index
    epoch: Epoch
    time: Nanos
    chain: bytes
    membership: Membership
    settings: Settings
    origins: list[tuple[MemberId, int, int]]

    def meta(self) -> SnapshotMeta:
        """What a log needs to know of this state."""
        return SnapshotMeta(self.applied, self.epoch, self.membership, self.settings)


def encode_host(record: HostRecord) -> bytes:
    """The record's bytes, in a store and in a snapshot."""
    return _encoder.encode(record)


def decode_host(data: bytes) -> HostRecord:
    """The record. Raises `ValueError` if it is not one of this format."""
    try:
        record = _host_decoder.decode(data)
    except _NOT_READABLE as error:
        raise ValueError(f"the snapshot's header is not readable: {error}") from error
    if record.format != FORMAT:
        raise ValueError(f"the snapshot has format {record.format}; this version reads {FORMAT}")
    return record


def read_host(view: Reading) -> HostRecord | None:
    """The host's record in the store, None if the store holds no state. Raises `StoreFailed`."""
    data = view.get(HOST_KEY)
    if data is None:
        return None
    try:
        return decode_host(data)
    except ValueError as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error


def read_sessions(view: Reading) -> Iterator[bytes]:
    """The records of all sessions in the store, in the order that a snapshot has."""
    for _, value in view.range(SESSIONS, SESSIONS_END):
        yield from _records_decoder.decode(value)


def _session_key(id: int) -> bytes:
    return SESSIONS + id.to_bytes(8, "big")


class Flush:
    """What was applied since the last flush, on its way to the store."""

    def __init__(
        self, store: OrderedStore, record: HostRecord, sessions: list[tuple[int, Frozen | None]], machine: MachineFlush
    ) -> None:
        self._store = store
        self._sessions = sessions
        self.record = record
        self.machine = machine

    @property
    def index(self) -> Index:
        """What the store holds afterwards."""
        return self.record.applied

    def perform(self) -> None:
        """In a thread: write it, in one batch, and sync. After an `OSError` with ENOSPC it may be called
        again; any other error ends the process."""
        view = self._store.view()
        try:
            self._store.write(self._changes(view))
        finally:
            view.close()
        self._store.sync()

    def _changes(self, view: Reading) -> Iterator[Change]:
        yield from self.machine.changes(view)
        for id, frozen in self._sessions:
            records = None if frozen is None else _encoder.encode(list(session_records(id, frozen)))
            yield _session_key(id), records
        yield HOST_KEY, encode_host(self.record)


class SnapshotView:
    """The state at one index, that can be read at leisure."""

    def __init__(self, meta: SnapshotMeta, records: Callable[[], Iterator[bytes]], view: Reading | None = None) -> None:
        self.meta = meta
        self._records = records
        self._view = view

    def chunks(self) -> Iterator[bytes]:
        """The snapshot, in chunks of at most 1 MiB: for `Host.restore`. From any one thread."""
        return pack(self._records())

    def close(self) -> None:
        """Nothing will be read any more. From any thread; twice is no error."""
        if self._view is not None:
            self._view.close()


def stored_records(record: HostRecord, view: Reading, machine: DurableMachine) -> Iterator[bytes]:
    """A snapshot's records, from a view of the store."""
    return tagged_records(record, read_sessions(view), machine.stored_chunks(view))


def tagged_records(record: HostRecord, sessions: Iterable[bytes], machine: Iterable[bytes]) -> Iterator[bytes]:
    """A snapshot's records."""
    yield b"H" + encode_host(record)
    for session in sessions:
        yield b"S" + session
    for chunk in machine:
        yield b"M" + chunk
    yield b"E"


class Restoration:
    """A snapshot on its way into the machine, and its store if it has one."""

    def __init__(self, machine: StateMachine, store: OrderedStore | None, chunks: Iterable[bytes]) -> None:
        self._machine = machine
        self._store = store
        self._chunks = chunks
        self.record: HostRecord | None = None
        self.sessions: list[bytes] = []
        """Without a store: the records of the sessions."""

    def perform(self, give_way: Callable[[], None] | None = None) -> None:
        """In a thread: take the snapshot in, and call `give_way` after each of its chunks. Raises `ValueError` if
        it is none, `OSError` as `Flush` does.

        The store is empty first and gets its host's record last: whatever comes in between, it never holds
        half of a state that passes for a whole one.
        """
        try:
            self._perform(self._chunks if give_way is None else giving_way(self._chunks, give_way))
        except _NOT_READABLE as error:
            if isinstance(error, StoreFailed):
                raise
            raise ValueError(f"the snapshot is not readable: {error}") from error

    def _perform(self, chunks: Iterable[bytes]) -> None:
        records = unpack(chunks)
        first = next(records, b"")
        if first[:1] != b"H":
            raise ValueError("the snapshot does not begin with a header")
        record = decode_host(first[1:])
        parts = Sections(records)
        store = self._store
        if store is None:
            self.sessions = list(parts.take(b"S"))
            self._machine.restore(parts.take(b"M"))
            parts.finish(b"E")
        else:
            assert isinstance(self._machine, DurableMachine)
            store.clear()
            for id, group in group_records(parts.take(b"S")):
                store.write([(_session_key(id), _encoder.encode(group))])
            self._machine.fill(store, parts.take(b"M"))
            parts.finish(b"E")
            store.write([(HOST_KEY, encode_host(record))])
            store.sync()
        self.record = record


_encoder = msgspec.msgpack.Encoder()
_host_decoder: msgspec.msgpack.Decoder[HostRecord] = msgspec.msgpack.Decoder(HostRecord)
_records_decoder: msgspec.msgpack.Decoder[list[bytes]] = msgspec.msgpack.Decoder(list[bytes])
