"""A file that is not what was saved is refused, with the place and the reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.etcd.backup.files import Drawer, MemoryFile, hashed, saved

from coterie.etcd.backup import etcd_buckets as buckets
from coterie.etcd.backup.bolt import BoltWriter
from coterie.etcd.backup.errors import BadSnapshot
from coterie.etcd.backup.loading import load
from coterie.etcd.backup.state import Lease, State
from coterie.etcd.protobuf import fields
from coterie.machine.kv.protocol import Item

ITEMS = [Item(b"k%d" % i, b"v" * 200, 2 + i, 2 + i, 1) for i in range(100)]
FILE = saved(State(101, 1, ITEMS, (Lease(7, 60),)))
A = Item(b"a", b"", 2, 2, 1)


def read_all(content: bytes) -> list[Item]:
    return list(load(MemoryFile(content), Drawer()).items)


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_no_byte_can_be_another_one(at: int, change: int) -> None:
    damaged = bytearray(FILE)
    damaged[at] ^= change
    with pytest.raises(BadSnapshot, match=f"at byte {len(FILE) - 32}: the hash is not the database's"):
        read_all(bytes(damaged))


@given(st.integers(0, len(FILE) - 1))
def test_no_end_may_be_missing(length: int) -> None:
    with pytest.raises(BadSnapshot, match=r"not whole sectors|the hash is not"):
        read_all(FILE[:length])


def test_a_database_without_a_hash_is_refused() -> None:
    with pytest.raises(BadSnapshot, match="not whole sectors of 512 and a hash of 32"):
        read_all(FILE[:-32])


def database(**contents: list[tuple[bytes, bytes]]) -> bytes:
    """A sound file with these buckets."""
    file = MemoryFile()
    writer = BoltWriter(file)
    for name, items in contents.items():
        writer.bucket(name.encode(), items)
    return hashed(bytes(file.content[: writer.finish()]))


def place(item: Item, position: int = 0) -> tuple[bytes, bytes]:
    return buckets.place_key(item.mod, position, not item.version), buckets.encode_item(item)


UNSOUND = {
    "revision 4 after 2": [place(A), place(Item(b"b", b"", 4, 4, 1))],
    "revision 3 after 1": [place(Item(b"b", b"", 3, 3, 1))],
    "the key b'a' twice in revision 2": [place(A), place(A, 1)],
    "b'a' of revision 3 has mod 2, create 2, version 1": [place(A), (buckets.place_key(3, 0), buckets.encode_item(A))],
    "has mod 2, create 3, version 1": [place(Item(b"a", b"", 3, 2, 1))],
    "has mod 2, create 2, version 2": [place(Item(b"a", b"", 2, 2, 2))],
    "a key of 0 bytes with a value of 1": [(buckets.place_key(2, 0), b"\x2a\x01v")],
    "a key has 1 to 65536": [place(Item(b"k" * 70_000, b"", 2, 2, 1))],
    "a value at most 1572864": [place(Item(b"k", b"v" * 1_600_000, 2, 2, 1))],
    "a revision's key has 17 bytes": [(b"\0" * 16, b"")],
    "no revision's key": [(b"\0" * 17, b"")],
    "an integer at byte 1 is cut off": [(buckets.place_key(2, 0), b"\x10\x80")],
    "field 1 of 9 bytes at byte 2 of a message of 3": [(buckets.place_key(2, 0), b"\x0a\x09a")],
    "a field of wire type 3": [(buckets.place_key(2, 0), b"\x0b")],
}


@pytest.mark.parametrize("reason", UNSOUND)
def test_an_unsound_item_is_refused_though_the_hash_is_right(reason: str) -> None:
    content = database(key=UNSOUND[reason])
    with pytest.raises(BadSnapshot) as caught:
        read_all(content)
    assert reason in caught.value.reason
    keys = [key for key, _ in UNSOUND[reason]]
    assert any(content[caught.value.offset :].startswith(key) for key in keys)


@pytest.mark.parametrize(
    ("bucket", "key", "value", "reason"),
    [
        ("lease", bytes(8), b"", "the lease 0000000000000000 has id 0"),
        ("lease", buckets.lease_key(5), buckets.encode_lease(Lease(6, 1)), "has id 6, TTL 1"),
        ("lease", buckets.lease_key(5), buckets.encode_lease(Lease(5, 0)), "has id 5, TTL 0"),
        ("meta", buckets.FINISHED_COMPACTION, b"1", "a revision's key has 17 bytes"),
        ("meta", buckets.CONSISTENT_INDEX, b"1", "a number of 1 bytes"),
        ("alarm", b"\x08\x01\x10\x09", b"", "9 is not a valid AlarmKind"),
        ("authUsers", b"u", b"\x0a\x01\xff", "can't decode byte 0xff"),
        ("authRoles", b"r", b"\x12\x02\x08\x07", "a permission of kind 7"),
        ("members", b"1", b"{", "Input data was truncated"),
        ("members", b"1", b'{"id": 2}', "member 2 under the key b'1'"),
        ("members_removed", b"01", b"removed", "no member's id"),
        ("members_removed", b"xyz", b"removed", "invalid literal"),
    ],
)
def test_what_else_makes_no_sense_is_refused(bucket: str, key: bytes, value: bytes, reason: str) -> None:
    content = database(key=[place(A)], **{bucket: [(key, value)]})
    with pytest.raises(BadSnapshot) as caught:
        read_all(content)
    assert reason in caught.value.reason
    assert content[caught.value.offset :].startswith(key)


def test_a_file_of_nothing_but_empty_buckets_is_an_empty_state() -> None:
    state = load(MemoryFile(database()), Drawer())
    assert (state.revision, state.compacted, list(state.items)) == (1, -1, [])


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_value_error(raw: bytes) -> None:
    found = []
    with contextlib.suppress(ValueError):
        found = list(fields(raw))
    assert len(found) <= len(raw)
