"""A host on a store: what it holds after a crash at any moment, its snapshots, and their restoration."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.machine.machines import SECOND, A, Recorder, entry, noop, plain, segment

from coterie.core.errors import CoterieError
from coterie.core.messages import AnyCommand, Command, SessionClose, SessionOpen
from coterie.core.settings import Settings
from coterie.core.types import Entry, EntryKind, Epoch, Member, Membership
from coterie.machine.host import Host
from coterie.machine.host_state import FLUSH_BYTES, FLUSH_ENTRIES
from coterie.machine.interface import Rejected
from coterie.machine.kv import KeyValue, filling
from coterie.machine.kv.protocol import Compact, DeleteRange, Grant, KeepAlive, Put, Range, Revoke, encoder
from coterie.machine.stores import LmdbStore, MemoryStore, OrderedStore, StoreFailed
from coterie.machine.stores.interface import Change

SESSIONS = [1 << 20 | (ordinal + 1) for ordinal in range(3)]


def a_log(length: int, seed: int) -> list[Entry]:
    """Entries of every kind: sessions that open, retry, acknowledge and close; puts, deletions, compactions, leases."""
    dice = random.Random(seed)
    log = [entry(1, segment(1, *(SessionOpen(dice.choice((5, 60)) * SECOND) for _ in SESSIONS)))]
    number, seqs, revision = 4, dict.fromkeys(SESSIONS, 1), 1
    while len(log) < length:
        index, kind = len(log) + 1, dice.randrange(12)
        if kind == 0:
            member = Member(dice.randrange(1, 99), "n", "n:1", "n:2")
            payload = msgspec.msgpack.encode(Membership((member,), (member.id,)))
            log.append(Entry(index, Epoch(1, 0), EntryKind.MEMBERSHIP, SECOND, payload))
        elif kind == 1:
            payload = msgspec.msgpack.encode(Settings(max_session_replies=dice.randrange(2, 9)))
            log.append(Entry(index, Epoch(1, 0), EntryKind.SETTINGS, 0, payload))
        elif kind == 2:
            log.append(noop(index, SECOND))
        else:
            commands: list[AnyCommand] = []
            for _ in range(dice.randrange(1, 6)):
                revision += 1
                key, lease = b"k%d" % dice.randrange(9), dice.randrange(1, 4)
                choices = (
                    Put(key, b"%d" % revision),
                    Put(key, b""),
                    DeleteRange(key),
                    Compact(revision // 2),
                    Put(key, b"", lease=lease),
                    dice.choice((Grant(lease, dice.randrange(2, 9)), KeepAlive(lease), Revoke(lease))),
                )
                body = encoder.encode(dice.choice(choices))
                session = dice.choice([0, *SESSIONS])
                if session == 0:
                    commands.append(plain(body))
                elif dice.random() < 0.03:
                    commands.append(SessionClose(session))
                else:
                    seqs[session] += dice.choice((0, 1))
                    commands.append(Command(session, seqs[session], max(1, seqs[session] - dice.randrange(4)), body))
            log.append(entry(index, segment(number, *commands)))
            number += len(commands)
    return log


def apply(host: Host, log: Iterable[Entry]) -> list[object]:
    return [host.apply(each, A, 1) for each in log if each.index > host.applied]


def flush(host: Host) -> None:
    begun = host.begin_flush()
    if begun is not None:
        begun.perform()
        host.finish_flush(begun)


class Stopped(Exception):
    """The process died here."""


class Dying(MemoryStore):
    """Dies before its n-th change of the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1 << 60

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped

    def write(self, batch: Iterable[Change]) -> None:
        self._step()
        super().write(batch)

    def sync(self) -> None:
        self._step()
        super().sync()


def state(host: Host) -> tuple[object, ...]:
    return host.digest(), host.chain, host.meta(), host.applied, host.time, host.next_timer(), host.kept_reply_bytes


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_after_a_crash_anywhere_the_store_holds_the_state_at_one_index_and_the_log_does_the_rest(
    seed: int, data: st.DataObject
) -> None:
    log = a_log(60, seed)
    twin = Host(KeyValue())
    states = [state(twin)]
    results = []
    for each in log:
        results.append(twin.apply(each, A, 1))
        states.append(state(twin))
    disk = Dying()
    for _ in range(data.draw(st.integers(1, 4), "lives")):
        disk.left = 1 << 60
        host = Host(KeyValue(), store=disk)
        assert state(host) == states[host.applied]
        assert host.persisted == host.applied
        persisted = host.persisted
        disk.left = data.draw(st.integers(1, 8), "calls before it dies")
        begun = None
        try:
            for each in log[host.applied : host.applied + data.draw(st.integers(0, 30), "entries")]:
                assert host.apply(each, A, 1) == results[each.index - 1]
                what = data.draw(st.sampled_from(("nothing", "begin", "perform", "finish")))
                if begun is None and what == "begin":
                    begun = host.begin_flush()
                elif begun is not None and what == "perform":
                    begun.perform()
                elif begun is not None and what == "finish":
                    begun.perform()
                    host.finish_flush(begun)
                    persisted, begun = begun.index, None
                    assert host.persisted == persisted
                    view = host.snapshot_view()
                    restored = Host(KeyValue())
                    restored.restore(view.chunks())
                    view.close()
                    assert state(restored) == states[persisted]
                assert state(host) == states[each.index]
        except Stopped:
            pass
        disk.crash(data.draw(st.integers(0, 3), "batches lost"))
        disk.left = 1 << 60
        assert Host(KeyValue(), store=disk).applied >= persisted, "what a finished flush held is there"
    host = Host(KeyValue(), store=disk)
    apply(host, log)
    assert state(host) == states[-1]


def test_only_sessions_that_changed_are_written(tmp_path: Path) -> None:
    store = MemoryStore()
    host = Host(KeyValue(), store=store)
    host.apply(entry(1, segment(1, *(SessionOpen(60 * SECOND) for _ in range(100)))), A, 1)
    flush(host)
    host.apply(entry(2, segment(101, Command(SESSIONS[1], 1, 1, encoder.encode(Put(b"k", b"v"))))), A, 1)
    begun = host.begin_flush()
    assert begun is not None
    view = store.view()
    written = [key for key, _ in begun._changes(view) if key.startswith(b"s")]
    assert written == [b"s" + SESSIONS[1].to_bytes(8, "big")]


@pytest.mark.parametrize("disk", ["memory", "lmdb"])
def test_a_view_shows_the_flushed_state_while_applies_and_flushes_go_on(disk: str, tmp_path: Path) -> None:
    store: OrderedStore = MemoryStore() if disk == "memory" else LmdbStore(str(tmp_path))
    log = a_log(200, 3)
    host = Host(KeyValue(), store=store)
    with pytest.raises(CoterieError, match="nothing in the store"):
        host.snapshot_view()
    apply(host, log[:100])
    flush(host)
    expected = state(host)
    apply(host, log[100:120])
    view = host.snapshot_view()
    assert (view.meta.index, view.meta) == (100, expected[2])
    chunks = view.chunks()
    taken = [next(chunks)]
    apply(host, log[120:])
    flush(host)
    taken += chunks
    view.close()
    twin = Host(KeyValue())
    twin.restore(taken)
    assert state(twin) == expected
    apply(twin, log)
    assert state(twin) == state(host)
    host.close()


def test_a_restoration_cut_off_anywhere_leaves_the_old_state_or_none_and_can_be_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "BATCH_ITEMS", 8)
    old, new = a_log(50, 1), a_log(300, 2)
    source = Host(KeyValue())
    apply(source, new)
    chunks = list(source.snapshot())
    for calls in range(1, 40):
        for lost in (0, 1, 99):
            disk = Dying()
            host = Host(KeyValue(), store=disk)
            apply(host, old)
            flush(host)
            before = state(host)
            apply(host, new[50:60])
            disk.left = calls
            try:
                host.restore(chunks)
            except Stopped:
                disk.crash(lost)
                disk.left = 1 << 60
                host = Host(KeyValue(), store=disk)
                assert state(host) in (before, state(Host(KeyValue())), state(source))
                host.restore(chunks)
            else:
                assert calls > 8, "it takes several batches"
            assert state(host) == state(source)
            assert host.persisted == source.applied
            again = Host(KeyValue(), store=disk)
            assert state(again) == state(source)


def test_a_damaged_snapshot_leaves_no_state_on_the_disk() -> None:
    source = Host(KeyValue())
    apply(source, a_log(40, 5))
    whole = b"".join(source.snapshot())
    for cut in range(0, len(whole), 7):
        disk = MemoryStore()
        host = Host(KeyValue(), store=disk)
        with pytest.raises(ValueError, match="snapshot"):
            host.restore([whole[:cut]])
        assert Host(KeyValue(), store=disk).applied == 0


def test_questions_are_refused_while_a_snapshot_is_installed() -> None:
    source = Host(KeyValue())
    apply(source, a_log(40, 5))
    host = Host(KeyValue(), store=MemoryStore())
    restoration = host.begin_restore(list(source.snapshot()))
    question = encoder.encode(Range(b"\0", b"\0"))
    assert isinstance(host.query(question), Rejected)
    restoration.perform()
    host.finish_restore(restoration)
    assert host.query(question) == source.query(question)


def test_a_flush_without_space_is_tried_again_with_the_same_bytes() -> None:
    class Full(MemoryStore):
        full = True

        def sync(self) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "no space")
            super().sync()

    disk = Full()
    disk.full = False
    log = a_log(60, 9)
    host = Host(KeyValue(), store=disk)
    disk.full = True
    apply(host, log[:40])
    expected = state(host)
    begun = host.begin_flush()
    assert begun is not None
    with pytest.raises(OSError, match="no space"):
        begun.perform()
    apply(host, log[40:])
    disk.full = False
    begun.perform()
    host.finish_flush(begun)
    disk.crash(99)
    assert state(Host(KeyValue(), store=disk)) == expected


def test_a_flush_is_due_when_enough_has_gathered_and_not_while_one_is_under_way() -> None:
    host = Host(KeyValue(), store=MemoryStore())
    assert host.begin_flush() is None, "nothing was applied"
    value = bytes(1 << 20)
    for index in range(1, FLUSH_BYTES // len(value) + 1):
        assert not host.flush_due
        host.apply(entry(index, segment(index, plain(encoder.encode(Put(b"k", value))))), A, 1)
    assert host.flush_due
    begun = host.begin_flush()
    assert begun is not None
    assert not host.flush_due


def test_a_flush_is_due_after_many_small_entries_so_that_a_restart_has_few_to_apply_again() -> None:
    host = Host(KeyValue(), store=MemoryStore())
    for index in range(1, FLUSH_ENTRIES + 1):
        assert not host.flush_due
        host.apply(noop(index), A, 1)
    assert host.flush_due
    begun = host.begin_flush()
    assert begun is not None
    host.apply(noop(FLUSH_ENTRIES + 1), A, 1)
    begun.perform()
    host.finish_flush(begun)
    assert (host.persisted, host.flush_due) == (FLUSH_ENTRIES, False)


def test_a_machine_in_memory_takes_its_chunks_at_once_and_needs_no_store(tmp_path: Path) -> None:
    store = LmdbStore(str(tmp_path))
    host = Host(Recorder(), store=store)
    host.apply(entry(1, segment(1, plain(b"x"))), A, 1)
    assert (host.begin_flush(), host.flush_due, host.persisted) == (None, False, 0)
    view = host.snapshot_view()
    host.apply(entry(2, segment(2, plain(b"y"))), A, 1)
    twin = Host(Recorder())
    twin.restore(view.chunks())
    view.close()
    assert (twin.applied, twin.query(b"count"), view.meta.index) == (1, b"1", 1)
    twin.apply(entry(2, segment(2, plain(b"y"))), A, 1)
    assert twin.digest() == host.digest()


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    host = Host(KeyValue(), store=store)
    host.apply(noop(1), A, 1)
    flush(host)
    store.write([(b"h0", b"\x93\x09\x01\x02")])
    with pytest.raises(StoreFailed, match="not readable"):
        Host(KeyValue(), store=store)
