"""Leases, by example: etcd's semantics and its words; their end in cluster time, at every member alike."""

from __future__ import annotations

import pytest
from tests.machine.kv.test_examples import ask, do
from tests.machine.machines import SECOND, A, entry, noop, plain, segment

from coterie.machine.host import Host
from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue, keyspace
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    Compare,
    DeleteRange,
    Grant,
    Item,
    KeepAlive,
    LeaseReply,
    Leases,
    LeasesReply,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Reply,
    Revoke,
    Target,
    TimeToLive,
    Txn,
    TxnReply,
    encoder,
    reply_decoder,
)
from coterie.machine.kv.sizes import MAX_ANSWER_BYTES
from coterie.machine.stores import MemoryStore


def at(machine: KeyValue, time: int, *commands: Command, index: int = 1) -> list[Reply | str]:
    """The replies, at a cluster time in nanoseconds."""
    bodies = [encoder.encode(command) for command in commands]
    replies = machine.apply(Batch(index, time, range(len(bodies)), bodies))
    return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]


def ids(machine: KeyValue) -> tuple[int, ...]:
    reply = reply_decoder.decode(machine.query(encoder.encode(Leases())))  # type: ignore[arg-type]  # it is answered
    assert isinstance(reply, LeasesReply)
    return reply.leases


def test_what_is_refused_of_leases_and_how() -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5))
    before = kv.digest()
    assert do(
        kv,
        Grant(7, 9),
        Grant(8, 9_000_000_001),
        Grant(7, 9_000_000_001),
        Revoke(8),
        Revoke(0),
        KeepAlive(8),
        TimeToLive(8, True),
        TimeToLive(0),
        Put(b"a", b"", lease=8),
        Grant(1 << 63, 5),
    ) == [
        "lease already exists",
        "too large lease TTL",
        "too large lease TTL",
        "requested lease not found",
        "requested lease not found",
        LeaseReply(1, 8, 0),
        LeaseReply(1, 8, -1),
        LeaseReply(1, 0, -1),
        "requested lease not found",
        "a lease's id is a signed number of 64 bits, not 9223372036854775808",
    ]
    assert kv.digest() == before


def test_a_short_life_is_raised_and_an_id_may_be_negative() -> None:
    kv = KeyValue()
    granted = do(kv, Grant(1, 0), Grant(2, -5), Grant(3, 1), Grant(4, 3), Grant(-9, 9_000_000_000))
    assert granted == [
        LeaseReply(1, 1, 2, 2),
        LeaseReply(1, 2, 2, 2),
        LeaseReply(1, 3, 2, 2),
        LeaseReply(1, 4, 3, 3),
        LeaseReply(1, -9, 9_000_000_000, 9_000_000_000),
    ]
    assert ids(kv) == (-9, 1, 2, 3, 4)


def test_an_id_that_the_log_makes_is_new_though_a_client_took_it() -> None:
    kv = KeyValue()
    taken = 5 << 20 | 1
    replies = at(kv, 0, Grant(0, 5), Grant(0, 5), index=5)
    other = at(KeyValue(), 0, Grant(taken, 5), Grant(0, 5), Grant(0, 5), index=5)
    assert [r.lease for r in replies if isinstance(r, LeaseReply)] == [taken, taken + 1]
    assert [r.lease for r in other if isinstance(r, LeaseReply)] == [taken, taken + 1, taken + 2]


def test_a_lease_that_is_revoked_takes_its_keys_at_one_revision_in_their_order() -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Put(b"b", b"1", lease=7), Put(b"a", b"2", lease=7), Put(b"c", b"3"))
    assert ask(kv, Range(b"a", b"c")) == RangeReply(
        4, (Item(b"a", b"2", 3, 3, 1, 7), Item(b"b", b"1", 2, 2, 1, 7)), False, 2
    )
    assert do(kv, TimeToLive(7, True)) == [LeaseReply(4, 7, 5, 5, (b"a", b"b"))]
    assert do(kv, Revoke(7), Revoke(7)) == [LeaseReply(5, 7, 0), "requested lease not found"]
    assert [(item.key, item.version) for item in kv.events(5)] == [(b"a", 0), (b"b", 0)]
    assert ask(kv, Range(b"\0", b"\0", count_only=True)) == RangeReply(5, (), False, 1)
    assert do(kv, Grant(7, 5), Revoke(7), Put(b"d", b"")) == [LeaseReply(5, 7, 5, 5), LeaseReply(5, 7, 0), PutReply(6)]


@pytest.mark.parametrize(
    ("command", "lease"),
    [
        (Put(b"a", b"2"), 0),
        (Put(b"a", b"2", want_previous=True), 0),
        (Put(b"a", b"2", lease=8), 8),
        (Put(b"a", b"2", ignore_lease=True), 7),
        (Put(b"a", b"", ignore_value=True), 0),
        (Txn((), (Put(b"a", b""),)), 0),
        (Txn((), (Put(b"a", b"", lease=8), Put(b"b", b"", lease=7))), 8),
        (DeleteRange(b"a"), 0),
        (Txn((), (DeleteRange(b"a"), Range(b"a", revision=99))), 7),
        (Txn((), (DeleteRange(b"a"), Put(b"b", bytes(1 << 20)), *[Range(b"b")] * 5)), 7),
    ],
)
def test_attachments_follow_what_is_written_and_not_what_is_refused(command: Command, lease: int) -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Grant(8, 5), Put(b"a", b"1", lease=7))
    do(kv, command)
    replies = do(kv, TimeToLive(7, True), TimeToLive(8, True))
    held = [reply.keys for reply in replies if isinstance(reply, LeaseReply)]
    assert [b"a" in keys for keys in held] == [lease == 7, lease == 8]
    found = ask(kv, Range(b"a", keys_only=True))
    assert isinstance(found, RangeReply)
    assert [item.lease for item in found.items] == ([] if isinstance(command, DeleteRange) else [lease])


def test_a_comparison_may_look_at_the_lease() -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Put(b"a", b"", lease=7), Put(b"b", b"", lease=7), Put(b"c", b""))

    def holds(key: bytes, end: bytes, lease: int) -> bool:
        (reply,) = do(kv, Txn((Compare(key, Target.LEASE, Relation.EQUAL, lease, b"", end),), ()))
        assert isinstance(reply, TxnReply)
        return reply.succeeded

    assert holds(b"a", b"c", 7)
    assert not holds(b"a", b"d", 7)
    assert holds(b"c", b"", 0)
    assert holds(b"x", b"z", 0)


def test_the_time_that_is_left_is_cut_to_whole_seconds_and_begins_anew() -> None:
    kv = KeyValue()
    at(kv, 10 * SECOND, Grant(7, 5))
    assert kv.next_timer() == 15 * SECOND
    assert at(kv, 10 * SECOND + 1, TimeToLive(7)) == [LeaseReply(1, 7, 4, 5)]
    assert at(kv, 14 * SECOND, TimeToLive(7), KeepAlive(7)) == [LeaseReply(1, 7, 1, 5), LeaseReply(1, 7, 5, 5)]
    assert kv.next_timer() == 19 * SECOND


def test_leases_end_by_deadline_then_id_each_at_its_own_revision_and_without_keys_at_none() -> None:
    kv = KeyValue()
    do(kv, Grant(9, 3), Grant(4, 3), Grant(5, 2), Grant(6, 3), Grant(3, 9))
    do(kv, *(Put(b"k%d" % lease, b"", lease=lease) for lease in (3, 4, 5, 9)))
    kv.pass_time(2, 3 * SECOND)
    assert [[item.key for item in kv.events(revision)] for revision in (6, 7, 8)] == [[b"k5"], [b"k4"], [b"k9"]]
    assert kv.revision() == 8
    assert ids(kv) == (3,)
    assert kv.next_timer() == 9 * SECOND


def test_one_entry_ends_only_so_many_leases_and_the_next_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyspace, "MAX_ENDED", 4)
    host = Host(KeyValue())
    kv = host.machine
    assert isinstance(kv, KeyValue)
    host.apply(entry(1, segment(1, *(plain(encoder.encode(Grant(id, 2))) for id in range(1, 11)))), A, 1)
    left = []
    for index in range(2, 6):
        host.apply(noop(index, 5 * SECOND), A, 1)
        left.append(len(ids(kv)))
    assert left == [6, 2, 0, 0]


def test_an_answer_that_names_too_many_keys_is_refused() -> None:
    kv = KeyValue()
    key = bytes(60_000)
    do(kv, Grant(7, 5), *(Put(key + b"%d" % i, b"", lease=7) for i in range(MAX_ANSWER_BYTES // 60_000 + 1)))
    (reply,) = do(kv, TimeToLive(7, True))
    assert isinstance(reply, str)
    assert reply.startswith("the answer is larger than")
    assert do(kv, TimeToLive(7)) == [LeaseReply(kv.revision(), 7, 5, 5)]


def filled(host: Host) -> None:
    """Leases, some of whose keys went or changed hands."""
    commands: list[Command] = [Grant(id, 5 * id) for id in (1, 2, 3)]
    commands += [Put(b"k%d" % i, b"%d" % i, lease=1 + i % 3) for i in range(30)]
    commands += [Put(b"k3", b""), Put(b"k4", b"", lease=3), DeleteRange(b"k5"), Revoke(1), Compact(20)]
    host.apply(entry(1, segment(1, *(plain(encoder.encode(command)) for command in commands))), A, 1)


def test_leases_come_back_from_the_store_and_from_its_snapshots_and_end_there_as_elsewhere() -> None:
    disk = MemoryStore()
    host, memory = Host(KeyValue(), store=disk), Host(KeyValue())
    for each in (host, memory):
        filled(each)
    flush = host.begin_flush()
    assert flush is not None
    flush.perform()
    host.finish_flush(flush)
    hosts = [host, memory, Host(KeyValue(), store=disk)]
    view = host.snapshot_view()
    for fresh in (Host(KeyValue(), store=MemoryStore()), Host(KeyValue())):
        fresh.restore(list(view.chunks()))
        hosts.append(fresh)
    again = Host(KeyValue(), store=MemoryStore())
    again.restore(list(memory.snapshot()))
    for time in (6, 4, 5):
        for each in [*hosts, again]:
            each.apply(noop(each.applied + 1, time * SECOND), A, 1)
        assert len({each.digest() for each in [*hosts, again]}) == 1
        assert len({each.next_timer() for each in [*hosts, again]}) == 1
    assert host.next_timer() is None
    for each in [*hosts, again]:
        kept = each.query(encoder.encode(Range(b"\0", b"\0", keys_only=True)))
        assert isinstance(kept, bytes)
        reply = reply_decoder.decode(kept)
        assert isinstance(reply, RangeReply)
        assert [item.key for item in reply.items] == [b"k3"]


def test_keys_without_values_have_their_leases_when_they_are_read_from_the_store() -> None:
    disk = MemoryStore()
    kv = KeyValue()
    kv.attach(disk)
    do(kv, Grant(7, 5), Put(b"a", b"1", lease=7), Put(b"b", b"1"), Put(b"a", b"2"), Put(b"b", b"2", lease=7))
    for _ in range(2):
        flush = kv.begin_flush()
        view = disk.view()
        disk.write(flush.changes(view))
        view.close()
        kv.finish_flush(flush)
    again = KeyValue()
    again.attach(disk)
    for revision, leases in ((3, [7, 0]), (0, [0, 7])):
        reply = ask(again, Range(b"a", b"c", revision, keys_only=True))
        assert isinstance(reply, RangeReply)
        assert [(item.value, item.lease) for item in reply.items] == [(b"", lease) for lease in leases]


@pytest.mark.parametrize("leases", [[(7, 1, 5)], [(0, 5, 5)], [(7, 5, 5), (7, 5, 5)], [(8, 5, 5)], []])
def test_a_snapshot_with_leases_that_can_not_be_is_refused(leases: list[tuple[int, int, int]]) -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Put(b"a", b"1", lease=7))
    for id, lease in list(kv.space.leases.granted.items()):
        del kv.space.leases.granted[id]
        assert lease.keys == {b"a"}
    records = kv.space.leases.records
    assert records() == []
    kv.space.leases.records = lambda: leases  # type: ignore[method-assign]  # a snapshot that no machine makes
    for target in (KeyValue(),):
        with pytest.raises(ValueError, match="snapshot"):
            target.restore(kv.snapshot())
    with pytest.raises(ValueError, match="snapshot"):
        KeyValue().fill(MemoryStore(), kv.snapshot())
