"""The log as a replica sees it, over the log on disk: whatever is on its way, both are one log."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.storage.logs import ALL_BYTES, DIRECTORY, FIRST, OVERWRITING_OWNER, Model, base, content, entry, holding

from coterie.core.log import Log
from coterie.core.outbox import Outbox
from coterie.core.records import StoreBatch
from coterie.core.types import Entry
from coterie.sim.disk import SimulatedFiles
from coterie.storage.log_store import LogStore, Write

SEGMENT_BYTES = 2000
MAX_CACHED_BYTES = 300


class ReplicaLogMachine(RuleBasedStateMachine):
    """Slots are put and overwritten, the log is rebased and reset, while earlier batches are not written yet, or are
    being written, or are written and not reported."""

    def __init__(self) -> None:
        super().__init__()
        self.files = SimulatedFiles()
        self.files.make_directory("data")
        self.files.sync_all()
        self.store = LogStore.create(self.files, DIRECTORY, OVERWRITING_OWNER, (FIRST,), segment_bytes=SEGMENT_BYTES)
        self.model = Model([FIRST])
        self.start()

    def start(self) -> None:
        self.outbox = Outbox()
        self.log = Log(self.store.recovered, self.store, self.outbox, MAX_CACHED_BYTES)
        self.waiting: list[StoreBatch] = []
        self.write: Write | None = None
        self.on_disk = [self.model.copy()]
        """What the disk holds, and after each further batch."""
        self.performed = 0

    @rule(data=st.data(), count=st.integers(1, 5), size=st.sampled_from([0, 40, 200]), rise=st.integers(1, 2))
    def put(self, data: st.DataObject, count: int, size: int, rise: int) -> None:
        begin = self.model.base.index + 1
        first = data.draw(st.integers(begin, self.model.last + 1))
        replaced = self.model.entries[first - begin :][:count]
        term = max([0, *(each.epoch.round for each in replaced)]) + rise
        new = [entry(first + at, b"%d" % term * size, term=term) for at in range(count)]
        self.log.put(new)
        self.model.entries[first - begin : first - begin + count] = new

    @precondition(lambda self: len(self.model.entries) > 1)
    @rule(data=st.data(), term=st.integers(1, 4))
    def rebase(self, data: st.DataObject, term: int) -> None:
        snapshot = base(data.draw(st.integers(self.model.base.index + 1, self.model.last - 1)), term=term)
        self.log.rebase(snapshot)
        del self.model.entries[: snapshot.index - self.model.base.index]
        self.model.base = snapshot

    @rule(further=st.integers(0, 3), term=st.integers(1, 4))
    def reset(self, further: int, term: int) -> None:
        self.model = Model([], self.model.hard_state, base(self.model.last + further, term=term))
        self.log.reset(self.model.base)

    @rule()
    def close_batch(self) -> None:
        batch = self.outbox.close_batch(0)
        if batch is not None:
            self.log.batch_closed(batch.mark)
            self.waiting.append(batch)
            self.on_disk.append(self.model.copy())

    @precondition(lambda self: self.waiting and self.write is None)
    @rule(data=st.data())
    def prepare(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.waiting)))
        self.write = self.store.prepare(self.waiting[:count])
        del self.waiting[:count]

    @precondition(lambda self: self.write is not None)
    @rule(reported=st.booleans())
    def perform(self, reported: bool) -> None:
        assert self.write is not None
        self.write.perform()
        self.performed, self.write = self.write.mark, None
        if reported:
            self.report()

    @rule()
    def report(self) -> None:
        self.outbox.stored(self.performed)
        self.log.stored(self.performed)
        self.store.trim()

    @rule(seed=st.integers(0, 2**32), power=st.booleans())
    def crash(self, seed: int, power: bool) -> None:
        """What was written is there, and the log goes on from it."""
        self.files.crash(Random(seed), power=power)
        self.store = LogStore.open(self.files, DIRECTORY, OVERWRITING_OWNER, segment_bytes=SEGMENT_BYTES)
        self.model = content(self.store)
        assert holding(self.model) == holding(self.on_disk[self.performed])
        self.start()

    @invariant()
    def the_replica_reads_what_it_put(self) -> None:
        log, model = self.log, self.model
        assert (log.base_index, log.last_index) == (model.base.index, model.last)
        assert [log.epoch_at(each.index) for each in model.entries] == [each.epoch for each in model.entries]
        for limit in (0, 500, ALL_BYTES):
            found: list[Entry] = []
            while len(found) < len(model.entries):
                found += log.entries(log.base_index + 1 + len(found), log.last_index, limit)
            assert found == model.entries

    @invariant()
    def what_counts_as_durable_is_on_the_disk(self) -> None:
        on_disk = {each.index: each for each in self.on_disk[self.performed].entries}
        for each in self.model.entries:
            assert each.index > self.log.durable_index or on_disk[each.index] == each


ReplicaLogMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestReplicaLog = ReplicaLogMachine.TestCase
