"""The key-value machine does what a naive model of every revision does, whatever is asked of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.machine.kv.model import Model, inside

from coterie.machine.durable import MachineFlush
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue, blocks, counts, layer, layered, records, store, sweeping
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    CompactReply,
    Compare,
    DeleteRange,
    Put,
    Range,
    Relation,
    Reply,
    Target,
    Txn,
    encoder,
    reply_decoder,
)
from coterie.machine.stores import LmdbStore, MemoryStore, OrderedStore

KEYS = st.sampled_from([b"a", b"b", b"c", b"a\0"] * 6 + [b"\0", b"ab", b"\xff", b"\xff\xff", b""])
ENDS = st.sampled_from([b"", b"", b"\0", b"a", b"b", b"b\0", b"c", b"\xff"])
VALUES = st.sampled_from([b"", b"1", b"2", b"22"])
NUMBERS = st.integers(-1, 12)
PUTS = st.builds(Put, KEYS, VALUES, st.booleans())
DELETIONS = st.builds(DeleteRange, KEYS, ENDS, st.booleans())
RANGES = st.builds(Range, KEYS, ENDS, st.one_of(st.just(0), NUMBERS), st.integers(-1, 4), st.booleans(), st.booleans())
COMPARES = st.builds(Compare, KEYS, st.sampled_from(Target), st.sampled_from(Relation), NUMBERS, VALUES)
BRANCHES = st.lists(st.one_of(PUTS, DELETIONS, RANGES), max_size=4).map(tuple)
TXNS = st.builds(Txn, st.lists(COMPARES, max_size=2).map(tuple), BRANCHES, BRANCHES)


class Comparison(RuleBasedStateMachine):
    """Each step goes to the machine and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = self.make()
        self.model = Model()
        self.index = 0
        self.log: list[list[bytes]] = []

    def make(self) -> KeyValue:
        """The machine on trial, empty."""
        return KeyValue()

    def run(self, *commands: Command) -> list[Reply | str]:
        """The commands as one batch; replies decoded, refusals as their reason."""
        self.index += 1
        bodies = [encoder.encode(command) for command in commands]
        self.log.append(bodies)
        replies = self.machine.apply(Batch(self.index, 0, range(len(bodies)), bodies))
        return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]

    @rule(commands=st.lists(st.one_of(PUTS, DELETIONS, TXNS), min_size=1, max_size=5))
    def commands(self, commands: list[Put | DeleteRange | Txn]) -> None:
        assert self.run(*commands) == [self.model.run(command) for command in commands]

    @initialize(commands=st.lists(st.one_of(PUTS, DELETIONS), min_size=8, max_size=8))
    def begin(self, commands: list[Put | DeleteRange | Txn]) -> None:
        """Some history to work on."""
        self.commands(commands)

    @rule(back=st.integers(-1, 12))
    def compact(self, back: int) -> None:
        revision = self.model.revision - back
        expected = self.model.compact(revision) or CompactReply(self.model.revision)
        assert self.run(Compact(revision)) == [expected]

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
        for number, body in enumerate((body for batch in self.log for body in batch), start=1):
            twin.apply(Batch(number, 0, [0], [body]))
        assert twin.digest() == self.machine.digest()

    @invariant()
    def every_revision_reads_as_it_was(self) -> None:
        first = max(self.model.compacted, 1)
        for revision in range(first, self.model.revision + 1):
            items = self.machine.store.range(b"\0", b"\0", revision)
            assert {item.key: item for item in items} == self.model.states[revision]
            assert list(self.machine.events(revision)) == self.model.events[revision]
        assert self.machine.revision() == self.model.revision

    def teardown(self) -> None:
        """What compaction left is freed in the end: one item for each living key is all."""
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
        self.machine.store = LazyStore()


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
        for number, bodies in enumerate(self.log[self.flushed :], start=self.flushed + 1):
            self.machine.apply(Batch(number, 0, range(len(bodies)), bodies))

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
    monkeypatch.setattr(layered, "ROW_PLACES", 3)
    monkeypatch.setattr(layered, "CROWD", 2)
    monkeypatch.setattr(layered, "PIECE_REVISIONS", 4)
    monkeypatch.setattr(sweeping, "GROUP_REVISIONS", 2)
    monkeypatch.setattr(sweeping, "SWEEP_ITEMS", 3)
