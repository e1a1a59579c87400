"""The log against a list: whatever is truncated, stored late or evicted, it is the list, and what it calls
durable is on the disk and stays there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.logs import BASE, BASE_EPOCH, MAX_CACHED_BYTES, PLENTY, Disk, empty_log, entry, meta

from coterie.core.errors import SafetyViolation
from coterie.core.log import WEIGHT_STEP_BYTES, Log
from coterie.core.outbox import Outbox
from coterie.core.records import StoreBatch
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index


class LogMachine(RuleBasedStateMachine):
    """Random appends, overwritings, truncations, compactions, resets, batches and late `stored` marks."""

    def __init__(self) -> None:
        super().__init__()
        self.disk, self.outbox = Disk(), Outbox()
        self.log = empty_log(self.disk, self.outbox)
        self.base, self.base_epoch = BASE, BASE_EPOCH
        self.model: list[Entry] = []
        self.epoch = BASE_EPOCH
        self.waiting: list[StoreBatch] = []
        self.forgotten: list[Entry] = []
        self.now = 0

    @rule(count=st.integers(1, 4), size=st.integers(0, 6), rise=st.integers(0, 2))
    def append(self, count: int, size: int, rise: int) -> None:
        self.epoch = Epoch(self.epoch.round + rise, 0)
        last = self.base + len(self.model)
        new = [entry(last + 1 + i, self.epoch, size) for i in range(count)]
        self.log.append(new)
        self.model.extend(new)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(self.base + 1, self.base + len(self.model)))
        self.log.truncate(first)
        self.forgotten = self.model[first - self.base - 1 :]
        del self.model[first - self.base - 1 :]

    @rule(data=st.data(), count=st.integers(1, 6), size=st.integers(0, 6), rise=st.integers(0, 2))
    def put(self, data: st.DataObject, count: int, size: int, rise: int) -> None:
        """Anywhere: in the place of others, beyond the end, or both."""
        first = data.draw(st.integers(self.base + 1, self.base + len(self.model) + 1))
        place = first - self.base - 1
        replaced = self.model[place : place + count]
        epoch = Epoch(max([1, *(e.epoch.round + 1 for e in replaced)]) + rise, 0)
        new = [entry(first + i, epoch, size) for i in range(count)]
        self.log.put(new)
        self.model[place : place + count] = new
        self.epoch = max(self.epoch, epoch)
        self.forgotten = []

    @precondition(lambda self: self.forgotten and self.forgotten[0].index == self.base + len(self.model) + 1)
    @rule()
    def a_leader_brings_truncated_entries_back(self) -> None:
        """As in figure 8: a leader of epoch 2 writes, one of epoch 3 cuts it off, epoch 4 is the first's."""
        if self.model and self.model[-1].epoch > self.forgotten[0].epoch:
            return
        self.log.append(self.forgotten)
        self.model.extend(self.forgotten)
        self.forgotten = []

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.base + 1, self.base + len(self.model)))
        gone = self.model[: index - self.base]
        self.log.compact(meta(index, gone[-1].epoch))
        self.model = self.model[index - self.base :]
        self.base, self.base_epoch = index, gone[-1].epoch
        self.forgotten = []

    @precondition(lambda self: len(self.model) > 1)
    @rule(data=st.data(), round_=st.integers(1, 9))
    def rebase(self, data: st.DataObject, round_: int) -> None:
        """Whatever epoch the log holds there."""
        index = data.draw(st.integers(self.base + 1, self.base + len(self.model) - 1))
        self.log.rebase(meta(index, Epoch(round_, 0)))
        assert self.log.durable_index <= self.base, "the disk still holds what was accepted, not what was chosen"
        self.model = self.model[index - self.base :]
        self.base, self.base_epoch = index, Epoch(round_, 0)
        self.forgotten = []

    @rule(further=st.integers(0, 6))
    def reset(self, further: int) -> None:
        self.epoch = Epoch(self.epoch.round + 1, 0)
        self.base, self.base_epoch = self.base + len(self.model) + further, self.epoch
        self.log.reset(meta(self.base, self.base_epoch))
        self.model, self.forgotten = [], []

    @rule()
    def close_batch(self) -> None:
        self.now += 1
        batch = self.outbox.close_batch(self.now)
        if batch is not None:
            self.log.batch_closed(batch.mark)
            self.waiting.append(batch)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def stored(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.waiting)))
        done, self.waiting = self.waiting[:count], self.waiting[count:]
        for batch in done:
            self.disk.perform(batch)
        self.outbox.stored(done[-1].mark)
        self.log.stored(done[-1].mark)
        cached = sum(len(e.payload) for e in self.log._cache)
        if self.log.durable_index == self.log.last_index:
            assert cached <= MAX_CACHED_BYTES

    @invariant()
    def it_is_the_list(self) -> None:
        log, model = self.log, self.model
        assert log.base_index == self.base
        assert log.last_index == self.base + len(model)
        assert log.last_epoch == (model[-1].epoch if model else self.base_epoch)
        assert log.epoch_at(self.base - 1) is None
        assert log.epoch_at(self.base) == self.base_epoch
        assert [log.epoch_at(e.index) for e in model] == [e.epoch for e in model]
        assert log.epoch_at(log.last_index + 1) is None
        runs = log.epochs_since(self.base + 1)
        assert [max(run for run in runs if run[0] <= e.index)[1] for e in model] == [e.epoch for e in model]
        got: list[Entry] = []
        while len(got) < len(model):
            part = log.entries(self.base + 1 + len(got), PLENTY, 7)
            assert part
            assert len(part) == 1 or sum(len(e.payload) for e in part) <= 7
            got.extend(part)
        assert got == model

    @invariant()
    def memory_holds_one_stretch_and_knows_its_weight(self) -> None:
        log = self.log
        assert log._cache == [e for e in self.model if log.remembers(e.index)]
        assert not log._cache or log._cache[0].index == log._cache_first
        assert log._cached_bytes == sum(len(e.payload) for e in log._cache)

    @invariant()
    def once_the_disk_is_idle_all_of_it_is_durable(self) -> None:
        if self.outbox.pending_mark <= self.outbox.stored_mark:
            assert self.log.durable_index == self.log.last_index

    @invariant()
    def what_it_calls_durable_is_on_the_disk_and_stays_there(self) -> None:
        durable = self.model[: max(0, self.log.durable_index - self.base)]
        assert self.log.durable_index <= self.base + len(durable)
        disk = Disk()
        disk.base, disk.entries_on_disk = self.disk.base, list(self.disk.entries_on_disk)
        records = [record for batch in self.waiting for record in batch.records]
        for step in range(len(records) + 1):
            if step:
                disk.perform(StoreBatch(0, (records[step - 1],)))
            on_disk = {e.index: e for e in disk.entries_on_disk}
            assert disk.base + len(on_disk) >= self.log.durable_index
            for e in durable:
                assert e.index <= disk.base or on_disk[e.index] == e


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)


@given(
    st.lists(st.integers(1, 6), max_size=12),
    st.integers(BASE, BASE + 14),
    st.integers(1, 7),
)
def test_the_hint_is_the_highest_position_not_above_index_and_epoch(rounds: list[int], index: int, asked: int) -> None:
    log = empty_log(Disk(), Outbox())
    epochs = [Epoch(BASE_EPOCH.round + r, 0) for r in sorted(rounds)]
    log.append([entry(BASE + 1 + i, epoch) for i, epoch in enumerate(epochs)])
    limit = Epoch(asked, 0)
    expected = next(
        (
            (at, epochs[at - BASE - 1])
            for at in range(min(index, log.last_index), BASE, -1)
            if epochs[at - BASE - 1] <= limit
        ),
        (BASE, BASE_EPOCH),
    )
    assert log.last_at_most(index, limit) == expected


def test_a_hint_below_the_base_names_no_epoch() -> None:
    assert empty_log(Disk(), Outbox()).last_at_most(BASE - 1, Epoch(9, 0)) == (BASE, NO_EPOCH)


def test_a_gap_is_refused() -> None:
    log = empty_log(Disk(), Outbox())
    with pytest.raises(SafetyViolation, match=f"entry {BASE + 2} appended to a log that ends at {BASE}"):
        log.append([entry(BASE + 2, BASE_EPOCH)])
    log.append([])
    assert log.last_index == BASE


def test_what_is_compacted_is_never_truncated() -> None:
    with pytest.raises(SafetyViolation, match=f"compacted up to {BASE}"):
        empty_log(Disk(), Outbox()).truncate(BASE)


def test_a_batch_that_was_cut_off_counts_for_nothing_though_its_entry_came_back() -> None:
    """Counting it would acknowledge what the next batch on its way to the disk removes."""
    disk, outbox = Disk(), Outbox()
    log = empty_log(disk, outbox)
    first, other = entry(BASE + 1, Epoch(3, 0)), entry(BASE + 1, Epoch(4, 0))
    batches = []
    for old, new in ((None, first), (first, other), (other, first)):
        if old is not None:
            log.truncate(old.index)
        log.append([new])
        batch = outbox.close_batch(0)
        assert batch is not None
        log.batch_closed(batch.mark)
        batches.append(batch)
    log.stored(batches[0].mark)
    assert log.durable_index == BASE
    log.stored(batches[1].mark)
    assert log.durable_index == BASE
    log.stored(batches[2].mark)
    assert log.durable_index == BASE + 1


class CountingDisk(Disk):
    """Counts what is read back from it."""

    reads = 0

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        found = super().entries(first, last, limit_bytes)
        self.reads += len(found)
        return found


def write_at_once(log: Log, disk: Disk, outbox: Outbox, entries: Sequence[Entry]) -> None:
    log.put(entries)
    batch = outbox.close_batch(0)
    assert batch is not None
    log.batch_closed(batch.mark)
    disk.perform(batch)
    log.stored(batch.mark)


def test_a_long_log_that_is_given_again_bit_by_bit_is_not_read_for_it() -> None:
    """What lies ahead stays on the disk. Brought to memory for each message, it would be read once for each."""
    disk, outbox, count = CountingDisk(), Outbox(), 200
    log = empty_log(disk, outbox)
    write_at_once(log, disk, outbox, [entry(BASE + 1 + i, BASE_EPOCH, 3) for i in range(count)])
    assert not log.remembers(BASE + 1)
    for i in range(count):
        write_at_once(log, disk, outbox, [entry(BASE + 1 + i, Epoch(9, 0), 3)])
        assert log.remembers(BASE + 1 + i)
        assert len(log._cache) <= MAX_CACHED_BYTES // 3
    assert disk.reads == 0
    assert [each.epoch.round for each in disk.entries_on_disk] == [9] * count


def test_nothing_is_read_past_the_end() -> None:
    assert empty_log(Disk(), Outbox()).entries(BASE + 1, BASE + 5, PLENTY) == ()


def test_what_is_compacted_is_never_read() -> None:
    """From the first entry that is left instead, a follower would get a gap (catalogue L15)."""
    log = empty_log(Disk(), Outbox())
    log.append([entry(BASE + 1, BASE_EPOCH), entry(BASE + 2, BASE_EPOCH)])
    log.compact(meta(BASE + 1, BASE_EPOCH))
    with pytest.raises(SafetyViolation, match=f"entry {BASE + 1} is asked for"):
        log.entries(BASE + 1, BASE + 2, PLENTY)
    assert log.entries(BASE + 2, BASE + 2, PLENTY) == (entry(BASE + 2, BASE_EPOCH),)


def test_a_compacted_entry_has_no_epoch_but_the_base() -> None:
    """An epoch of 0 for it would match what somebody else lacks, too (catalogue L14)."""
    log = empty_log(Disk(), Outbox())
    log.append([entry(BASE + 1 + i, BASE_EPOCH) for i in range(4)])
    log.compact(meta(BASE + 3, BASE_EPOCH))
    assert [log.epoch_at(BASE + i) for i in range(6)] == [None, None, None, BASE_EPOCH, BASE_EPOCH, None]


@pytest.mark.parametrize(("index", "epoch"), [(BASE, BASE_EPOCH), (BASE + 3, BASE_EPOCH), (BASE + 1, Epoch(9, 0))])
def test_it_is_compacted_only_to_an_entry_that_it_holds(index: Index, epoch: Epoch) -> None:
    log = empty_log(Disk(), Outbox())
    log.append([entry(BASE + 1, BASE_EPOCH), entry(BASE + 2, BASE_EPOCH)])
    with pytest.raises(SafetyViolation, match=f"compaction up to entry {index}"):
        log.compact(meta(index, epoch))


def test_it_is_never_reset_to_what_lies_before_it() -> None:
    with pytest.raises(SafetyViolation, match=f"begins after {BASE}"):
        empty_log(Disk(), Outbox()).reset(meta(BASE - 1, BASE_EPOCH))


def test_a_reset_counts_for_nothing_before_it_is_durable() -> None:
    """The disk still holds the old entries, which may be a deposed leader's."""
    outbox = Outbox()
    log = empty_log(Disk(), outbox)
    log.append([entry(BASE + 1, BASE_EPOCH)])
    for _ in range(2):
        outbox.close_batch(0)
        log.batch_closed(outbox.last_mark)
        log.stored(outbox.last_mark)
        if log.last_index == BASE + 1:
            assert log.durable_index == BASE + 1
            log.reset(meta(BASE + 7, Epoch(5, 0)))
            assert log.durable_index == BASE
    assert log.durable_index == BASE + 7


@given(st.lists(st.integers(0, 3 * WEIGHT_STEP_BYTES // 2), min_size=1, max_size=20), st.integers(0, 10), st.data())
def test_the_weight_of_the_last_entries_is_never_told_too_low(
    sizes: list[int], steps: int, data: st.DataObject
) -> None:
    log = empty_log(Disk(), Outbox())
    for place, size in enumerate(sizes):
        log.append([entry(BASE + 1 + place, BASE_EPOCH, size)])
    last = data.draw(st.integers(BASE + 1, BASE + len(sizes)))
    limit = steps * WEIGHT_STEP_BYTES // 2
    first = log.first_within(last, limit)
    assert BASE < first <= last + 1
    assert sum(sizes[first - BASE - 1 : last - BASE]) <= limit
    if first > BASE + 1:
        # Not much less than what would fit: one step at each end, and an entry that straddles it.
        before = sizes[max(0, first - BASE - 2) : last - BASE]
        assert sum(before) + 2 * WEIGHT_STEP_BYTES + 2 * max(sizes) > limit


STEPS = st.sampled_from([0, WEIGHT_STEP_BYTES // 2, WEIGHT_STEP_BYTES, 3 * WEIGHT_STEP_BYTES])


@given(
    st.lists(STEPS, min_size=1, max_size=10),
    st.lists(st.tuples(st.integers(0, 10), st.lists(STEPS, min_size=1, max_size=4)), min_size=1, max_size=4),
)
def test_neither_is_that_of_overwritten_entries(sizes: list[int], puts: list[tuple[int, list[int]]]) -> None:
    log = empty_log(Disk(), Outbox())
    for place, size in enumerate(sizes):
        log.append([entry(BASE + 1 + place, BASE_EPOCH, size)])
    for round_, (first, new) in enumerate(puts, BASE_EPOCH.round + 1):
        first = min(first, len(sizes))
        sizes[first : first + len(new)] = new
        log.put([entry(BASE + 1 + first + place, Epoch(round_, 0), size) for place, size in enumerate(new)])
    for last in range(BASE + 1, BASE + len(sizes) + 1):
        for limit in range(0, 6 * WEIGHT_STEP_BYTES, WEIGHT_STEP_BYTES // 2):
            first = log.first_within(last, limit)
            assert BASE < first <= last + 1
            assert sum(sizes[first - BASE - 1 : last - BASE]) <= limit
