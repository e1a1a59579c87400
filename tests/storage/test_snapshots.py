"""Snapshots: what has a name is whole and durable; what is not whole is never used, and said to be so."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.storage.logs import base

from coterie.core.replica import SnapshotChunk
from coterie.core.types import Epoch, Member, Membership, SnapshotMeta
from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.sim.frail import Death, FrailFiles
from coterie.storage.errors import SnapshotDamaged, StorageError, WrongSnapshot
from coterie.storage.record_codec import MAX_META_BYTES
from coterie.storage.snapshot_files import MAX_SNAPSHOT_BYTES, SYNC_EVERY_BYTES
from coterie.storage.snapshot_format import (
    BLOCK_BYTES,
    MAX_BLOCK_BYTES,
    SnapshotCheck,
    SnapshotEncoder,
    SnapshotHeader,
    SnapshotName,
    parse_name,
    snapshot_name,
)
from coterie.storage.snapshots import Snapshot, SnapshotDirectory

CLUSTER = 0xC1
PATH = "data/snapshots"
seeds = st.integers(0, 2**32)
ENOUGH = 1 << 30


def new_disk(*, torn: bool = False) -> SimulatedFiles:
    files = SimulatedFiles(torn_sectors=torn)
    files.make_directory("data")
    files.sync_all()
    return files


def opened(files: SimulatedFiles | FrailFiles, *, cluster: int = CLUSTER) -> SnapshotDirectory:
    return SnapshotDirectory(files, PATH, cluster)


def take(directory: SnapshotDirectory, meta: SnapshotMeta, *chunks: bytes) -> Snapshot:
    writer = directory.create(meta)
    for chunk in chunks:
        writer.write(chunk)
    return writer.finish()


def state(directory: SnapshotDirectory, snapshot: Snapshot) -> bytes:
    return b"".join(directory.chunks(snapshot.meta))


def file_bytes(directory: SnapshotDirectory, snapshot: Snapshot, limit: int = 100_000) -> bytes:
    data = b""
    while part := directory.chunk(snapshot.meta.index, len(data), limit):
        data += part
    assert len(data) == snapshot.size
    return data


def encoded(meta: SnapshotMeta, *chunks: bytes, cluster: int = CLUSTER) -> bytes:
    encoder = SnapshotEncoder(SnapshotHeader(cluster, meta))
    parts = [encoder.begin()]
    for chunk in chunks:
        parts += encoder.add(chunk)
    return b"".join([*parts, *encoder.end()])


def place(files: SimulatedFiles, name: str, data: bytes) -> None:
    files.make_directory(PATH)
    files.open(f"{PATH}/{name}", create=True).write_at(0, data)
    files.sync_all()


def indexes(directory: SnapshotDirectory) -> list[int]:
    return [name.at for name in directory.names()]


# Written and read back


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from([1, 1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]).map(bytes),
        ),
        max_size=5,
    ),
    st.sampled_from([20_000, 65_536, 300_000]),
    st.integers(0, 3),
)
def test_a_state_is_read_back_and_sent_byte_for_byte(chunks: list[bytes], limit: int, voters: int) -> None:
    sender, receiver = opened(new_disk()), opened(new_disk())
    meta = base(2**40, term=7, voters=voters)
    snapshot = take(sender, meta, *chunks)
    assert sender.newest() == sender.newest(thorough=False) == snapshot
    assert (snapshot.meta, state(sender, snapshot)) == (meta, b"".join(chunks))
    incoming = receiver.begin_receiving(meta, snapshot.size)
    while not incoming.complete:
        incoming.append(incoming.received, sender.chunk(meta.index, incoming.received, limit))
    assert sender.chunk(meta.index, snapshot.size, limit) == b""
    received = incoming.finish()
    assert received == receiver.newest(2**40)
    assert state(receiver, received) == b"".join(chunks)
    assert file_bytes(receiver, received) == file_bytes(sender, snapshot)


def test_the_bytes_of_the_format_never_change() -> None:
    """A member of another version must be able to read what it is sent. (What it says of the log may grow at its end:
    a membership did, by a byte for each outgoing quorum size; settings did, by the quota.)"""
    data = encoded(base(5, voters=1), b"state")
    assert data[:24] == b"coterie snapshot\x01\x00\x00\x000\x01\x00\x00"
    assert SnapshotCheck(snapshot_name(base(5)), CLUSTER).feed(data) == [b"state"]
    assert str(snapshot_name(base(5, term=3))) == "0000000000000005-0000000000000003-0000000000000000.snap"


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_a_name_says_the_entry_and_sorts_by_it(index: int, round_: int, node: int) -> None:
    name = SnapshotName(index, Epoch(round_, node))
    assert parse_name(str(name)) == name
    assert parse_name(f"{name}.new") is None
    assert parse_name(f"{name}.part") is None


# Whole, or refused


@cache
def small() -> bytes:
    return encoded(base(5, voters=3), b"the state of the machine", bytes(200))


@cache
def large() -> bytes:
    return encoded(base(5, voters=3), *(bytes([at]) * 100_000 for at in range(7)))


def refusal(data: bytes) -> StorageError:
    """How a file of these bytes is refused: by whoever looks for one, reads it, sends it, and receives it."""
    files = new_disk()
    place(files, str(snapshot_name(base(5))), data)
    directory = opened(files)
    snapshot = Snapshot(base(5, voters=3), len(data), f"{PATH}/{snapshot_name(base(5))}")
    with pytest.raises((SnapshotDamaged, WrongSnapshot)) as reading:
        state(directory, snapshot)
    with pytest.raises(LookupError):
        file_bytes(directory, snapshot)
    assert directory.names() == []
    with pytest.raises(LookupError):
        directory.chunk(5, 0, 10)
    if isinstance(reading.value, SnapshotDamaged):
        assert opened(files).newest() is None
    other = opened(new_disk())
    if data:
        incoming = other.begin_receiving(base(5, voters=3), len(data))
        incoming.append(0, data)
        with pytest.raises(type(reading.value)):
            incoming.finish()
        incoming.abandon()
    assert other.newest() is None
    assert str(snapshot_name(base(5))) in str(reading.value)
    assert reading.value.advice
    return reading.value


def test_every_flipped_bit_is_found() -> None:
    data = small()
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((SnapshotDamaged, WrongSnapshot)):
            check_all(bytes(flipped))


def check_all(data: bytes) -> None:
    check = SnapshotCheck(snapshot_name(base(5)), CLUSTER)
    check.feed(data)
    check.finish()


BLOCK_HEADER_BYTES = 8
"""Of a block whose length or checksum is wrong, the body is what does not check."""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**40))
def test_a_flipped_bit_is_refused_by_everybody(bit: int) -> None:
    data = bytearray(large())
    bit %= len(data) * 8
    data[bit // 8] ^= 1 << bit % 8
    error = refusal(bytes(data))
    if isinstance(error, SnapshotDamaged):
        assert error.offset <= bit // 8 + BLOCK_HEADER_BYTES


def test_a_file_cut_at_any_byte_is_refused() -> None:
    data = small()
    for length in range(len(data)):
        for step in (1, 7, 1 << 20):
            check = SnapshotCheck(snapshot_name(base(5)), CLUSTER)
            for at in range(0, length, step):
                check.feed(data[at : min(length, at + step)])
            with pytest.raises(SnapshotDamaged, match=f"at byte {length}: it ends early"):
                check.finish()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**40))
def test_a_cut_file_is_refused_by_everybody_even_at_a_glance(cut: int) -> None:
    data = large()[: cut % len(large())]
    refusal(data)
    files = new_disk()
    place(files, str(snapshot_name(base(5))), data)
    directory = opened(files)
    assert directory.newest(thorough=False) is None
    assert len(directory.problems) == 1


@pytest.mark.parametrize("extra", [b"\0", b"x" * 1000, large()])
def test_what_follows_the_footer_is_damage(extra: bytes) -> None:
    assert "something follows its footer" in str(refusal(large() + extra))


def test_blocks_that_changed_places_are_damage() -> None:
    data = large()
    header = len(encoded(base(5, voters=3))) - 8 - 24
    span = 8 + BLOCK_BYTES
    one, other = data[header : header + span], data[header + span : header + 2 * span]
    assert one != other
    assert "a block does not check" in str(refusal(data[:header] + other + one + data[header + 2 * span :]))
    assert "a block does not check" in str(refusal(data[:header] + other + data[header + 2 * span :]))


def test_no_length_is_believed() -> None:
    data = bytearray(small())
    data[20:24] = b"\xff\xff\xff\x7f"
    assert "its header claims 2147483647 bytes" in str(refusal(bytes(data)))
    data = bytearray(small())
    header = len(encoded(base(5, voters=3))) - 8 - 24
    data[header : header + 4] = (MAX_BLOCK_BYTES + 1).to_bytes(4, "little")
    assert f"a block claims {MAX_BLOCK_BYTES + 1} bytes" in str(refusal(bytes(data)))
    huge = SnapshotMeta(1, Epoch(1, 0), Membership((Member(1, "x" * MAX_META_BYTES, "", ""),), ()))
    directory = opened(new_disk())
    with pytest.raises(ValueError, match="the limit is"):
        directory.create(huge)
    for size in (0, -1, MAX_SNAPSHOT_BYTES + 1):
        with pytest.raises(ValueError, match="it must have 1 to"):
            directory.begin_receiving(base(5), size)


def test_a_snapshot_of_another_cluster_or_format_or_entry_is_refused() -> None:
    meta = base(5, voters=3)
    error = refusal(encoded(meta, b"state", cluster=0xC2))
    assert isinstance(error, WrongSnapshot)
    assert "belongs to cluster 00000000000000c2; this member's is 00000000000000c1" in str(error)
    assert "its header says that it is 0000000000000006" in str(refusal(encoded(base(6, voters=3), b"state")))
    files = new_disk()
    place(files, str(snapshot_name(meta)), encoded(meta, b"state"))
    for thorough in (True, False):
        with pytest.raises(WrongSnapshot, match="belongs to cluster"):
            opened(files, cluster=0xC2).newest(thorough=thorough)


def test_a_snapshot_that_is_not_what_the_leader_said_is_refused() -> None:
    directory = opened(new_disk())
    data = encoded(base(5, voters=2), b"state")
    incoming = directory.begin_receiving(base(5, voters=3), len(data))
    incoming.append(0, data)
    with pytest.raises(SnapshotDamaged, match="what the leader said"):
        incoming.finish()


# Made while the power fails


@settings(max_examples=200, deadline=None)
@given(seeds, st.booleans(), st.booleans(), st.integers(1, 14), st.booleans())
def test_a_crash_at_any_call_leaves_a_whole_snapshot_or_none(
    seed: int, power: bool, torn: bool, calls: int, receives: bool
) -> None:
    files = new_disk(torn=torn)
    frail = FrailFiles(files)
    old = take(opened(frail), base(3), b"old" * 1000)
    data = encoded(base(5), b"new" * 3000)
    directory = opened(frail)
    frail.arm(calls)
    named = None
    try:
        if receives:
            incoming = directory.begin_receiving(base(5), len(data))
            for at in range(0, len(data), 2000):
                incoming.append(at, data[at : at + 2000])
            named = incoming.finish()
        else:
            named = take(directory, base(5), *([b"new" * 1000] * 3))
        directory.prune()
    except Death:
        pass
    frail.disarm()
    files.crash(Random(seed), power=power)
    directory = opened(frail)
    assert all(parse_name(name) for name in files.list(PATH))
    newest = directory.newest()
    assert newest is not None
    assert directory.problems == []
    assert (newest == named) if named is not None else (newest.meta.index in (3, 5))
    assert state(directory, newest) == (b"new" * 3000 if newest.meta.index == 5 else b"old" * 1000)
    assert indexes(directory) in ([3], [5, 3])
    assert directory.newest(4) in (None, newest)
    assert state(directory, old) == b"old" * 1000
    # The log may begin after what this start found: so a power failure must not take it away.
    files.crash(Random(seed + 1), power=True)
    assert opened(frail).newest() == newest


def test_an_unfinished_file_is_removed_at_the_next_start_and_never_used() -> None:
    files = new_disk()
    directory = opened(files)
    writer = directory.create(base(9))
    writer.write(bytes(BLOCK_BYTES))
    incoming = directory.begin_receiving(base(8), 5000)
    incoming.append(0, bytes(3000))
    assert directory.newest() is None
    with pytest.raises(LookupError):
        directory.chunk(9, 0, 100)
    files.crash(Random(1), power=False)
    directory = opened(files)
    assert files.list(PATH) == []
    assert [notice.split()[0] for notice in directory.notices] == ["removed", "removed"]
    assert take(directory, base(9), b"again") == directory.newest()


def test_an_abandoned_file_is_gone_and_may_be_made_anew() -> None:
    files = new_disk()
    directory = opened(files)
    writer = directory.create(base(9))
    incoming = directory.begin_receiving(base(9), 100)
    for unfinished in (writer, incoming, writer, incoming):
        unfinished.abandon()
    assert files.list(PATH) == []
    with pytest.raises(StorageError, match="closed"):
        writer.write(bytes(BLOCK_BYTES))
    with pytest.raises(StorageError, match="closed"):
        writer.finish()
    take(directory, base(9), b"state")
    writer.abandon()
    assert indexes(directory) == [9]


def test_a_full_disk_costs_only_the_snapshot() -> None:
    errors = DiskErrors()
    files = SimulatedFiles(errors=errors)
    directory = opened(files)
    first = take(directory, base(3), b"state")
    errors.capacity = first.size + 300_000
    writer = directory.create(base(9))
    with pytest.raises(OSError, match="space") as failure:
        writer.write(bytes(1_000_000))
    assert failure.value.errno == errno.ENOSPC
    with pytest.raises(StorageError, match="failed before"):
        writer.finish()
    writer.abandon()
    assert files.list(PATH) == [str(snapshot_name(base(3)))]
    assert directory.newest() == first
    take(directory, base(9), bytes(100_000))


def test_a_sync_that_fails_is_not_tried_again_and_nothing_gets_a_name() -> None:
    errors = DiskErrors()
    files = SimulatedFiles(errors=errors)
    directory = opened(files)
    writer = directory.create(base(9))
    writer.write(b"state")
    errors.failing_syncs = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.finish()
    with pytest.raises(StorageError, match="failed before"):
        writer.finish()
    assert directory.newest() is None


def test_a_large_file_is_synced_while_it_grows() -> None:
    class Counting(DiskErrors):
        syncs = 0

        def sync_fails(self, path: str) -> bool:
            self.syncs += path.endswith(".new")
            return super().sync_fails(path)

    errors = Counting()
    files = SimulatedFiles(errors=errors)
    writer = opened(files).create(base(9))
    for _ in range(12):
        writer.write(bytes(1 << 20))
    assert errors.syncs >= (12 << 20) // (SYNC_EVERY_BYTES + BLOCK_BYTES)


# Receiving


def test_bytes_may_come_twice_but_leave_no_gap_and_no_more_than_was_said() -> None:
    directory = opened(new_disk())
    data = encoded(base(5), b"state" * 100)
    incoming = directory.begin_receiving(base(5), len(data))
    for offset, piece in ((1, b"x"), (-1, b"x"), (0, data + b"x"), (len(data), b"x")):
        with pytest.raises(ValueError, match="of which 0 are here"):
            incoming.append(offset, piece)
    incoming.append(0, data[:300])
    incoming.append(100, data[100:200])
    assert incoming.received == 300
    with pytest.raises(ValueError, match=f"300 of {len(data)} bytes are here"):
        incoming.finish()
    incoming.append(200, data[200:])
    assert incoming.complete
    assert state(directory, incoming.finish()) == b"state" * 100


# Which there are


def test_the_newest_whole_one_at_or_above_an_entry_is_found_and_never_an_older_one() -> None:
    files = new_disk()
    directory = opened(files)
    for index in (10, 20, 30):
        take(directory, base(index), b"state at %d" % index)
    assert indexes(directory) == [30, 20, 10]
    files.flip_bit(f"{PATH}/{snapshot_name(base(30))}", 8 * 330)
    directory = opened(files)
    found = directory.newest(20)
    assert found is not None
    assert found.meta.index == 20
    assert [problem.name for problem in directory.problems] == [str(snapshot_name(base(30)))]
    assert directory.newest(21) is None, "a log that begins after entry 21 cannot go on from the state at 20"
    assert directory.newest(31) is None
    assert len(directory.problems) == 1, "told once"


def test_a_disk_that_cannot_read_a_snapshot_has_a_damaged_one() -> None:
    errors = DiskErrors()
    files = SimulatedFiles(errors=errors)
    directory = opened(files)
    for index in (10, 20):
        take(directory, base(index), b"state")
    errors.failing_reads = 1
    found = directory.newest()
    assert found is not None
    assert found.meta.index == 10
    assert "can't be read" in str(directory.problems[0])
    errors.failing_reads = 1
    with pytest.raises(LookupError, match="Input/output"):
        directory.chunk(10, 0, 100)


def test_the_newest_two_are_kept() -> None:
    files = new_disk()
    directory = opened(files)
    for index in (10, 20, 30, 40):
        take(directory, base(index), b"state")
    directory.prune(3)
    assert indexes(directory) == [40, 30, 20]
    for _ in range(2):
        directory.prune()
        assert indexes(directory) == [40, 30]
    files.crash(Random(1), power=True)
    assert indexes(opened(files)) == [40, 30]


def test_a_damaged_one_does_not_count_among_those_that_are_kept() -> None:
    files = new_disk()
    for index in (10, 20, 30):
        take(opened(files), base(index), b"state")
    files.flip_bit(f"{PATH}/{snapshot_name(base(30))}", 8 * 330)
    directory = opened(files)
    assert directory.newest() is not None
    directory.prune()
    assert indexes(directory) == [20, 10]
    assert indexes(opened(files)) == [20, 10]


def test_a_transfer_under_way_keeps_its_file_while_newer_ones_are_taken() -> None:
    directory = opened(new_disk())
    first = take(directory, base(10), bytes(range(256)) * 2000)
    whole = file_bytes(directory, first)
    sent = b""
    while len(sent) < len(whole):
        sent += directory.chunk(10, len(sent), 50_000)
        take(directory, base(10 + len(sent)), b"a newer state")
        directory.prune()
    assert sent == whole
    assert 10 in indexes(directory)
    directory.prune()
    assert 10 not in indexes(directory)
    with pytest.raises(LookupError, match="no snapshot at entry 10"):
        directory.chunk(10, 0, 100)


def test_one_that_is_being_installed_stays_while_newer_ones_come() -> None:
    directory = opened(new_disk())
    first = take(directory, base(10), b"state")
    directory.hold(first.meta)
    for index in (20, 30, 40):
        take(directory, base(index), b"a newer state")
        directory.prune()
    assert indexes(directory) == [40, 30, 10]
    assert state(directory, first) == b"state"
    directory.release(first.meta)
    directory.prune()
    assert indexes(directory) == [40, 30]


def test_one_that_is_being_installed_stays_though_a_read_of_it_failed_once() -> None:
    errors = DiskErrors()
    directory = opened(SimulatedFiles(errors=errors))
    first = take(directory, base(10), b"state")
    directory.hold(first.meta)
    errors.failing_reads = 1
    with pytest.raises(LookupError, match="Input/output"):
        directory.chunk(10, 0, 100)
    for _ in range(2):
        directory.prune()
        assert state(directory, first) == b"state"
    directory.release(first.meta)
    directory.prune()
    assert not directory.newest()


def test_a_file_that_is_read_in_leaps_is_read_right() -> None:
    directory = opened(new_disk())
    snapshot = take(directory, base(10), bytes(range(256)) * 2000)
    whole = file_bytes(directory, snapshot)
    rng = Random(5)
    for _ in range(60):
        offset, limit = rng.randrange(len(whole) + 10), rng.choice([1, 100, 70_000])
        assert directory.chunk(10, offset, limit) == whole[offset : offset + limit]
    assert directory.problems == []
    directory.close()
    assert directory.chunk(10, 0, ENOUGH) == whole


def test_two_of_one_entry_in_quick_succession_are_one() -> None:
    files = new_disk()
    directory = opened(files)
    writer = directory.create(base(10))
    with pytest.raises(StorageError, match="being made already"):
        directory.create(base(10))
    writer.write(b"state")
    first = writer.finish()
    sent = directory.chunk(10, 0, 100)
    assert take(directory, base(10), b"the state, written otherwise") == first
    assert sent + directory.chunk(10, 100, ENOUGH) == file_bytes(directory, first)
    data = encoded(base(10), b"as another member wrote it")
    incoming = directory.begin_receiving(base(10), len(data))
    incoming.append(0, data)
    assert incoming.finish() == first
    assert files.list(PATH) == [str(snapshot_name(base(10)))]


def test_a_damaged_one_is_replaced_by_the_next_of_its_entry() -> None:
    files = new_disk()
    snapshot = take(opened(files), base(10), b"state")
    files.flip_bit(snapshot.path, 8 * 330)
    directory = opened(files)
    with pytest.raises(LookupError):
        directory.chunk(10, 0, ENOUGH)
    with pytest.raises(LookupError):
        directory.chunk(10, 0, ENOUGH)
    again = take(directory, base(10), b"state")
    assert directory.newest() == again
    assert state(directory, again) == b"state"
    assert directory.chunk(10, 0, ENOUGH) == encoded(base(10), b"state")
    directory.prune()
    assert directory.newest() == again


def test_one_that_could_not_be_read_once_is_replaced_by_the_next_of_its_entry() -> None:
    errors = DiskErrors()
    files = SimulatedFiles(errors=errors)
    directory = opened(files)
    take(directory, base(10), b"state")
    errors.failing_reads = 1
    with pytest.raises(LookupError):
        directory.chunk(10, 0, ENOUGH)
    take(directory, base(10), b"state")
    directory.prune()
    again = opened(files)
    found = again.newest(10)
    assert found is not None
    assert state(again, found) == b"state"


# As whoever drives it does


def in_chunks(meta: SnapshotMeta, data: bytes, size: int) -> list[SnapshotChunk]:
    return [SnapshotChunk(meta, len(data), at, data[at : at + size]) for at in range(0, len(data), size)]


def test_a_snapshot_that_comes_in_chunks_is_whole_with_the_last() -> None:
    files = new_disk()
    directory = opened(files)
    chunks = in_chunks(base(5), encoded(base(5), b"state" * 100), 100)
    for chunk in chunks[:-1]:
        assert not directory.receive(chunk)
        assert directory.kept() == []
    assert directory.receive(chunks[-1])
    assert directory.kept() == [(base(5), chunks[0].size)]
    assert b"".join(directory.chunks(base(5))) == b"state" * 100
    assert files.list(PATH) == [str(snapshot_name(base(5)))]


def test_a_transfer_that_begins_anew_or_of_another_snapshot_takes_the_place_of_the_last() -> None:
    files = new_disk()
    directory = opened(files)
    first = in_chunks(base(5), encoded(base(5), b"state" * 100), 100)
    second = in_chunks(base(6), encoded(base(6), b"other" * 100), 100)
    for chunk in (*first[:3], *first[:4], *second[:2]):
        assert not directory.receive(chunk)
        assert len(files.list(PATH)) == 1
    with pytest.raises(ValueError, match="of which 0 are here"):
        directory.receive(first[4])
    assert files.list(PATH) == []
    assert [directory.receive(chunk) for chunk in second] == [False] * (len(second) - 1) + [True]
    directory.receive(first[0])
    directory.abandon()
    assert files.list(PATH) == [str(snapshot_name(base(6)))]


def test_a_damaged_or_homeless_transfer_leaves_nothing_and_can_be_repeated() -> None:
    errors = DiskErrors()
    files = SimulatedFiles(errors=errors)
    directory = opened(files)
    data = encoded(base(5), b"state" * 100)
    for chunk in in_chunks(base(5), data[:200] + b"!" + data[201:], 100)[:-1]:
        assert not directory.receive(chunk)
    with pytest.raises(ValueError, match="does not check"):
        directory.receive(in_chunks(base(5), data[:200] + b"!" + data[201:], 100)[-1])
    assert files.list(PATH) == []
    errors.capacity = 250
    with pytest.raises(OSError, match="space"):
        [directory.receive(chunk) for chunk in in_chunks(base(5), data, 100)]
    assert files.list(PATH) == []
    errors.capacity = None
    assert [directory.receive(chunk) for chunk in in_chunks(base(5), data, 100)][-1]


def test_a_state_that_cannot_be_read_to_its_end_makes_no_snapshot() -> None:
    def breaks() -> Iterator[bytes]:
        yield b"state"
        raise ValueError("the machine failed")

    files = new_disk()
    directory = opened(files)
    with pytest.raises(ValueError, match="the machine failed"):
        directory.write(base(5), breaks())
    assert files.list(PATH) == []
    assert directory.write(base(5), [b"state"]) == len(encoded(base(5), b"state"))
    content = directory.chunks(base(5))
    assert [list(content), list(content)] == [[b"state"], [b"state"]]
    with pytest.raises(LookupError):
        list(directory.chunks(base(6)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["take", "prune", "send", "crash", "damage"]), max_size=15), seeds)
def test_whatever_happens_the_newest_whole_one_is_kept(steps: Sequence[str], seed: int) -> None:
    rng = Random(seed)
    files = new_disk()
    directory = opened(files)
    whole: list[int] = []
    index = 0
    for step in steps:
        if step == "take":
            index += 1
            take(directory, base(index), b"state at %d" % index)
            whole.append(index)
        elif step == "prune":
            directory.prune()
            whole = [each for each in whole if each in indexes(directory)]
        elif step == "send" and whole:
            assert directory.chunk(rng.choice(whole), 0, ENOUGH)
        elif step == "crash":
            files.crash(rng, power=True)
            directory = opened(files)
        elif step == "damage" and len(whole) > 1:
            name = snapshot_name(base(whole.pop()))
            files.flip_bit(f"{PATH}/{name}", rng.randrange(330 * 8))
            directory.close()
        newest = directory.newest()
        assert (newest.meta.index if newest is not None else 0) == max(whole, default=0)
