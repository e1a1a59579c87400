"""A snapshot file as the state that a cluster begins with: equal for all, or refused with nothing left behind."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.etcd.backup.files import MemoryFile, hashed, saved
from tests.etcd.backup.test_damage import database, place
from tests.etcd.backup.test_state import AUTH, COMMANDS, applied, asked

from coterie.core.errors import ConfigurationError, CoterieError
from coterie.etcd.backup import etcd_buckets as buckets
from coterie.etcd.backup.errors import BadSnapshot
from coterie.etcd.backup.loading import MAX_FILE_BYTES, MAX_REVISION, load
from coterie.etcd.backup.machine_state import state_of
from coterie.etcd.backup.restoring import APART, Options, RestoreFailed, first_index, restore, restore_copy
from coterie.etcd.backup.state import Lease, Origin, State
from coterie.etcd.backup.temporary import scratch_in
from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import AuthEnable
from coterie.machine.kv.protocol import Command, Compact, DeleteRange, Grant, Item, Put, Range
from coterie.machine.stores import MemoryStore
from coterie.storage.directory import DataDirectory, DirectoryRefused
from coterie.storage.disk import DiskFiles
from coterie.storage.seed import NEW_SEED_NAME, SEED_NAME, find_seed

OPTIONS = Options()
A = Item(b"a", b"", 2, 2, 1)


def file_of(machine: KeyValue, directory: Path) -> Path:
    path = directory / "snapshot.db"
    path.write_bytes(saved(state_of(machine.snapshot(), Origin(9, 1))))
    return path


def begun(directory: Path, *, stored: bool = False) -> KeyValue:
    """The machine that a member begins with."""
    seed = find_seed(DiskFiles(), str(directory))
    assert seed is not None
    _, chunks = seed.parted()
    machine = KeyValue()
    if stored:
        store = MemoryStore()
        machine.attach(store)
        machine.fill(store, chunks)
        machine.reload()
    else:
        machine.restore(chunks)
    return machine


@given(COMMANDS, st.booleans())
@settings(max_examples=40)
def test_every_member_begins_with_the_state_that_was_saved(commands: list[Command], secure: bool) -> None:
    machine = applied([*AUTH, AuthEnable(), *commands] if secure else commands)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        file = file_of(machine, home)
        first = restore(file, home / "n1", OPTIONS)
        assert restore(file, home / "n2", OPTIONS) == first
        assert restore_copy(home / "n1", home / "n3").hex() == first.state
        assert (first.revision, first.compacted) == (machine.revision(), machine.space.data.compacted)
        for name, stored in (("n1", False), ("n2", True), ("n3", False)):
            assert begun(home / name, stored=stored).digest() == machine.digest()


def test_the_log_begins_far_above_the_one_that_the_file_is_from() -> None:
    assert first_index(Origin()) == APART
    assert first_index(Origin(12345)) == APART + 12345
    assert first_index(Origin(first_index(Origin(12345)))) == 2 * APART + 12345
    assert first_index(Origin(2**64 - 1)) == APART  # of no log that ever was


def test_a_raised_revision_leaves_the_present_keys_and_no_history(tmp_path: Path) -> None:
    commands: list[Command] = [
        Grant(7, 60),
        Put(b"a", b"1"),
        Put(b"a", b"2", lease=7),
        Put(b"b", b"3"),
        DeleteRange(b"b"),
        Put(b"c", b"4"),
    ]
    machine = applied(commands)
    restored = restore(file_of(machine, tmp_path), tmp_path / "n1", Options(True, 1000, True))
    assert (restored.revision, restored.compacted, restored.items) == (1006, 1006, 2)
    for stored in (False, True):
        found = begun(tmp_path / "n1", stored=stored)
        assert asked(found, Range(b"\0", b"\0")) == asked(machine, Range(b"\0", b"\0"))
        assert found.space.data.compacted == 1006
        applied([Put(b"a", b"5")], found)
        (item,) = asked(found, Range(b"a"))
        assert (item.create, item.mod, item.version) == (2, 1007, 3)
        assert list(found.space.leases.keys_of(7)) == []


@pytest.mark.parametrize("options", [(True, 5, False), (True, 0, True), (True, -1, True), (True, 1 << 62, True)])
def test_options_that_make_no_sense_are_refused(options: tuple[bool, int, bool]) -> None:
    with pytest.raises(ConfigurationError, match="bump-revision"):
        Options(*options)


def test_a_revision_that_etcdutl_raised_is_none_of_an_event() -> None:
    """etcd 3.6's `etcdutl snapshot restore --bump-revision` leaves an empty value there."""
    gap = buckets.place_key(1000, 0)
    later = Item(b"b", b"", 1001, 1001, 1)
    for compacted, kept in ((1000, [A, later]), (1001, [A, later])):
        meta = [(buckets.SCHEDULED_COMPACTION, buckets.place_key(compacted, 0))]
        content = database(key=[place(A), (gap, b""), place(later)], meta=meta)
        state = load(MemoryFile(content), scratch_in(Path(tempfile.gettempdir())))
        assert (state.revision, state.compacted, list(state.items)) == (1001, compacted, kept)


def test_a_file_without_a_hash_or_with_a_wrong_one_is_read_only_if_that_is_asked_for(tmp_path: Path) -> None:
    machine = applied([Put(b"a", b"1")])
    file = file_of(machine, tmp_path)
    content = file.read_bytes()
    for number, damaged in enumerate((content[:-32], content[:-1] + bytes([content[-1] ^ 1]))):
        file.write_bytes(damaged)
        with pytest.raises(BadSnapshot, match=r"not whole sectors of 512 and a hash|the hash is not"):
            restore(file, tmp_path / "n0", OPTIONS)
        restore(file, tmp_path / f"n{number + 1}", Options(verify=False))
        assert begun(tmp_path / f"n{number + 1}").digest() == machine.digest()
    file.write_bytes(content[:-10])
    with pytest.raises(BadSnapshot, match="nor with a hash of 32"):
        restore(file, tmp_path / "n0", Options(verify=False))


def version(said: bytes) -> bytes:
    return database(key=[place(A)], meta=[(buckets.STORAGE_VERSION, said)])


BAD = {
    "of 512 and a hash of 32": b"",
    "no meta page of a bbolt database": hashed(b"x" * 4096),
    "the hash is not the database's": database(key=[place(A)])[:-1] + b"?",
    "storageVersion is 3.7.0: the newest layout that is known is etcd 3.6's": version(b"3.7.0"),
    "storageVersion is 'new': no version": version(b"new"),
    "revision 4 after 2": database(key=[place(A), place(Item(b"b", b"", 4, 4, 1))]),
    "b'a' is attached to lease 7, which is not in the snapshot": database(key=[place(Item(b"a", b"", 2, 2, 1, 7))]),
    "a lease 5 of 9000000001 s that can't be": saved(State(1, -1, (), (Lease(5, 9_000_000_001),))),
    "auth on, and no user root": database(
        auth=[(buckets.AUTH_ENABLED, b"\x01"), (buckets.AUTH_REVISION, (9).to_bytes(8, "big"))]
    ),
    "a value at most 1572864": database(key=[place(Item(b"k", b"v" * 1_600_000, 2, 2, 1))]),
    f"the limit is {MAX_REVISION}": database(key=[place(Item(b"a", b"", 2**62 + 1, 2**62 + 1, 1))]),
}


@pytest.mark.parametrize("reason", BAD)
@pytest.mark.parametrize("made", [True, False])
def test_a_file_that_cannot_be_restored_says_why_and_leaves_nothing(reason: str, made: bool, tmp_path: Path) -> None:
    file = tmp_path / "bad.db"
    file.write_bytes(BAD[reason])
    if made:
        (tmp_path / "deep" / "n1").mkdir(parents=True)
    with pytest.raises(CoterieError) as caught:
        restore(file, tmp_path / "deep" / "n1", OPTIONS)
    assert reason in str(caught.value)
    assert caught.value.advice
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert sorted(left) == (["bad.db", "deep", "deep/n1"] if made else ["bad.db"])


def test_what_is_known_of_etcd_3_6_is_read(tmp_path: Path) -> None:
    file = tmp_path / "file.db"
    file.write_bytes(version(b"3.6.0"))
    assert restore(file, tmp_path / "n1", OPTIONS).revision == 2


def test_a_file_longer_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.db"
    file.touch()
    os.truncate(file, MAX_FILE_BYTES + 512)  # a hole: it takes no space
    for options in (OPTIONS, Options(verify=False)):
        with pytest.raises(BadSnapshot, match=f"the limit is {MAX_FILE_BYTES}"):
            restore(file, tmp_path / "n1", options)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RestoreFailed, match="No such file"):
        restore(tmp_path / "none", tmp_path / "n1", OPTIONS)
    with pytest.raises(RestoreFailed, match="is no file"):
        restore(tmp_path, tmp_path / "n1", OPTIONS)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RestoreFailed, match="is no file"):
        restore(tmp_path / "fifo", tmp_path / "n1", OPTIONS)


def test_a_directory_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    file = file_of(applied([Put(b"a", b"1")]), tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x", encoding="utf-8")
    with pytest.raises(RestoreFailed, match=r"is not empty: it holds 'notes'"):
        restore(file, tmp_path / "mine", OPTIONS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]
    restore(file, tmp_path / "n1", OPTIONS)
    with pytest.raises(RestoreFailed, match=f"it holds '{SEED_NAME}'"):
        restore(file, tmp_path / "n1", OPTIONS)
    DataDirectory.open(DiskFiles(), str(tmp_path / "n2"), "n2", "raft").close()
    with pytest.raises(RestoreFailed, match="it holds 'identity'"):
        restore(file, tmp_path / "n2", OPTIONS)
    with pytest.raises(RestoreFailed, match="cannot restore into"):
        restore(file, file / "n1", OPTIONS)


def test_an_attempt_that_was_cut_off_is_refused_by_a_node_and_taken_up_by_the_next(tmp_path: Path) -> None:
    file = file_of(applied([Put(b"a", b"1")]), tmp_path)
    path = tmp_path / "n1"
    path.mkdir()
    (path / NEW_SEED_NAME).write_bytes(b"half")
    (path / ".scratch-abc").touch()
    (path / "LOCK").touch()
    with pytest.raises(DirectoryRefused, match="was not finished"):
        DataDirectory.open(DiskFiles(), str(path), "n1", "raft")
    whole = restore(file, path, OPTIONS)
    assert sorted(each.name for each in path.iterdir()) == ["LOCK", SEED_NAME]
    assert restore(file, tmp_path / "n2", OPTIONS) == whole


def test_leases_come_back_with_what_they_had_left_and_all_they_had_if_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file.db"
    leased = Item(b"a", b"", 2, 2, 1, 7)
    file.write_bytes(saved(State(2, -1, [leased], (Lease(-3, 60), Lease(7, 60, 20)))))
    restore(file, tmp_path / "n1", OPTIONS)
    leases = begun(tmp_path / "n1").space.leases
    assert {id: (each.ttl, each.deadline // 10**9, each.keys) for id, each in leases.granted.items()} == {
        -3: (60, 60, set()),
        7: (60, 20, {b"a"}),
    }


def test_compaction_and_what_follows_it_stay(tmp_path: Path) -> None:
    machine = applied([Put(b"a", b"1"), Put(b"a", b"2"), Put(b"b", b"3"), Compact(3), DeleteRange(b"a")])
    restored = restore(file_of(machine, tmp_path), tmp_path / "n1", OPTIONS)
    assert (restored.revision, restored.compacted) == (5, 3)
    found = begun(tmp_path / "n1")
    assert [list(found.events(revision)) for revision in (3, 4, 5)] == [
        list(machine.events(revision)) for revision in (3, 4, 5)
    ]
