"""The key-value machine does what a naive model of every revision does, whatever is asked of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.machine.kv.model import SECOND, LeaseCommand, Model, Writing, inside

from coterie.machine.durable import MachineFlush
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import (
    KeyValue,
    blocks,
    counts,
    keyspace,
    layer,
    layered,
    layered_flush,
    records,
    snapshots,
    store,
    sweeping,
)
from coterie.machine.kv.protocol import (
    AlarmKind,
    AlarmReply,
    AskAlarms,
    AskHash,
    Command,
    Compact,
    CompactReply,
    Compare,
    DeleteRange,
    Grant,
    KeepAlive,
    Leases,
    LeasesReply,
    Nested,
    Order,
    Put,
    Range,
    Relation,
    Reply,
    Revoke,
    Selection,
    SetAlarm,
    SortTarget,
    Target,
    TimeToLive,
    Txn,
    encoder,
    reply_decoder,
)
from coterie.machine.sessions import session_id
from coterie.machine.stores import LmdbStore, MemoryStore, OrderedStore

KEYS = st.sampled_from([b"a", b"b", b"c", b"a\0"] * 6 + [b"\0", b"ab", b"\xff", b"\xff\xff", b""])
ENDS = st.sampled_from([b"", b"", b"\0", b"a", b"b", b"b\0", b"c", b"\xff"])
VALUES = st.sampled_from([b"", b"1", b"2", b"22"])
NUMBERS = st.integers(-1, 12)
RARELY = st.integers(0, 5).map(lambda dice: not dice)
LEASES = st.sampled_from([-7, 1, 2, 3])
LEASES_OF_KEYS = st.sampled_from([0, 0, 0, -7, 1, 2, 3])
PUTS = st.builds(Put, KEYS, VALUES, st.booleans(), LEASES_OF_KEYS, RARELY, RARELY)
GRANTS = st.builds(Grant, st.one_of(st.just(0), LEASES), st.sampled_from([-1, 2, 3, 5, 9_000_000_001]))
OF_LEASES = st.one_of(
    GRANTS,
    GRANTS,
    st.builds(Revoke, LEASES),
    st.builds(KeepAlive, LEASES),
    st.builds(TimeToLive, LEASES, st.booleans()),
)
DELETIONS = st.builds(DeleteRange, KEYS, ENDS, st.booleans())
BOUNDS = st.one_of(st.just(0), st.just(0), NUMBERS)
SELECTIONS = st.builds(Selection, st.sampled_from(Order), st.sampled_from(SortTarget), BOUNDS, BOUNDS, BOUNDS, BOUNDS)
RANGES = st.builds(
    Range,
    KEYS,
    ENDS,
    st.one_of(st.just(0), NUMBERS),
    st.integers(-1, 4),
    st.booleans(),
    RARELY,
    st.one_of(st.none(), SELECTIONS),
)
COMPARES = st.builds(
    Compare, KEYS, st.sampled_from(Target), st.sampled_from(Relation), NUMBERS, VALUES, st.one_of(st.just(b""), ENDS)
)


FLAT = st.one_of(PUTS, PUTS, DELETIONS, RANGES)


@st.composite
def transactions(draw: st.DrawFn, levels: int = 2) -> Txn:
    """Transactions with so many levels nested in them."""
    most = 2 if levels < 2 else 3

    def branch() -> tuple[Put | DeleteRange | Range | Nested, ...]:
        operations: list[Put | DeleteRange | Range | Nested] = []
        for _ in range(draw(st.integers(0, most))):
            deeper = levels and draw(RARELY)
            operations.append(Nested(encoder.encode(draw(transactions(levels - 1)))) if deeper else draw(FLAT))
        return tuple(operations)

    return Txn(tuple(draw(st.lists(COMPARES, max_size=2))), branch(), branch())


TXNS = transactions()


class Comparison(RuleBasedStateMachine):
    """Each step goes to the machine and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = self.make()
        self.model = Model()
        self.index = 0
        self.time = 0
        self.log: list[tuple[int, list[bytes]]] = []
        """Cluster time and commands of each entry."""

    def make(self) -> KeyValue:
        """The machine on trial, empty."""
        return KeyValue()

    def run(self, *commands: Command) -> list[Reply | str]:
        """The commands as one entry; replies decoded, refusals as their reason."""
        self.index += 1
        bodies = [encoder.encode(command) for command in commands]
        self.log.append((self.time, bodies))
        if (self.model.next_timer() or self.time + 1) <= self.time:
            self.model.pass_time(self.time, keyspace.MAX_ENDED)
        replies = enter(self.machine, self.index, self.time, bodies)
        return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]

    @rule(commands=st.lists(st.one_of(PUTS, PUTS, DELETIONS, TXNS, OF_LEASES), min_size=1, max_size=5))
    def commands(self, commands: list[Writing | LeaseCommand]) -> None:
        replies = self.run(*commands)
        for ordinal, (command, reply) in enumerate(zip(commands, replies, strict=True)):
            if isinstance(command, Put | DeleteRange | Txn):
                assert reply == self.model.run(command)
            else:
                assert reply == self.model.lease(command, session_id(self.index, ordinal), self.time)

    @initialize(commands=st.lists(st.one_of(GRANTS, PUTS, DELETIONS), min_size=8, max_size=8))
    def begin(self, commands: list[Writing | LeaseCommand]) -> None:
        """Some history to work on."""
        self.commands(commands)

    @rule(member=st.integers(0, 2), kind=st.sampled_from(AlarmKind), on=RARELY)
    def alarm(self, member: int, kind: AlarmKind, on: bool) -> None:
        command = SetAlarm(member, kind, on)
        assert self.run(command) == [self.model.set_alarm(command)]
        answer = self.machine.query(encoder.encode(AskAlarms(kind)))
        assert not isinstance(answer, Rejected)
        wanted = tuple(sorted(alarm for alarm in self.model.alarms if kind in (AlarmKind.NONE, alarm[1])))
        assert reply_decoder.decode(answer) == AlarmReply(self.model.revision, wanted)

    @rule()
    def hash(self) -> None:
        """A machine in memory that has the same data has the same hash, of every revision."""
        twin = KeyValue()
        twin.restore(self.machine.snapshot())
        for revision in range(max(self.model.compacted, 0), self.model.revision + 1):
            question = encoder.encode(AskHash(revision))
            assert self.machine.query(question) == twin.query(question)

    @rule(half_seconds=st.integers(1, 6), logged=st.booleans())
    def wait(self, half_seconds: int, logged: bool) -> None:
        """Cluster time passes; an entry without commands carries it, or the next one does."""
        self.time += half_seconds * SECOND // 2
        if logged:
            self.run()

    @rule(back=st.integers(-1, 12))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        (reply,) = self.run(Compact(revision))
        assert reply == (self.model.compact(revision) or CompactReply(self.model.revision))

    @rule(question=RANGES)
    def ask(self, question: Range) -> None:
        answer = self.machine.query(encoder.encode(question))
        got = answer.reason if isinstance(answer, Rejected) else reply_decoder.decode(answer)
        assert got == self.model.ask(question)

    @rule()
    def restore(self) -> None:
        """A machine made of the snapshot takes over: equal, and the same from then on."""
        twin = self.restored(self.machine.snapshot())
        assert twin.digest() == self.machine.digest()
        assert list(twin.snapshot()) == list(self.machine.snapshot())
        self.machine = twin

    def restored(self, chunks: Iterable[bytes]) -> KeyValue:
        twin = KeyValue()
        twin.restore(chunks)
        assert isinstance(twin.store, store.Store)
        assert isinstance(self.machine.store, store.Store)
        assert twin.store.histories == self.machine.store.histories
        return twin

    @rule()
    def replay(self) -> None:
        """The same commands, otherwise batched, give the same state."""
        twin = KeyValue()
        for index, (time, bodies) in enumerate(self.log, start=1):
            enter(twin, index, time, ())
            for ordinal, body in enumerate(bodies):
                twin.apply(Batch(index, time, [ordinal], [body]))
        assert twin.digest() == self.machine.digest()

    @invariant()
    def every_revision_reads_as_it_was(self) -> None:
        first = max(self.model.compacted, 1)
        for revision in range(first, self.model.revision + 1):
            items = self.machine.store.range(b"\0", b"\0", revision)
            assert {item.key: item for item in items} == self.model.states[revision]
            assert list(self.machine.events(revision)) == self.model.events[revision]
        assert self.machine.revision() == self.model.revision

    @invariant()
    def leases_are_the_models(self) -> None:
        table = self.machine.space.leases
        assert {lease.id: (lease.ttl, lease.deadline) for lease in table.granted.values()} == self.model.leases
        for id, lease in table.granted.items():
            assert tuple(sorted(lease.keys)) == self.model.attached(id)
            assert all(table.attached[key] == id for key in lease.keys)
        assert len(table.attached) == sum(len(lease.keys) for lease in table.granted.values())
        assert self.machine.next_timer() == self.model.next_timer()
        answer = self.machine.query(encoder.encode(Leases()))
        assert not isinstance(answer, Rejected)
        assert reply_decoder.decode(answer) == LeasesReply(self.model.revision, tuple(sorted(self.model.leases)))

    def teardown(self) -> None:
        """What compaction left is freed in the end: one item for each living key is all."""
        self.run(SetAlarm(0, AlarmKind.NONE, False))
        self.model.set_alarm(SetAlarm(0, AlarmKind.NONE, False))
        while (self.model.next_timer() or self.time + 1) <= self.time:
            self.run()
        self.run(Compact(self.model.revision))
        self.check_freed()

    def check_freed(self) -> None:
        assert isinstance(self.machine.store, store.Store)
        self.machine.store.sweep(self.model.revision)
        assert self.machine.store.histories == 0


class LazyStore(store.Store):
    """Frees what one revision left, then waits for the next batch."""

    def sweep(self, revisions: int = 1) -> None:
        super().sweep(revisions)


class SlowSweep(Comparison):
    """The same in the midst of freeing what compaction left."""

    def __init__(self) -> None:
        super().__init__()
        self.machine.space.data = LazyStore()


class Layered(Comparison):
    """The same on an ordered store, with flushes that begin and end anywhere, and restarts that lose the rest."""

    def __init__(self) -> None:
        self.disk: OrderedStore = MemoryStore()
        super().__init__()
        self.flush: MachineFlush | None = None
        self.flushed = 0
        """Batches of `log` that the store holds."""
        self.flushing = 0
        self.digest = b""

    def make(self) -> KeyValue:
        machine = KeyValue()
        machine.attach(self.disk)
        return machine

    @precondition(lambda self: self.flush is None)
    @rule()
    def begin_flush(self) -> None:
        self.flushing, self.digest = len(self.log), self.machine.digest()
        self.flush = self.machine.begin_flush()

    @precondition(lambda self: self.flush is not None)
    @rule(twice=st.booleans())
    def perform_flush(self, twice: bool) -> None:
        """It may be tried again; the machine goes on before it learns that it is done."""
        assert self.flush is not None
        for _ in range(1 + twice):
            view = self.disk.view()
            self.disk.write(self.flush.changes(view))
            view.close()
        self.flushed = self.flushing

    @precondition(lambda self: self.flush is not None and self.flushed == self.flushing)
    @rule()
    def finish_flush(self) -> None:
        assert self.flush is not None
        self.machine.finish_flush(self.flush)
        self.flush = None
        self.a_stored_snapshot_restores_what_was_flushed()

    def a_stored_snapshot_restores_what_was_flushed(self) -> None:
        view = self.disk.view()
        chunks = list(self.machine.stored_chunks(view))
        view.close()
        twin = KeyValue()
        twin.restore(chunks)
        assert twin.digest() == self.digest

    @rule()
    def restart(self) -> None:
        """The process dies; the log replays what the store does not hold."""
        self.machine.detach()
        self.reopen()
        self.machine, self.flush = self.make(), None
        for index, (time, bodies) in enumerate(self.log[self.flushed :], start=self.flushed + 1):
            enter(self.machine, index, time, bodies)

    def reopen(self) -> None:
        """What a new process does with the disk."""

    def restored(self, chunks: Iterable[bytes]) -> KeyValue:
        self.machine.detach()
        held = list(chunks)
        self.disk = MemoryStore()
        twin = self.make()
        twin.fill(self.disk, held)
        twin.reload()
        self.flush = None
        self.flushed = len(self.log)
        return twin

    @rule()
    def restore(self) -> None:
        chunks, digest = list(self.machine.snapshot()), self.machine.digest()
        self.machine = self.restored(chunks)
        assert self.machine.digest() == digest
        assert list(self.machine.snapshot()) == chunks

    @invariant()
    def counts_are_right(self) -> None:
        state = self.model.states[self.model.revision]
        for start, end in [(b"\0", b"\0"), (b"a", b"b"), (b"a\0", b"c"), (b"b", b"\0"), (b"ab", b"\xff"), (b"c", b"b")]:
            assert self.machine.store.count(start, end) == sum(inside(key, start, end) for key in state)

    def check_freed(self) -> None:
        for _ in range(2):
            if self.flush is None:
                self.begin_flush()
            self.perform_flush(False)
            self.finish_flush()
        while self.machine.store.sweep_left:  # type: ignore[attr-defined]
            self.begin_flush()
            self.perform_flush(False)
            self.finish_flush()
        view = self.disk.view()
        kept = [len(records.decode_row(b"", row)) for _, row in view.range(b"mk", b"ml")]
        events = [item for items in blocks.blocks_from(view, 1) for item in items]
        view.close()
        living = self.model.states[self.model.revision]
        deletions = [item for item in self.model.events[self.model.revision] if not item.version]
        assert kept == [1] * (len(living) + len(deletions))
        assert sorted(map(str, events)) == sorted(map(str, [*living.values(), *deletions]))
        self.machine.detach()


class LayeredOnDisk(Layered):
    """The same on a real disk."""

    def __init__(self) -> None:
        super().__init__()
        self.machine.detach()
        self.path = tempfile.mkdtemp()
        self.disk = LmdbStore(self.path)
        self.machine = self.make()

    def reopen(self) -> None:
        self.disk.close()
        self.disk = LmdbStore(self.path)

    @rule()
    def restore(self) -> None:
        """Covered in memory."""

    def teardown(self) -> None:
        super().teardown()
        self.disk.close()
        shutil.rmtree(self.path)


def enter(machine: KeyValue, index: int, time: int, bodies: Sequence[bytes]) -> Sequence[bytes | Rejected]:
    """One log entry, as a host applies it."""
    timer = machine.next_timer()
    if timer is not None and timer <= time:
        machine.pass_time(index, time)
    return machine.apply(Batch(index, time, range(len(bodies)), bodies)) if bodies else ()


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestSlowSweep = SlowSweep.TestCase
TestSlowSweep.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestLayered = Layered.TestCase
TestLayered.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLayeredOnDisk = LayeredOnDisk.TestCase
TestLayeredOnDisk.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few keys are already many."""
    monkeypatch.setattr(counts, "MAX_BLOCK_KEYS", 2)
    monkeypatch.setattr(layer, "RUN_KEYS", 2)
    monkeypatch.setattr(layer, "MAX_MERGED_RUN", 4)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 70)
    monkeypatch.setattr(records, "ROW_PLACES", 3)
    monkeypatch.setattr(layered_flush, "ROW_PLACES", 3)
    monkeypatch.setattr(layered, "CROWD", 2)
    monkeypatch.setattr(layered, "KEPT_ITEMS", 2)
    monkeypatch.setattr(layered_flush, "PIECE_REVISIONS", 4)
    monkeypatch.setattr(sweeping, "GROUP_REVISIONS", 2)
    monkeypatch.setattr(sweeping, "SWEEP_ITEMS", 3)
    monkeypatch.setattr(keyspace, "MAX_ENDED", 2)
    monkeypatch.setattr(snapshots, "RECORD_LEASES", 2)
