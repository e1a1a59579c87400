"""A machine's state survives the way through an etcd snapshot file, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.etcd.backup.files import Drawer, MemoryFile, hashed, saved

from coterie.etcd.backup import etcd_buckets as buckets
from coterie.etcd.backup.bolt import BoltWriter
from coterie.etcd.backup.bolt_reader import BoltReader
from coterie.etcd.backup.etcd_buckets import Place
from coterie.etcd.backup.loading import check_hash, load
from coterie.etcd.backup.machine_state import chunks_of, state_of
from coterie.etcd.backup.saving import CHUNK_BYTES, SHA_BYTES, save
from coterie.etcd.backup.sorting import RUN_BYTES
from coterie.etcd.backup.state import Auth, Lease, Member, Origin, State
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import (
    Permission,
    PermissionKind,
    RoleAdd,
    RoleGrantPermission,
    UserAdd,
    UserGrantRole,
)
from coterie.machine.kv.auth.roles import Role, User
from coterie.machine.kv.protocol import (
    AlarmKind,
    Command,
    Compact,
    DeleteRange,
    Grant,
    Item,
    Put,
    Range,
    RangeReply,
    Revoke,
    Txn,
    encoder,
    reply_decoder,
)
from coterie.machine.stores import MemoryStore

KEYS = st.sampled_from([b"a", b"b", b"b\0", b"c", b"d" * 50, b"\xff"])
PUTS = st.builds(Put, KEYS, st.binary(max_size=9) | st.integers(0, 9000).map(lambda length: b"v" * length))
DELETIONS = st.builds(DeleteRange, KEYS, st.sampled_from([b"", b"\0", b"c"]))
TXNS = st.lists(PUTS, min_size=1, max_size=4, unique_by=lambda put: put.key).map(lambda puts: Txn((), tuple(puts)))
LEASES = st.integers(1, 3)
AUTH: list[Command] = [
    UserAdd("root", b"h"),
    UserAdd("u", b"", True),
    RoleAdd("r"),
    RoleGrantPermission("r", PermissionKind.WRITE, b"a", b"\0"),
    UserGrantRole("u", "r"),
    UserGrantRole("root", "root"),
]
COMMANDS = st.lists(
    st.one_of(
        PUTS,
        PUTS,
        DELETIONS,
        TXNS,
        st.integers(1, 30).map(Compact),
        st.builds(Grant, LEASES, st.integers(0, 100)),
        st.builds(Put, KEYS, st.just(b"leased"), lease=LEASES),
        st.builds(Revoke, LEASES),
        st.sampled_from(AUTH),
    ),
    max_size=40,
)


def applied(commands: list[Command], machine: KeyValue | None = None) -> KeyValue:
    machine = machine or KeyValue()
    bodies = [encoder.encode(command) for command in commands]
    machine.apply(Batch(1, 0, range(len(bodies)), bodies))
    return machine


def through_a_file(machine: KeyValue) -> KeyValue:
    """The machine's state, saved and loaded."""
    file = MemoryFile(saved(state_of(machine.snapshot(), Origin())))
    found = KeyValue()
    found.restore(chunks_of(load(file, Drawer())))
    return found


@given(COMMANDS)
def test_a_machine_is_equal_to_itself_after_the_way_through_a_file(commands: list[Command]) -> None:
    machine = applied(commands)
    found = through_a_file(machine)
    assert b"".join(found.snapshot()) == b"".join(machine.snapshot())
    assert found.digest() == machine.digest()


@given(COMMANDS, COMMANDS)
def test_a_restored_machine_goes_on_as_the_first_one_does(before: list[Command], after: list[Command]) -> None:
    machine = applied(before)
    assert applied(after, through_a_file(machine)).digest() == applied(after, machine).digest()


@given(COMMANDS)
def test_the_file_depends_on_the_state_alone_not_on_where_it_was_kept(commands: list[Command]) -> None:
    store = MemoryStore()
    on_store = KeyValue()
    on_store.attach(store)
    applied(commands, on_store)
    view = store.view()
    store.write(on_store.begin_flush().changes(view))
    view.close()
    view = store.view()
    stored = saved(state_of(on_store.stored_chunks(view), Origin(7, 2)))
    view.close()
    assert stored == saved(state_of(applied(commands).snapshot(), Origin(7, 2)))


def test_what_is_older_than_the_compaction_is_sorted_in_a_file_if_there_is_much_of_it() -> None:
    count = RUN_BYTES // 10_000 * 2
    items = [Item(b"%06d" % i, b"v" * 10_000, 2 + i * 7919 % count, 2 + i * 7919 % count, 1) for i in range(count)]
    drawer = Drawer()
    file = MemoryFile(saved(State(count + 2, count + 2, items), drawer))
    assert len(drawer.files) == 2  # the database and the runs
    assert max(each.longest for each in drawer.files) < 300_000
    assert all(each.closed for each in drawer.files)
    found = load(file, drawer)
    assert list(found.items) == items
    assert (found.revision, found.compacted) == (count + 2, count + 2)
    assert all(each.closed for each in drawer.files)


def test_leases_begin_anew_at_the_time_of_the_restore_unless_etcd_knew_how_much_they_have_left() -> None:
    second = 1_000_000_000
    state = State(1, -1, (), (Lease(-5, 60), Lease(1, 1), Lease(7, 60, 20)))
    machine = KeyValue()
    machine.restore(chunks_of(load(MemoryFile(saved(state)), Drawer()), 1000 * second))
    leases = machine.space.leases.granted
    assert {id: (lease.ttl, lease.deadline // second - 1000) for id, lease in leases.items()} == {
        -5: (60, 60),
        1: (2, 2),  # etcd's least
        7: (60, 20),
    }


def test_several_permissions_for_the_same_keys_as_etcd_may_have_them_become_one() -> None:
    read, write = (Role("r", (Permission(kind, b"b", b"d"),)) for kind in (PermissionKind.READ, PermissionKind.WRITE))
    both = buckets.encode_role(read) + buckets.encode_role(write)
    assert buckets.decode_role(both) == Role("r", (Permission(PermissionKind.READWRITE, b"b", b"d"),))
    assert buckets.decode_role(buckets.encode_role(read) * 2) == read


def test_chunks_are_as_etcd_streams_them() -> None:
    snapshot = save(state_of(applied([Put(b"k%d" % i, b"v" * 999) for i in range(200)]).snapshot(), Origin()), Drawer())
    chunks = list(snapshot.chunks())
    left = snapshot.database_bytes
    for chunk in chunks[:-1]:
        assert len(chunk.blob) <= CHUNK_BYTES
        left -= len(chunk.blob)
        assert chunk.remaining == left
    assert left == 0
    assert (len(chunks[-1].blob), chunks[-1].remaining) == (SHA_BYTES, 0)
    snapshot.close()


def test_a_save_that_fails_leaves_no_scratch_file_open() -> None:
    def items() -> Iterator[Item]:
        yield Item(b"a", b"", 2, 2, 1)
        yield Item(b"b", b"", 3, 3, 1)
        yield Item(b"c", b"", 2, 2, 1)

    drawer = Drawer()
    with pytest.raises(ValueError, match="revision 2 of b'c' after 3: out of place"):
        save(State(3, -1, items()), drawer)
    assert [each.closed for each in drawer.files] == [True]


def test_items_that_are_used_up_make_no_file() -> None:
    state = state_of(applied([Put(b"a", b"")]).snapshot(), Origin())
    saved(state)
    with pytest.raises(ValueError, match="the items end at revision 0, not at 2"):
        saved(state)


def test_a_loaded_states_items_can_be_read_twice() -> None:
    machine = applied([Put(b"a", b""), Put(b"b", b""), Compact(3), Put(b"a", b"")])
    state = load(MemoryFile(saved(state_of(machine.snapshot(), Origin()))), Drawer())
    assert len(list(state.items)) == 3
    assert list(state.items) == list(state.items)


NAMES = st.text("abcdé", min_size=1, max_size=5)
PERMISSIONS = st.dictionaries(st.tuples(st.binary(), st.binary()), st.sampled_from(PermissionKind)).map(
    lambda kinds: tuple(Permission(kind, *keys) for keys, kind in sorted(kinds.items()))
)
STATES = st.builds(
    State,
    revision=st.just(1),
    compacted=st.just(-1),
    items=st.just(()),
    leases=st.lists(
        st.builds(Lease, st.integers(-(2**63), 2**63 - 1).filter(bool), st.integers(1, 2**40), st.integers(0, 2**40)),
        unique_by=lambda lease: lease.id,
    ).map(lambda leases: tuple(sorted(leases, key=lambda lease: buckets.lease_key(lease.id)))),
    alarms=st.lists(st.tuples(st.integers(1, 127), st.sampled_from(AlarmKind)), unique=True).map(
        lambda alarms: tuple(sorted(alarms, key=lambda alarm: buckets.encode_alarm(*alarm)))
    ),
    auth=st.builds(
        Auth,
        st.booleans(),
        st.integers(1, 2**64 - 1),
        st.lists(
            st.builds(User, NAMES, st.binary(max_size=70), st.booleans(), st.lists(NAMES).map(sorted).map(tuple)),
            unique_by=lambda user: user.name,
        ).map(lambda users: tuple(sorted(users, key=lambda user: user.name))),
        st.lists(
            st.builds(
                Role,
                NAMES,
                PERMISSIONS,
            ),
            unique_by=lambda role: role.name,
        ).map(lambda roles: tuple(sorted(roles, key=lambda role: role.name))),
    ),
    origin=st.builds(
        Origin,
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.sampled_from(["", "3.5.0"]),
        st.lists(
            st.builds(
                Member,
                st.integers(0, 2**64 - 1),
                NAMES,
                st.just(("http://a:2380",)),
                st.lists(st.just("http://a:2379"), max_size=2).map(tuple),
                st.booleans(),
            ),
            unique_by=lambda member: member.id,
        ).map(lambda members: tuple(sorted(members, key=lambda member: buckets.member_key(member.id)))),
        st.lists(st.integers(0, 2**64 - 1), unique=True).map(
            lambda members: tuple(sorted(members, key=buckets.member_key))
        ),
    ),
)


@given(STATES)
def test_leases_alarms_auth_and_members_are_read_as_they_were_written(state: State) -> None:
    found = load(MemoryFile(saved(state)), Drawer())
    assert (found.leases, found.alarms, found.auth, found.origin) == (
        state.leases,
        state.alarms,
        state.auth,
        state.origin,
    )


@given(
    st.builds(
        Item,
        st.binary(min_size=1),
        st.binary(),
        st.just(5),
        st.integers(5, 2**62),
        st.just(1),
        st.integers(-(2**63), 2**63 - 1),
    )
)
def test_an_item_with_any_lease_is_read_as_it_was_written(item: Item) -> None:
    assert buckets.decode_item(Place(item.mod, 0, False), buckets.encode_item(item)) == item


def test_the_compactions_own_revision_may_be_without_events_as_etcd_leaves_it() -> None:
    older = Item(b"a", b"1", 2, 2, 1)
    for newer in ([], [Item(b"c", b"2", 5, 5, 1), Item(b"a", b"3", 2, 6, 2)]):
        revision = 4 + len(newer)
        state = load(MemoryFile(saved(State(revision, 4, [older, *newer]))), Drawer())
        in_memory, on_store = KeyValue(), KeyValue()
        chunks = list(chunks_of(state))
        in_memory.restore(chunks)
        store = MemoryStore()
        on_store.attach(store)
        on_store.fill(store, chunks)
        on_store.reload()
        assert in_memory.digest() == on_store.digest()
        for machine in (in_memory, on_store):
            assert machine.revision() == revision
            assert list(machine.events(4)) == []
            assert asked(machine, Range(b"a", b"\0", revision=4)) == (older,)
            applied([Put(b"z", b""), Compact(revision), DeleteRange(b"a", b"\0"), Compact(revision + 2)], machine)
        assert in_memory.digest() == on_store.digest()


def asked(machine: KeyValue, question: Range) -> tuple[Item, ...]:
    answer = machine.query(encoder.encode(question))
    assert not isinstance(answer, Rejected)
    reply = reply_decoder.decode(answer)
    assert isinstance(reply, RangeReply)
    return reply.items


def test_a_compaction_that_had_only_begun_is_finished() -> None:
    """etcd notes a compaction before it deletes anything: what it superseded may still be there, or half of it."""

    written = [
        (2, 0, Item(b"a", b"1", 2, 2, 1)),
        (2, 1, Item(b"b", b"1", 2, 2, 1)),
        (2, 2, Item(b"d", b"1", 2, 2, 1)),
        (3, 0, Item(b"a", b"2", 2, 3, 2)),
        (4, 0, Item(b"b", b"", 0, 4, 0)),
        (5, 0, Item(b"d", b"2", 2, 5, 2)),
        (6, 0, Item(b"a", b"3", 2, 6, 3)),
    ]
    file = MemoryFile()
    writer = BoltWriter(file)
    writer.bucket(
        buckets.KEY, [(buckets.place_key(r, p, not item.version), buckets.encode_item(item)) for r, p, item in written]
    )
    writer.bucket(
        buckets.META,
        [
            (buckets.FINISHED_COMPACTION, buckets.place_key(2, 0)),
            (buckets.SCHEDULED_COMPACTION, buckets.place_key(5, 0)),
        ],
    )
    file = MemoryFile(hashed(bytes(file.content[: writer.finish()])))
    state = load(file, Drawer())
    assert (state.revision, state.compacted) == (6, 5)
    assert list(state.items) == [written[3][2], written[5][2], written[6][2]]


def test_the_bucket_of_keys_is_laid_out_as_etcds() -> None:
    machine = applied(
        [Put(b"a", b"1"), Txn((), (Put(b"b", b"2"), Put(b"a", b"3"))), DeleteRange(b"a"), Compact(3), Put(b"c", b"")]
    )
    file = MemoryFile(saved(state_of(machine.snapshot(), Origin())))
    reader = BoltReader(file, check_hash(file))
    places = [buckets.decode_place(entry.key) for entry in reader.items(buckets.KEY)]
    assert places == [Place(3, 0, False), Place(3, 1, False), Place(4, 0, True), Place(5, 0, False)]
    first = next(reader.items(buckets.KEY))
    assert first.key == bytes(7) + b"\x03_" + bytes(8)
    assert first.value == b"\x0a\x01b\x10\x03\x18\x03\x20\x01\x2a\x012"
