"""Machines under observation, and the store beneath it: prefix of its batches survives a crash."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence

from coterie.core.types import Entry, Index, MemberId, Nanos
from coterie.machine.durable import DurableMachine, MachineFlush
from coterie.machine.host import Host
from coterie.machine.host_state import HostState
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.outcomes import Done
from coterie.machine.stores.interface import Change, OrderedStore, Reading
from coterie.machine.stores.memory import MemoryStore
from coterie.sim.applied import Standing
from coterie.sim.frail import Frailty
from coterie.sim.laws import Laws
from coterie.sim.subject import Judge, Subject
from coterie.sim.verdict import Violation


class ObservedMachine(StateMachine):
    """A machine, with the judges looking over its shoulder."""

    def __init__(self, member: MemberId, machine: StateMachine, judge: Judge, laws: Laws) -> None:
        self._machine = machine
        self._member = member
        self._laws = laws
        self._judge = judge
        self.accusation: Violation | None = None
        """What a judge found: the host would take it for the machine's failure if it were raised in `apply`."""

    @property
    def plain(self) -> StateMachine:
        """The machine itself, unobserved."""
        return self._machine

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply, and show it to the judges."""
        given = Batch(batch.index, batch.time, batch.ordinals, [*map(self._judge.given, batch.commands)])
        try:
            replies = self._machine.apply(given)
        except Exception as error:
            self._judge.raised(batch, error)
            raise
        if self._member in self._laws.machines.unjudged:
            return replies
        try:
            self._laws.machines.applied(self._member, batch, replies)
            self._judge.applied(self._machine, batch, replies)
        except Violation as violation:
            self.accusation = self.accusation or violation
        return replies

    def next_timer(self) -> Nanos | None:
        """As the machine does."""
        return self._machine.next_timer()

    def pass_time(self, index: Index, time: Nanos) -> None:
        """Let the machine act, and show it to the judges."""
        try:
            self._machine.pass_time(index, time)
        except Exception as error:
            self._judge.raised(Batch(index, time, (), ()), error)
            raise
        if self._member in self._laws.machines.unjudged:
            return
        try:
            self._laws.machines.passed(self._member, index, time)
            self._judge.passed(self._machine, index, time)
        except Violation as violation:
            self.accusation = self.accusation or violation

    def query(self, question: bytes) -> bytes | Rejected:
        """Answer, and show it to the judge."""
        answer: bytes | Rejected = Rejected("the machine raised")
        try:
            answer = self._machine.query(self._judge.given(question))
        finally:
            self._show(question, answer)
        return answer

    def _show(self, question: bytes, answer: bytes | Rejected) -> None:
        if self._member not in self._laws.machines.unjudged:
            try:
                self._judge.queried(self._laws.machines.index_of(self._member), question, answer)
            except Violation as violation:
                self.accusation = self.accusation or violation

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


class ObservedDurableMachine(ObservedMachine, DurableMachine):
    """One that keeps its state in a store, if there is one."""

    def __init__(self, member: MemberId, machine: DurableMachine, judge: Judge, laws: Laws) -> None:
        super().__init__(member, machine, judge, laws)
        self._durable = machine

    def attach(self, store: OrderedStore) -> None:
        """As the machine does."""
        self._durable.attach(store)

    def begin_flush(self) -> MachineFlush:
        """As the machine does."""
        return self._durable.begin_flush()

    def finish_flush(self, flush: MachineFlush) -> None:
        """As the machine does."""
        self._durable.finish_flush(flush)

    @property
    def unflushed_items(self) -> int:
        """As the machine does."""
        return self._durable.unflushed_items

    def stored_chunks(self, view: Reading) -> Iterator[bytes]:
        """As the machine does."""
        return self._durable.stored_chunks(view)

    def fill(self, store: OrderedStore, chunks: Iterable[bytes]) -> None:
        """As the machine does."""
        self._durable.fill(store, chunks)

    def reload(self) -> None:
        """As the machine does."""
        self._durable.reload()

    def detach(self) -> None:
        """As the machine does."""
        self._durable.detach()


def standing(host: HostState) -> Standing:
    """How far the host is."""
    return Standing(host.applied, host.time, host.revision())


class ObservedHost(Host):
    """A host, with the judges looking over its shoulder."""

    piece = 1  # worlds have no crowds

    def __init__(self, machine: StateMachine, *, store: OrderedStore | None, member: MemberId, laws: Laws) -> None:
        super().__init__(machine, store=store)
        self._member = member
        self._laws = laws
        self.whole = True
        """No entry is applied in part: a process may end while it answers for the first commands of one."""

    def apply(
        self, entry: Entry, own: MemberId, boot: int, tell: Callable[[Done], None] | None = None
    ) -> Sequence[Done]:
        """Apply, and show it to the judges; what one said of the machine comes first."""
        self.whole = False
        done = super().apply(entry, own, boot, tell)
        self.whole = True
        if isinstance(self.machine, ObservedMachine) and self.machine.accusation is not None:
            raise self.machine.accusation
        self._laws.machines.reached(self._member, standing(self), self.digest)
        return done


def observed(member: MemberId, subject: Subject, laws: Laws) -> ObservedMachine:
    """A new machine of the subject's, for one life of the member, under observation."""
    machine = subject.machine(member)
    if isinstance(machine, DurableMachine):
        return ObservedDurableMachine(member, machine, subject.judge, laws)
    return ObservedMachine(member, machine, subject.judge, laws)


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
