"""What a `Host` knows at each index, and how it gets into the store and into snapshots, and back.

`durable.py` says what whoever drives the host calls, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Self

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.settings import Settings
from coterie.core.types import NO_EPOCH, Epoch, Index, Membership, Nanos, SnapshotMeta
from coterie.machine.chunks import pack
from coterie.machine.durable import DurableMachine
from coterie.machine.interface import StateMachine
from coterie.machine.loading import machine_name
from coterie.machine.origins import Origins
from coterie.machine.outcomes import MachineFailed
from coterie.machine.persistence import (
    FORMAT,
    Flush,
    HostRecord,
    Restoration,
    SnapshotView,
    encode_host,
    read_host,
    read_sessions,
    stored_records,
    tagged_records,
)
from coterie.machine.sessions import Session, SessionTable, limits_of
from coterie.machine.stores.interface import OrderedStore, StoreFailed

FLUSH_ITEMS = 32_768
FLUSH_BYTES = 32 * 1024 * 1024
FLUSH_ENTRIES = 4096
"""A flush is due when the machine has gathered so many items, or the log brought so many bytes or entries. A restart
applies again what was not flushed, and a small entry costs nearly as much as a large one: without the last bound, a
cluster with little to do would have the longest recovery."""
CHAIN_BYTES = 16
NO_CHAIN = bytes(CHAIN_BYTES)
"""The chain of an empty log."""


FIRST_SETTINGS = Settings()
"""In force before the log says otherwise, as in a log's base (`SnapshotMeta`)."""


class HostState:
    """The replicated state around a machine: sessions, origins, membership, settings, cluster time, index."""

    def __init__(
        self,
        machine: StateMachine,
        *,
        store: OrderedStore | None = None,
        settings: Settings = FIRST_SETTINGS,
    ) -> None:
        """`store`: where a `DurableMachine` keeps its state, and the host its own; the host becomes what it
        holds, and closes it in the end. Other machines live in memory; for them it is closed at once.
        `settings`: in force before the log says otherwise. Raises `StoreFailed`."""
        self.machine = machine
        self.applied: Index = 0
        self.applied_epoch: Epoch = NO_EPOCH
        self.time: Nanos = 0
        """Cluster time: the sum of `elapsed` over the log."""
        self.membership = Membership((), ())
        """As of `applied`; empty before the first MEMBERSHIP entry."""
        self.settings = settings
        """As of `applied`."""
        self.chain = NO_CHAIN
        """Hash over all that was applied: the same at every member at the same `applied` (see `_link`)."""
        self.limits = limits_of(settings)
        self._table = SessionTable(self.limits)
        self._origins = Origins()
        self._touched: list[Session] = []
        """Sessions that the present entry's commands belong to."""
        self.persisted: Index = 0
        """What the store holds durably: the log is not needed up to here. 0 for a machine in memory."""
        self._unflushed_bytes = 0
        """Payload bytes applied since the last flush began."""
        self._flush: Flush | None = None
        self._restoration: Restoration | None = None
        self._durable: DurableMachine | None = None
        """`machine`, if it has a store."""
        self._store: OrderedStore | None = None
        if store is not None:
            self._open(store)

    @classmethod
    def over(cls, machine: StateMachine, store: OrderedStore | None) -> Self:
        """A host of this machine, as its driver makes it."""
        return cls(machine, store=store)

    # What others may look at

    def revision(self) -> int:
        """The machine's revision; the applied index if it has none of its own."""
        revision = self.machine.revision()
        return self.applied if revision is None else revision

    def next_timer(self) -> Nanos | None:
        """Cluster time at which the next session expires if none is heard from, or the machine wants to act; None if
        there is no such time: then the log need not carry time. Raises `MachineFailed`."""
        expiry = self._table.next_expiry()
        if self.restoring:
            return expiry
        timer = self.machine_timer()
        return timer if expiry is None else expiry if timer is None else min(expiry, timer)

    def machine_timer(self) -> Nanos | None:
        """Cluster time at which the machine wants to act. Raises `MachineFailed`."""
        try:
            timer = self.machine.next_timer()
        except Exception as error:
            raise MachineFailed(
                f"machine {machine_name(self.machine)} raised {type(error).__name__}: {error} (in next_timer)"
            ) from error
        if timer is None or type(timer) is int:
            return timer
        raise MachineFailed(
            f"machine {machine_name(self.machine)} has {type(timer).__name__} as its timer: it is int (ns) or None"
        )

    @property
    def durable(self) -> bool:
        """Whether the machine keeps its state in a store."""
        return self._store is not None

    @property
    def store_bytes(self) -> int:
        """What the machine's store takes, roughly; 0 for a machine in memory."""
        return self._store.bytes_used if self._store is not None else 0

    @property
    def store_bytes_in_use(self) -> int:
        """Those of `store_bytes` that hold something."""
        return self._store.bytes_in_use if self._store is not None else 0

    @property
    def sessions(self) -> int:
        """Number of living sessions."""
        return len(self._table.living)

    @property
    def kept_reply_bytes(self) -> int:
        """Bytes of replies that all sessions keep."""
        return self._table.reply_bytes

    @property
    def restoring(self) -> bool:
        """Whether a snapshot is being installed: until then the state is neither the old one nor the new one."""
        return self._restoration is not None

    # The store: `durable.py` says in which order

    def _open(self, store: OrderedStore) -> None:
        if not isinstance(self.machine, DurableMachine):
            store.close()
            return
        view = store.view()
        try:
            empty = read_host(view) is None
        finally:
            view.close()
        if empty:  # what a restoration that was cut off left
            store.clear()
            store.sync()
        self.machine.attach(store)
        self._store, self._durable = store, self.machine
        self._load(store)

    def _load(self, store: OrderedStore) -> None:
        """Become what the store holds."""
        view = store.view()
        try:
            record = read_host(view)
            if record is not None:
                self._become(record, read_sessions(view))
                self.persisted = record.applied
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise StoreFailed(f"the machine's store is not readable: {error}") from error
        finally:
            view.close()

    @property
    def flush_due(self) -> bool:
        """Whether enough has gathered in memory for a flush, and none is under way."""
        return (
            self._durable is not None
            and self._flush is None
            and (
                self._unflushed_bytes >= FLUSH_BYTES
                or self.applied - self.persisted >= FLUSH_ENTRIES
                or self._durable.unflushed_items >= FLUSH_ITEMS
            )
        )

    def begin_flush(self) -> Flush | None:
        """Set aside what was applied since the last flush; None if there is nothing, or no store."""
        if self._durable is None or self._store is None:
            return None
        assert self._flush is None, "one flush at a time"
        assert self._restoration is None, "no flush while a snapshot is being installed"
        if self.applied == self.persisted and not self._durable.unflushed_items:
            return None
        self._unflushed_bytes = 0
        machine_flush = self._durable.begin_flush()
        self._flush = Flush(self._store, self._record(), self._table.take_changed(), machine_flush)
        return self._flush

    def finish_flush(self, flush: Flush) -> None:
        """`flush.perform` has returned."""
        assert self._durable is not None
        assert flush is self._flush, "another flush than the one that was begun"
        self._durable.finish_flush(flush.machine)
        self.persisted = flush.index
        self._flush = None

    def close(self) -> None:
        """Close the store; the host is not to be used again."""
        if self._store is not None and self._durable is not None:
            self._durable.detach()
            self._store.close()
            self._store = None

    # Snapshots

    def meta(self) -> SnapshotMeta:
        """What a log needs to know of the present state."""
        return self._record().meta()

    def snapshot_view(self) -> SnapshotView:
        """A state that can be read, as a snapshot, while entries are applied: of a machine on a store the
        state at `persisted`, of any other the present one (see `StateMachine.frozen`). Close it."""
        assert self._flush is None, "no snapshot while a flush is under way"
        if self._durable is None or self._store is None:
            frozen = list(self._table.records()), self.machine.frozen()
            now = self._record()
            return SnapshotView(now.meta(), lambda: tagged_records(now, *frozen))
        view, durable = self._store.view(), self._durable
        record = read_host(view)
        if record is None:
            view.close()
            raise CoterieError("there is nothing in the store to make a snapshot of", advice="Flush first.")
        found = record
        return SnapshotView(record.meta(), lambda: stored_records(found, view, durable), view)

    def snapshot(self) -> Iterator[bytes]:
        """Machine, sessions, origins, membership, settings, time and applied index in chunks of at most 1 MiB.

        No entry may be applied between the first chunk and the last: `CoterieError` if one was.
        """
        at = self.applied

        def unmoved(records: Iterable[bytes]) -> Iterator[bytes]:
            for record in records:
                yield record
                if self.applied != at:
                    raise CoterieError(f"entry {self.applied} was applied while a snapshot of {at} was being taken")

        return pack(unmoved(tagged_records(self._record(), self._table.records(), self.machine.snapshot())))

    def begin_restore(self, chunks: Iterable[bytes]) -> Restoration:
        """Begin to become what a snapshot was taken of. Until `finish_restore` nothing may be applied, and
        questions are refused."""
        assert self._flush is None, "no snapshot is installed while a flush is under way"
        self._restoration = Restoration(self.machine, self._store, chunks)
        return self._restoration

    def finish_restore(self, restoration: Restoration) -> None:
        """`restoration.perform` has returned."""
        assert restoration is self._restoration, "another restoration than the one that was begun"
        assert restoration.record is not None, "the restoration was not performed"
        self._restoration = None
        self._unflushed_bytes = 0
        if self._durable is not None and self._store is not None:
            self._durable.reload()
            self._load(self._store)
        else:
            self._become(restoration.record, restoration.sessions)

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become what a snapshot was taken of, at once. Raises `ValueError` if the chunks are no whole snapshot;
        the host is then not to be used again."""
        restoration = self.begin_restore(chunks)
        restoration.perform()
        self.finish_restore(restoration)

    def _become(self, record: HostRecord, sessions: Iterable[bytes]) -> None:
        """Take over all but the machine's state."""
        self.applied = record.applied
        self.applied_epoch = record.epoch
        self.time = record.time
        self.chain = record.chain
        self.membership = record.membership
        self.settings = record.settings
        self.limits = limits_of(record.settings)
        self._origins = Origins(record.origins)
        self._table = SessionTable(self.limits)
        self._table.load(sessions)

    def _record(self) -> HostRecord:
        return HostRecord(
            FORMAT,
            self.applied,
            self.applied_epoch,
            self.time,
            self.chain,
            self.membership,
            self.settings,
            self._origins.records(),
        )

    def digest(self) -> bytes:
        """Hash of machine, sessions, origins, membership, settings, time and applied index: equal at every member
        that has applied the same log, on any machine and any Python. Without the epoch of the last entry: members may
        have accepted the same entry in different ballots."""
        state = blake2b(digest_size=32)
        record = msgspec.structs.replace(self._record(), epoch=NO_EPOCH)
        for part in (encode_host(record), *self._table.records(), self.machine.digest()):
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.digest()
