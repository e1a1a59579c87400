"""The key-value machine under observation, and the store beneath it: prefix of its batches survives a crash."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence

from coterie.core.types import MemberId
from coterie.machine.durable import DurableMachine, MachineFlush
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv.machine import KeyValue
from coterie.machine.stores.interface import Change, OrderedStore, Reading
from coterie.machine.stores.memory import MemoryStore
from coterie.sim.frail import Frailty
from coterie.sim.history import History
from coterie.sim.laws import Laws
from coterie.sim.verdict import Violation

MakeMachine = Callable[[MemberId], DurableMachine]


def honest(member: MemberId) -> DurableMachine:
    """The machine that every member runs, unless a test plants another."""
    return KeyValue()


class ObservedMachine(DurableMachine):
    """A machine, with the judges looking over its shoulder. Without a store it lives in memory."""

    def __init__(self, member: MemberId, machine: DurableMachine, laws: Laws, history: History) -> None:
        self._machine = machine
        self._member = member
        self._laws = laws
        self._history = history
        self.accusation: Violation | None = None
        """What a judge found: the host would take it for the machine's failure if it were raised in `apply`."""

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply, and show it to the judges."""
        replies = list(self._machine.apply(batch))
        if self._member in self._laws.unjudged:
            return replies
        try:
            self._laws.applied(self._member, batch, replies)
            self._history.applied(batch, replies)
        except Violation as violation:
            self.accusation = self.accusation or violation
        return replies

    def query(self, question: bytes) -> bytes | Rejected:
        """As the machine does."""
        return self._machine.query(question)

    def snapshot(self) -> Iterator[bytes]:
        """As the machine does."""
        return self._machine.snapshot()

    def frozen(self) -> Iterable[bytes]:
        """As the machine does."""
        return self._machine.frozen()

    def restore(self, chunks: Iterable[bytes]) -> None:
        """As the machine does."""
        self._machine.restore(chunks)

    def digest(self) -> bytes:
        """As the machine does."""
        return self._machine.digest()

    def revision(self) -> int | None:
        """As the machine does."""
        return self._machine.revision()

    def attach(self, store: OrderedStore) -> None:
        """As the machine does."""
        self._machine.attach(store)

    def begin_flush(self) -> MachineFlush:
        """As the machine does."""
        return self._machine.begin_flush()

    def finish_flush(self, flush: MachineFlush) -> None:
        """As the machine does."""
        self._machine.finish_flush(flush)

    @property
    def unflushed_items(self) -> int:
        """As the machine does."""
        return self._machine.unflushed_items

    def stored_chunks(self, view: Reading) -> Iterator[bytes]:
        """As the machine does."""
        return self._machine.stored_chunks(view)

    def fill(self, store: OrderedStore, chunks: Iterable[bytes]) -> None:
        """As the machine does."""
        self._machine.fill(store, chunks)

    def reload(self) -> None:
        """As the machine does."""
        self._machine.reload()

    def detach(self) -> None:
        """As the machine does."""
        self._machine.detach()


class FrailStore(OrderedStore):
    """The store of one process: it may end before any call that changes it, and its disk may be full."""

    def __init__(self, store: MemoryStore, frailty: Frailty) -> None:
        self._store = store
        self._frailty = frailty

    def write(self, batch: Iterable[Change]) -> None:
        """See `OrderedStore`."""
        self._frailty.step()
        if self._frailty.full:
            raise OSError(errno.ENOSPC, "No space left on device (simulated)")
        self._store.write(batch)

    def clear(self) -> None:
        """See `OrderedStore`."""
        self._frailty.step()
        self._store.clear()

    def sync(self) -> None:
        """See `OrderedStore`."""
        self._frailty.step()
        self._store.sync()

    def view(self) -> Reading:
        """See `OrderedStore`."""
        return self._store.view()

    @property
    def bytes_used(self) -> int:
        """See `OrderedStore`."""
        return self._store.bytes_used

    def close(self) -> None:
        """See `OrderedStore`."""
