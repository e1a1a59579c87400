"""Alarms and the hash over all items, by example."""

from __future__ import annotations

import pytest
from tests.machine.kv.test_examples import ask, do
from tests.machine.kv.test_transactions import nested

from coterie.machine.interface import Rejected
from coterie.machine.kv import KeyValue, alarms
from coterie.machine.kv.protocol import (
    AlarmKind,
    AlarmReply,
    AskAlarms,
    AskHash,
    Command,
    Compact,
    CompactReply,
    DeleteRange,
    DeleteReply,
    Grant,
    HashReply,
    KeepAlive,
    LeaseReply,
    Put,
    PutReply,
    Question,
    Range,
    RangeReply,
    Reply,
    Revoke,
    SetAlarm,
    TimeToLive,
    Txn,
    TxnReply,
    encoder,
    reply_decoder,
)
from coterie.machine.stores import MemoryStore

NOSPACE, CORRUPT = AlarmKind.NOSPACE, AlarmKind.CORRUPT
FULL, DIFFERS = "mvcc: database space exceeded", "corrupt cluster"
SECOND = 1_000_000_000


def asked(machine: KeyValue, question: Question) -> Reply | str:
    answer = machine.query(encoder.encode(question))
    return answer.reason if isinstance(answer, Rejected) else reply_decoder.decode(answer)


def test_without_space_what_needs_some_is_refused_and_the_rest_goes_on() -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Put(b"a", b"1", lease=7), Put(b"b", b"1"))
    assert do(kv, SetAlarm(1, NOSPACE, True)) == [AlarmReply(3, ((1, NOSPACE),))]
    before = kv.digest()
    refused: list[Command] = [
        Put(b"a", b"2"),
        Put(b"a", b"", lease=99),
        Put(b"x", b"", ignore_value=True),
        Txn((), (Put(b"a", b""),)),
        Txn((), (), (nested(otherwise=(Put(b"a", b""),)),)),
        Grant(8, 5),
        Grant(7, 9_000_000_001),
    ]
    for command in refused:
        assert do(kv, command) == [FULL]
    assert do(kv, Put(b"", b""), DeleteRange(b"")) == ["key is not provided"] * 2, "what is wrong in itself comes first"
    assert kv.digest() == before
    assert do(kv, DeleteRange(b"b"), Compact(3), KeepAlive(7), Revoke(7)) == [
        DeleteReply(4, 1),
        CompactReply(4),
        LeaseReply(4, 7, 5, 5),
        LeaseReply(5, 7, 0),
    ]
    assert do(kv, Txn((), (DeleteRange(b"x"),))) == [TxnReply(5, True, (DeleteReply(5, 0),))]
    assert ask(kv, Range(b"a")) == RangeReply(5, (), False, 0)


def test_of_a_batch_the_puts_after_the_alarm_are_refused_and_those_after_its_end_are_not() -> None:
    on, off = SetAlarm(1, NOSPACE, True), SetAlarm(1, NOSPACE, False)
    replies = do(KeyValue(), Put(b"a", b""), on, Put(b"a", b""), off, Put(b"a", b""))
    assert [replies[0], replies[2], replies[4]] == [PutReply(2), FULL, PutReply(3)]


def test_of_a_corrupt_cluster_nothing_is_read_or_written_and_no_lease_ends() -> None:
    kv = KeyValue()
    do(kv, Grant(7, 5), Put(b"a", b"1", lease=7), SetAlarm(1, CORRUPT, True), SetAlarm(1, NOSPACE, True))
    before = kv.digest()
    refused: list[Command] = [
        Put(b"a", b""),
        DeleteRange(b"a"),
        Txn((), (Range(b"a"),)),
        Compact(2),
        Grant(8, 5),
        Revoke(7),
    ]
    for command in refused:
        assert do(kv, command) == [DIFFERS]
    assert ask(kv, Range(b"a")) == DIFFERS
    assert ask(kv, Range(b"")) == "key is not provided"
    assert do(kv, TimeToLive(7)) == [LeaseReply(2, 7, 5, 5)]
    assert kv.next_timer() is None
    assert kv.digest() == before
    assert isinstance(asked(kv, AskHash()), HashReply)
    do(kv, SetAlarm(0, CORRUPT, False))
    assert kv.next_timer() == 5 * SECOND
    assert do(kv, DeleteRange(b"a")) == [DeleteReply(3, 1)]


def test_clearing_names_what_was_cleared_and_raising_what_is_on() -> None:
    kv = KeyValue()
    raised = do(kv, *(SetAlarm(m, k, True) for m, k in ((2, CORRUPT), (1, NOSPACE), (1, CORRUPT), (1, NOSPACE))))
    assert raised == [AlarmReply(1, (alarm,)) for alarm in ((2, CORRUPT), (1, NOSPACE), (1, CORRUPT), (1, NOSPACE))]
    assert do(kv, SetAlarm(1, AlarmKind.NONE, True)) == [AlarmReply(1, ())]
    assert asked(kv, AskAlarms()) == AlarmReply(1, ((1, NOSPACE), (1, CORRUPT), (2, CORRUPT)))
    assert asked(kv, AskAlarms(CORRUPT)) == AlarmReply(1, ((1, CORRUPT), (2, CORRUPT)))
    assert do(kv, SetAlarm(2, NOSPACE, False), SetAlarm(0, CORRUPT, False)) == [
        AlarmReply(1, ()),
        AlarmReply(1, ((1, CORRUPT), (2, CORRUPT))),
    ]
    assert do(kv, SetAlarm(1, AlarmKind.NONE, False)) == [AlarmReply(1, ((1, NOSPACE),))]
    assert asked(kv, AskAlarms()) == AlarmReply(1, ())


def test_alarms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "MAX_ALARMS", 1)
    kv = KeyValue()
    do(kv, SetAlarm(1, NOSPACE, True))
    assert do(kv, SetAlarm(2, NOSPACE, True), SetAlarm(1 << 63, NOSPACE, False), SetAlarm(-1, NOSPACE, False)) == [
        "there are 1 alarms, the limit is 1: clear some",
        AlarmReply(1, ()),
        "a member is an unsigned number of 64 bits, not -1",
    ]


def test_alarms_come_back_from_the_store_and_from_snapshots() -> None:
    disk = MemoryStore()
    kv = KeyValue()
    kv.attach(disk)

    def flush() -> None:
        begun = kv.begin_flush()
        view = disk.view()
        disk.write(begun.changes(view))
        view.close()
        kv.finish_flush(begun)

    do(kv, SetAlarm(1, NOSPACE, True), SetAlarm(2, CORRUPT, True))
    flush()
    do(kv, SetAlarm(2, CORRUPT, False))
    flush()
    again, memory, filled = KeyValue(), KeyValue(), KeyValue()
    again.attach(disk)
    memory.restore(kv.snapshot())
    other = MemoryStore()
    filled.attach(other)
    filled.fill(other, kv.snapshot())
    filled.reload()
    for each in (again, memory, filled):
        assert asked(each, AskAlarms()) == AlarmReply(1, ((1, NOSPACE),))
        assert do(each, Put(b"a", b"")) == [FULL]
        assert each.digest() == kv.digest()


def test_the_hash_is_of_what_is_there_and_refused_where_a_range_is() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"), Put(b"b", b"1"), Put(b"a", b"2"), DeleteRange(b"b"))

    def number(machine: KeyValue, revision: int = 0) -> int:
        reply = asked(machine, AskHash(revision))
        assert isinstance(reply, HashReply)
        assert 0 <= reply.hash < 1 << 32
        assert (reply.revision, reply.compacted) == (machine.revision(), machine.store.compacted)
        return reply.hash

    numbers = [number(kv, revision) for revision in range(1, 6)]
    assert len(set(numbers)) == 5
    assert number(kv) == numbers[-1]
    do(kv, Put(b"c", b""))
    assert number(kv, 5) == numbers[-1], "what comes later does not matter"
    do(kv, Compact(4))
    assert number(kv, 5) != numbers[-1], "a compaction does"
    assert asked(kv, AskHash(3)) == "mvcc: required revision has been compacted"
    assert asked(kv, AskHash(7)) == "mvcc: required revision is a future revision"
    swapped = KeyValue()
    do(swapped, Put(b"a", b"1"), Put(b"b", b"1"), Put(b"b", b"2"))
    straight = KeyValue()
    do(straight, Put(b"a", b"1"), Put(b"b", b"1"), Put(b"a", b"2"))
    assert number(swapped) != number(straight)
