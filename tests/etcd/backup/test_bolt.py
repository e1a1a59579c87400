"""The writer's database is what bbolt's format says, and the reader finds in it all that was written."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.etcd.backup.files import MemoryFile

from coterie.etcd.backup.bolt import BoltWriter
from coterie.etcd.backup.bolt_pages import MAX_KEY_BYTES, PAGE_BYTES, fnv64a
from coterie.etcd.backup.bolt_reader import BoltReader
from coterie.etcd.backup.errors import BadSnapshot

Buckets = dict[bytes, dict[bytes, bytes]]

KEYS = st.binary(min_size=1, max_size=40) | st.integers(1, 3000).map(lambda length: b"k" * length)
VALUES = st.binary(max_size=60) | st.integers(0, 20_000).map(lambda length: b"v" * length)
BUCKETS = st.dictionaries(
    st.binary(min_size=1, max_size=20), st.dictionaries(KEYS, VALUES, max_size=60), min_size=0, max_size=5
)


def written(buckets: Buckets) -> MemoryFile:
    file = MemoryFile()
    writer = BoltWriter(file)
    for name, items in buckets.items():
        writer.bucket(name, sorted(items.items()))
    assert writer.finish() == len(file.content)
    return file


def read(file: MemoryFile) -> Buckets:
    reader = BoltReader(file, file.size())
    return {name: {entry.key: entry.value for entry in reader.items(name)} for name in reader.names}


@given(BUCKETS)
def test_what_was_written_is_read_in_order(buckets: Buckets) -> None:
    file = written(buckets)
    reader = BoltReader(file, file.size())
    assert reader.names == sorted(buckets)
    for name, items in buckets.items():
        entries = list(reader.items(name))
        assert [(entry.key, entry.value) for entry in entries] == sorted(items.items())
        for entry in entries:
            assert file.content[entry.offset : entry.offset + len(entry.key)] == entry.key
        last = reader.last(name)
        assert (None if last is None else last.key) == max(items, default=None)


@given(BUCKETS, st.binary(max_size=20))
def test_a_walk_begins_where_it_is_told_to(buckets: Buckets, start: bytes) -> None:
    reader = BoltReader(file := written(buckets), file.size())
    for name, items in buckets.items():
        assert [entry.key for entry in reader.items(name, start)] == sorted(key for key in items if key >= start)


@pytest.mark.parametrize("count", [0, 1, 50, 51, 4_000, 300_000])
def test_a_tree_of_any_height_holds_its_items_on_pages_that_are_all_used_once(count: int) -> None:
    items = [(b"%08d" % i, b"v" * (i % 7)) for i in range(count)]
    file = MemoryFile()
    writer = BoltWriter(file)
    assert writer.bucket(b"b", iter(items)) == count
    length = writer.finish()
    reader = BoltReader(file, length)
    assert [(entry.key, entry.value) for entry in reader.items(b"b")] == items
    assert pages_by_walking(file) == set(range(length // PAGE_BYTES))


@given(BUCKETS)
def test_no_page_is_lost_and_none_is_in_two_trees(buckets: Buckets) -> None:
    file = written(buckets)
    assert pages_by_walking(file) == set(range(file.size() // PAGE_BYTES))


def pages_by_walking(file: MemoryFile) -> set[int]:
    """Ids of all pages that are in use, found without the reader; a page that is reached twice fails."""
    found = {0, 1}
    raw = bytes(file.content)
    root, _, freelist = struct.unpack_from("<QQQ", raw, 16 + 16)

    def visit(page: int, in_root: bool) -> None:
        offset = page * PAGE_BYTES
        number, flags, count, overflow = struct.unpack_from("<QHHI", raw, offset)
        assert number == page
        pages = set(range(page, page + overflow + 1))
        assert not pages & found
        found.update(pages)
        for at in range(count):
            here = offset + 16 + 16 * at
            if flags == 1:
                visit(struct.unpack_from("<Q", raw, here + 8)[0], in_root)
            elif in_root:
                flag, position, key_bytes, _ = struct.unpack_from("<IIII", raw, here)
                assert flag == 1
                child = struct.unpack_from("<Q", raw, here + position + key_bytes)[0]
                if child:
                    visit(child, False)

    visit(root, True)
    assert struct.unpack_from("<QHHI", raw, freelist * PAGE_BYTES) == (freelist, 0x10, 0, 0)
    return found | {freelist}


def test_the_meta_pages_are_bbolts() -> None:
    file = written({b"a": {b"k": b"v"}})
    for page in (0, 1):
        raw = bytes(file.content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES])
        assert struct.unpack_from("<QHHI", raw) == (page, 4, 0, 0)
        magic, version, size, flags, root, sequence, freelist, pages, transaction, checksum = struct.unpack_from(
            "<IIIIQQQQQQ", raw, 16
        )
        assert (magic, version, size, flags, sequence, freelist) == (0xED0CDAED, 2, 4096, 0, 0, 2)
        assert (root, pages, transaction) == (3, 4, 2 - page)
        assert checksum == fnv64a(raw[16:72])


def test_the_checksum_is_fnv_1a_of_64_bits() -> None:
    # http://www.isthe.com/chongo/tech/comp/fnv/
    assert fnv64a(b"") == 0xCBF29CE484222325
    assert fnv64a(b"foobar") == 0x85944171F73967E8


def test_memory_is_a_few_pages_however_much_is_written() -> None:
    file = MemoryFile()
    writer = BoltWriter(file)
    writer.bucket(b"b", ((b"%08d" % i, b"v" * 100) for i in range(50_000)))
    length = writer.finish()
    assert file.longest < 300_000 < 5_000_000 < length


def test_keys_that_do_not_ascend_are_refused() -> None:
    writer = BoltWriter(MemoryFile())
    with pytest.raises(ValueError, match="must ascend"):
        writer.bucket(b"b", [(b"b", b""), (b"a", b"")])
    with pytest.raises(ValueError, match="must ascend"):
        writer.bucket(b"c", [(b"b", b""), (b"b", b"")])


def test_what_bbolt_has_no_room_for_is_refused() -> None:
    writer = BoltWriter(MemoryFile())
    with pytest.raises(ValueError, match="a bbolt key has 1 to 32768"):
        writer.bucket(b"b", [(b"k" * (MAX_KEY_BYTES + 1), b"")])
    with pytest.raises(ValueError, match="a key of 0 bytes"):
        writer.bucket(b"c", [(b"", b"")])
    writer.bucket(b"d", [])
    with pytest.raises(ValueError, match="is there already"):
        writer.bucket(b"d", [])


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_damaged_bytes_are_refused_or_read_but_never_anything_else(source: random.Random) -> None:
    """Here no hash protects the database: whatever is in it, reading ends, and says where it went wrong."""
    buckets = {
        b"small": {b"k": b"v"},
        b"large": {b"%05d" % i: b"v" * (5000 if i % 100 == 0 else 30) for i in range(600)},
        b"empty": {},
    }
    file = written(buckets)
    for _ in range(source.randint(1, 6)):
        # most of the damage where it hurts: the headers of pages
        page = source.randrange(file.size() // PAGE_BYTES)
        at = page * PAGE_BYTES + (source.randrange(100) if source.random() < 0.7 else source.randrange(PAGE_BYTES))
        file.content[at] = source.randrange(256)
    if source.random() < 0.2:
        del file.content[source.randrange(file.size()) :]
    size = file.size()
    refusal = None
    found: Buckets = {}
    try:
        reader = BoltReader(file, size)
        for name in reader.names:
            reader.last(name)
        found = read(file)
    except BadSnapshot as error:
        refusal = error
    assert sum(map(len, found.values())) <= size
    if refusal is not None:
        assert 0 <= refusal.offset <= size
        assert f"at byte {refusal.offset}: {refusal.reason}" in str(refusal)


def test_a_tree_that_leads_back_to_itself_is_refused() -> None:
    file = written({b"b": {b"%05d" % i: b"v" * 30 for i in range(2000)}})
    reader = BoltReader(file, file.size())
    raw = bytes(file.content)
    branches = [at for at in range(2, file.size() // PAGE_BYTES) if raw[at * PAGE_BYTES + 8] == 1]
    for branch in branches:
        struct.pack_into("<Q", file.content, branch * PAGE_BYTES + 16 + 8, branch)
    with pytest.raises(BadSnapshot, match=r"higher than 32 pages|not ascending|in a page that"):
        list(reader.items(b"b"))


def test_a_damaged_first_meta_page_is_made_up_for_by_the_second() -> None:
    file = written({b"b": {b"k": b"v"}})
    file.content[20] ^= 1
    assert read(file) == {b"b": {b"k": b"v"}}
    file.content[PAGE_BYTES + 20] ^= 1
    with pytest.raises(BadSnapshot, match=r"at byte 0: bbolt's format 3"):
        read(file)


def test_a_length_that_is_only_claimed_is_not_read() -> None:
    file = written({b"b": {b"%05d" % i: b"v" * 30 for i in range(200)}})
    reader = BoltReader(file, file.size())
    leaf = next(at for at in range(3, file.size() // PAGE_BYTES) if file.content[at * PAGE_BYTES + 8] == 2)
    struct.pack_into("<I", file.content, leaf * PAGE_BYTES + 12, 0xFFFFFFFF)
    file.longest = 0
    with pytest.raises(BadSnapshot, match="goes on for 4294967295 pages"):
        list(reader.items(b"b"))
    assert file.longest <= PAGE_BYTES
