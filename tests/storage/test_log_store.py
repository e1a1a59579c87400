"""The log against its law: what was performed is there, nothing is invented, one write is all or nothing."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.storage.logs import (
    ALL_BYTES,
    DIRECTORY,
    FIRST,
    OVERWRITING_OWNER,
    OWNER,
    Model,
    batch_lists,
    content,
    entry,
    holding,
    put,
)

from coterie.core.records import Put, SaveHardState, StoreBatch, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState
from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.sim.frail import Death, FrailFiles
from coterie.storage.errors import LogDamaged, NoLog, StorageError
from coterie.storage.frame import MAX_PAYLOAD_BYTES
from coterie.storage.log_index import POINT_EVERY_BYTES
from coterie.storage.log_store import LogStore, Write
from coterie.storage.segment import new_segment_name, segment_name
from coterie.storage.zeros import ZERO_CHUNK_BYTES, Room

seeds = st.integers(0, 2**32)
SEGMENT_SIZES = (600, 5000, 1 << 20)


class Killed(BaseException):
    """The process ends here."""


class Mortal(DiskErrors):
    """A disk at one of whose next syncs the process is killed."""

    syncs_left: int | None = None

    def sync_fails(self, path: str) -> bool:
        if self.syncs_left is not None:
            if self.syncs_left == 0:
                self.syncs_left = None
                raise Killed
            self.syncs_left -= 1
        return super().sync_fails(path)


def new_disk(*, torn: bool = False) -> tuple[SimulatedFiles, Mortal]:
    errors = Mortal()
    files = SimulatedFiles(errors=errors, torn_sectors=torn)
    files.make_directory("data")
    files.sync_all()
    return files, errors


def new_log(files: SimulatedFiles, segment_bytes: int = 1 << 20) -> LogStore:
    return LogStore.create(files, DIRECTORY, OWNER, (FIRST,), segment_bytes=segment_bytes)


class LogMachine(RuleBasedStateMachine):
    """Writes, failures and crashes of every kind against a log as plain values."""

    overwrites = False
    owner = OWNER

    @initialize(
        torn=st.booleans(),
        joins=st.booleans(),
        past_cache=st.booleans(),
        segment_bytes=st.sampled_from(SEGMENT_SIZES),
        zero_bytes=st.sampled_from((300, ZERO_CHUNK_BYTES)),
    )
    def create(self, torn: bool, joins: bool, past_cache: bool, segment_bytes: int, zero_bytes: int) -> None:
        self.files, self.errors = new_disk(torn=torn)
        self.frail = FrailFiles(self.files)
        self.frail.past_cache = past_cache
        self.segment_bytes, self.zero_bytes = segment_bytes, zero_bytes
        self.model = Model([] if joins else [FIRST])
        self.in_doubt: list[Model] = []
        """What the log may hold instead, while a crash is not over."""
        entries = tuple(self.model.entries)
        LogStore.create(self.frail, DIRECTORY, self.owner, entries, segment_bytes=segment_bytes).close()
        self.room: Room | None = None
        self.open()

    def open(self) -> None:
        self.room = None
        self.store = LogStore.open(
            self.frail, DIRECTORY, self.owner, segment_bytes=self.segment_bytes, zero_bytes=self.zero_bytes
        )

    def prepare(self, data: st.DataObject) -> tuple[Write, Model]:
        batches = data.draw(batch_lists(self.model, self.overwrites))
        write = self.store.prepare(batches)
        if write.grows:
            self.end_room()  # that is the bargain: see `LogStore.more_room`
        return write, self.model.take(batches)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        write, self.model = self.prepare(data)
        write.perform()

    @rule()
    def begin_room(self) -> None:
        self.room = self.room or self.store.more_room()

    @rule()
    def end_room(self) -> None:
        """Writes may have come since it was begun."""
        if self.room is not None:
            self.room.perform()
            self.room.finish()
            self.room = None

    @rule(data=st.data(), seed=seeds, calls=st.integers(1, 2))
    def crash_making_room(self, data: st.DataObject, seed: int, calls: int) -> None:
        self.frail.arm(calls)
        try:
            self.end_room()
        except Death:
            pass
        self.frail.disarm()
        self.crash_and_open(data, seed, self.model)

    @rule()
    def trim(self) -> None:
        """What is needed stays; and once nothing more is to be removed, nothing more is kept."""
        self.store.trim()
        assert not self.store.trimmable
        assert holding(self.read_back()) == holding(self.model)
        assert 0 <= self.store.bytes <= sum(self.files.open(path).size() for path in self.files.paths())
        assert len(self.store._index) <= len(self.model.entries), "no more points than entries"

    def read_back(self) -> Model:
        entries = (
            self.store.entries(self.model.base.index + 1, self.model.last, ALL_BYTES) if self.model.entries else []
        )
        return Model(list(entries), self.model.hard_state, self.store.base)

    @rule(data=st.data(), seed=seeds, calls=st.integers(1, 12))
    def crash_before_a_call(self, data: st.DataObject, seed: int, calls: int) -> None:
        """At any boundary of the write, of the removal of segments after it, or of the recovery after that."""
        write, after = self.prepare(data)
        self.frail.arm(calls)
        try:
            write.perform()
            self.model = after
            self.store.trim()
        except Death:
            pass
        self.frail.disarm()
        self.crash_and_open(data, seed, after)

    @rule(data=st.data(), room=st.integers(0, 3000), tries=st.integers(1, 3))
    def write_without_space(self, data: st.DataObject, room: int, tries: int) -> None:
        write, self.model = self.prepare(data)
        self.fill(write, room, tries)
        self.errors.capacity = None
        write.perform()

    def fill(self, write: Write, room: int, tries: int) -> None:
        """Let the write find only so much room, so often."""
        used = sum(self.files.open(path).size() for path in self.files.paths())
        self.errors.capacity = used + room
        for _ in range(tries):
            try:
                write.perform()
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - it need not fail: the file may be long enough
            else:
                return

    @rule(data=st.data(), seed=seeds, room=st.integers(0, 3000))
    def crash_of_a_full_disk(self, data: st.DataObject, seed: int, room: int) -> None:
        write, after = self.prepare(data)
        self.fill(write, room, 1)
        self.errors.capacity = None
        self.crash_and_open(data, seed, after)

    @rule(data=st.data(), seed=seeds)
    def crash_at_rest(self, data: st.DataObject, seed: int) -> None:
        self.crash_and_open(data, seed, self.model)

    @rule(data=st.data(), seed=seeds)
    def crash_before_the_write(self, data: st.DataObject, seed: int) -> None:
        self.prepare(data)
        self.crash_and_open(data, seed, self.model)

    @rule(data=st.data(), seed=seeds, syncs=st.integers(0, 1))
    def crash_before_a_sync(self, data: st.DataObject, seed: int, syncs: int) -> None:
        write, after = self.prepare(data)
        self.errors.syncs_left = syncs
        try:
            write.perform()
        except Killed:
            pass
        else:
            self.model = after
        self.errors.syncs_left = None
        self.crash_and_open(data, seed, after)

    @rule(data=st.data(), seed=seeds, reads_old=st.booleans())
    def sync_fails(self, data: st.DataObject, seed: int, reads_old: bool) -> None:
        write, after = self.prepare(data)
        self.errors.failing_syncs, self.errors.reads_old = 1, reads_old
        for _ in range(2):
            with pytest.raises(OSError) as failure:  # noqa: PT011 - its number is what is looked at
                write.perform()
            assert failure.value.errno == errno.EIO
        self.crash_and_open(data, seed, after)

    def crash_and_open(self, data: st.DataObject, seed: int, after: Model) -> None:
        """End the process, perhaps more than once, the last time perhaps in the midst of recovery."""
        self.in_doubt = [after]
        ends = st.tuples(st.booleans(), st.sampled_from([None, None, 0, 1]), st.integers(0, 6))
        for again, (power, syncs, calls) in enumerate(data.draw(st.lists(ends, min_size=1, max_size=3))):
            self.files.crash(Random(seed + again), power=power)
            self.errors.syncs_left = syncs
            self.frail.arm(calls)
            try:
                self.open()
            except (Killed, Death):
                continue
            finally:
                self.errors.syncs_left = None
                self.frail.disarm()
            break
        else:
            self.open()
        found = content(self.store)
        assert holding(found) in (holding(self.model), holding(after))
        self.model, self.in_doubt = found, []
        # What was recovered has been promised: no crash takes it away.
        self.files.crash(Random(seed), power=True)
        self.open()
        assert holding(content(self.store)) == holding(found)
        assert self.store.notices == ()

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        begin, end = self.model.base.index + 1, self.model.last
        if begin > end:
            return
        first = data.draw(st.integers(begin, end))
        last = data.draw(st.integers(first, end + 2))
        limit = data.draw(st.sampled_from([0, 1, 700, 3000, ALL_BYTES]))
        expected = self.model.entries[first - begin : last - begin + 1]
        sizes = [sum(len(each.payload) for each in expected[: count + 1]) for count in range(len(expected))]
        count = max(1, sum(size <= limit for size in sizes))
        assert self.store.entries(first, last, limit) == expected[:count]

    @rule(beyond=st.integers(1, 3))
    def read_what_is_not_there(self, beyond: int) -> None:
        for first in (self.model.base.index, self.model.last + beyond):
            with pytest.raises(LookupError):
                self.store.entries(first, first + 5, ALL_BYTES)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.files.crash(Random(0), power=True)
            self.errors.capacity = None
            self.open()
            assert holding(content(self.store)) in [holding(each) for each in (self.model, *self.in_doubt)]


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestLogMachine = LogMachine.TestCase


class OverwritingLogMachine(LogMachine):
    """The same of a log whose slots are overwritten, and which begins after snapshots of what it does not hold."""

    overwrites = True
    owner = OVERWRITING_OWNER


OverwritingLogMachine.TestCase.settings = LogMachine.TestCase.settings
TestOverwritingLogMachine = OverwritingLogMachine.TestCase


# Making a log


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    st.integers(0, 5),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(FIRST, entry(2, bytes(3000))), ()]),
)
def test_a_log_is_made_after_a_crash_at_any_point_of_making_it(
    seed: int, syncs: int, again: int, power: bool, torn: bool, entries: tuple[Entry, ...]
) -> None:
    files, errors = new_disk(torn=torn)
    for number, left in enumerate((syncs, again)):
        errors.syncs_left = left
        try:
            LogStore.create(files, DIRECTORY, OWNER, entries)
        except Killed:
            pass
        errors.syncs_left = None
        files.crash(Random(seed + number), power=power)
    LogStore.create(files, DIRECTORY, OWNER, entries)
    files.crash(Random(seed), power=True)
    found = content(LogStore.open(files, DIRECTORY, OWNER))
    assert holding(found) == holding(Model(list(entries)))


def test_a_log_is_not_made_in_the_place_of_another() -> None:
    files, _ = new_disk()
    store = new_log(files)
    again = LogStore.create(files, DIRECTORY, OWNER, (FIRST,))
    assert again.recovered == store.recovered
    store.close()
    with pytest.raises(StorageError, match="already"):
        LogStore.create(files, DIRECTORY, OWNER, (entry(1, b"another"),))
    again.prepare([StoreBatch(1, (SaveHardState(HardState(Epoch(1, 0), 2)),))]).perform()
    with pytest.raises(StorageError, match="already"):
        LogStore.create(files, DIRECTORY, OWNER, (FIRST,))


def test_a_log_that_only_keeps_a_vote_is_not_replaced() -> None:
    files, _ = new_disk()
    store = new_log(files)
    state = HardState(Epoch(7, 0), 9)
    store.prepare([StoreBatch(1, (Truncate(1), SaveHardState(state)))]).perform()
    with pytest.raises(StorageError, match="already"):
        LogStore.create(files, DIRECTORY, OWNER, (FIRST,))
    assert LogStore.open(files, DIRECTORY, OWNER).recovered.hard_state == state


def test_where_no_log_is_it_says_so_and_what_to_do() -> None:
    files, _ = new_disk()
    files.make_directory(DIRECTORY)
    with pytest.raises(NoLog, match=f"no log in {DIRECTORY}: it holds no segment") as error:
        LogStore.open(files, DIRECTORY, OWNER)
    assert "start it as a new one" in error.value.advice
    files.open(f"{DIRECTORY}/{new_segment_name(1)}", create=True)
    with pytest.raises(NoLog, match="only the beginnings"):
        LogStore.open(files, DIRECTORY, OWNER)
    with pytest.raises(NoLog, match="no such directory"):
        LogStore.open(files, "data/elsewhere", OWNER)
    new_log(files)
    assert files.list(DIRECTORY) == [segment_name(1)]


# Preparing


def test_the_next_write_is_not_prepared_before_the_last_is_performed() -> None:
    files, errors = new_disk()
    store = new_log(files)
    write = store.prepare([put(entry(2))])
    with pytest.raises(RuntimeError, match="not performed yet"):
        store.prepare([put(entry(3))])
    with pytest.raises(LookupError):
        store.entries(2, 2, ALL_BYTES)
    write.perform()
    assert store.entries(2, 2, ALL_BYTES) == [entry(2)]
    store.prepare([put(entry(3))]).perform()
    assert errors.failing_syncs == 0


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "a write of 0 bytes"),
        ([StoreBatch(1, ())], "a write of 0 bytes"),
        ([put(entry(3))], "entry 3 put into a log that ends with entry 1"),
        ([put(entry(2), entry(2))], "entry 2 put together with entry 2, and just after it"),
        ([StoreBatch(1, (Put(()), Put((entry(2),))))], "nothing is put"),
        ([StoreBatch(1, (Truncate(1), Put((entry(2),))))], "entry 2 put into a log that ends with entry 0"),
        ([put(entry(2, bytes(MAX_PAYLOAD_BYTES)))], "bytes: it must have 1 to"),
    ],
)
def test_what_cannot_be_written_is_refused_and_changes_nothing(batches: Sequence[StoreBatch], message: str) -> None:
    files, _ = new_disk()
    store = new_log(files, 600)
    with pytest.raises(ValueError, match=message):
        store.prepare(batches)
    store.prepare([put(entry(2))]).perform()
    store.close()
    assert content(LogStore.open(files, DIRECTORY, OWNER)).entries == [FIRST, entry(2)]


def test_a_sync_that_finds_no_space_is_not_tried_again() -> None:
    """A write may be; but a sync that failed has dropped what it should have written."""

    class Late(DiskErrors):
        late = False

        def sync_fails(self, path: str) -> bool:
            if self.late:
                raise OSError(errno.ENOSPC, "no space", path)
            return super().sync_fails(path)

    errors = Late()
    files = SimulatedFiles(errors=errors)
    files.make_directory("data")
    store = new_log(files)
    write = store.prepare([put(entry(2))])
    errors.late = True
    for _ in range(2):
        with pytest.raises(OSError, match=r"sync failed|failed before") as failure:
            write.perform()
        assert failure.value.errno == errno.EIO
        errors.late = False


# Reading


def test_the_index_in_memory_grows_with_bytes_and_not_with_entries() -> None:
    files, _ = new_disk()
    store = new_log(files, 256 * 1024)
    count, size = 12_000, 60
    last = 1
    for _ in range(12):
        batch = tuple(entry(last + 1 + at, bytes([at % 251]) * size) for at in range(count // 12))
        store.prepare([put(*batch)]).perform()
        last = batch[-1].index
    for _ in range(2):
        assert count * size / POINT_EVERY_BYTES < len(store._index) < 3 * count * size / POINT_EVERY_BYTES
        assert [each.index for each in store.entries(5_000, 5_100, ALL_BYTES)] == [*range(5_000, 5_101)]
        store = LogStore.open(files, DIRECTORY, OWNER)
    assert len(files.list(DIRECTORY)) > 4


def test_entries_without_a_payload_have_points_too() -> None:
    files, _ = new_disk()
    store = new_log(files)
    store.prepare([put(*(entry(at, b"", kind=EntryKind.NOOP) for at in range(2, 10_000)))]).perform()
    assert len(store._index) > 3
    assert [each.index for each in store.entries(9_990, 20_000, ALL_BYTES)] == [*range(9_990, 10_000)]


def test_a_reader_that_goes_on_little_by_little_passes_nothing_twice() -> None:
    class Counting(DiskErrors):
        reads = 0

        def read_fails(self, path: str, offset: int, length: int) -> bool:
            self.reads += 1
            return super().read_fails(path, offset, length)

    errors = Counting()
    files = SimulatedFiles(errors=errors)
    files.make_directory("data")
    store = new_log(files)
    for index in range(2, 302):
        store.prepare([put(entry(index), mark=index)]).perform()
    errors.reads = 0
    for index in range(2, 302):
        assert [each.index for each in store.entries(index, 301, 1)] == [index]
    assert errors.reads <= 3 * 300  # its frame, the next one's, which no longer fits, and little more


def test_truncated_entries_are_never_read_again() -> None:
    files, _ = new_disk()
    for segment_bytes in SEGMENT_SIZES:
        directory = f"data/{segment_bytes}"
        store = LogStore.create(files, directory, OWNER, (FIRST,), segment_bytes=segment_bytes)
        store.prepare([put(*(entry(at, b"old" * 50) for at in range(2, 30)))]).perform()
        store.prepare([StoreBatch(2, (Truncate(20),))]).perform()
        for _ in range(2):
            assert [each.index for each in store.entries(15, 99, ALL_BYTES)] == [*range(15, 20)]
            with pytest.raises(LookupError):
                store.entries(20, 99, ALL_BYTES)
            store = LogStore.open(files, directory, OWNER, segment_bytes=segment_bytes)
        store.prepare([StoreBatch(3, (Put((entry(20, b"new", term=2),)),))]).perform()
        store.prepare([StoreBatch(4, (Truncate(18), Put((entry(18, b"newer", term=3),))))]).perform()
        for _ in range(2):
            assert [each.payload[:5] for each in store.entries(17, 99, ALL_BYTES)] == [b"oldol", b"newer"]
            store = LogStore.open(files, directory, OWNER, segment_bytes=segment_bytes)


def test_a_flipped_bit_is_seen_by_whoever_reads_the_entry() -> None:
    files, _ = new_disk()
    store = new_log(files)
    offsets = []
    for at in range(2, 6):
        write = store.prepare([put(entry(at, b"v" * 700))])
        offsets.append(store._offset)
        write.perform()
    files.flip_bit(f"{DIRECTORY}/{segment_name(1)}", (offsets[1] + 300) * 8)
    assert [each.index for each in store.entries(2, 3, ALL_BYTES)] == [2, 3]
    with pytest.raises(LogDamaged) as damage:
        store.entries(2, 5, ALL_BYTES)
    assert (damage.value.segment, damage.value.offset) == (segment_name(1), offsets[1])
    assert all(after > before for before, after in pairwise(offsets))
