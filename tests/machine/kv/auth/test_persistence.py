"""Auth goes to the store in the same batch as the data, and into snapshots, and comes back from both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.kv.auth.test_gate import run
from tests.machine.kv.auth.test_store import COMMANDS, FOUNDATION, TOKENS, USERS

from coterie.machine.kv import KeyValue
from coterie.machine.kv.auth.protocol import Authorised, IssueToken, TouchToken, UserAdd
from coterie.machine.kv.auth.stored import AUTH, STATE
from coterie.machine.kv.protocol import Command, Grant, Put, encoder
from coterie.machine.stores import MemoryStore, StoreFailed

ISSUED = st.builds(IssueToken, USERS, TOKENS, st.just(1 << 40))
PUTS = st.builds(Put, st.sampled_from([b"a", b"b"]), st.binary(max_size=3), lease=st.integers(0, 1))
ANY = st.one_of(COMMANDS, ISSUED, st.builds(TouchToken, TOKENS), PUTS, st.just(Grant(1, 60)))
BATCHES = st.lists(st.lists(ANY, min_size=1, max_size=6), max_size=8)


def applied(machine: KeyValue, commands: list[Command], time: int) -> None:
    """By root, if auth is on and it is not what members say."""
    for command in commands:
        if machine.auth.enabled and not isinstance(command, IssueToken | TouchToken):
            command = Authorised("root", machine.auth.revision, encoder.encode(command))
        run(machine, command, time=time)


def flushed(machine: KeyValue, store: MemoryStore) -> None:
    view = store.view()
    flush = machine.begin_flush()
    store.write(flush.changes(view))
    view.close()
    machine.finish_flush(flush)
    assert machine.unflushed_items == 0


@given(BATCHES, st.sets(st.integers(0, 8)))
def test_a_machine_is_the_same_on_a_store_after_a_restart_and_after_a_snapshot(
    batches: list[list[Command]], flushes: set[int]
) -> None:
    in_memory, store = KeyValue(), MemoryStore()
    on_store = KeyValue()
    on_store.attach(store)
    for machine in (in_memory, on_store):
        applied(machine, list(FOUNDATION), 0)
    for time, commands in enumerate(batches):
        for machine in (in_memory, on_store):
            applied(machine, commands, time)
            machine.pass_time(1, time)
        if time in flushes:
            flushed(on_store, store)
        assert on_store.digest() == in_memory.digest()
        assert on_store.next_timer() == in_memory.next_timer()
    flushed(on_store, store)
    view = store.view()
    snapshot = b"".join(on_store.stored_chunks(view))
    view.close()
    restored, filled, restarted = KeyValue(), KeyValue(), KeyValue()
    restored.restore([snapshot])
    filling = MemoryStore()
    filled.attach(filling)
    filled.fill(filling, [snapshot])
    filled.reload()
    restarted.attach(store)
    for machine in (restored, filled, restarted):
        assert machine.digest() == in_memory.digest()
        assert machine.next_timer() == in_memory.next_timer()
        assert machine.auth.records() == in_memory.auth.records()


def test_nothing_of_auth_is_in_the_store_or_a_snapshot_before_anyone_uses_it() -> None:
    machine, store = KeyValue(), MemoryStore()
    machine.attach(store)
    run(machine, Put(b"a", b"1"))
    before = b"".join(machine.snapshot())
    flushed(machine, store)
    view = store.view()
    assert list(view.range(AUTH, AUTH + b"\xff")) == []
    view.close()
    run(machine, UserAdd("u", b"h"))
    assert len(b"".join(machine.snapshot())) > len(before)


def test_a_store_whose_auth_cannot_be_read_is_refused() -> None:
    for value in (b"\xc1", b"\x93\x01\xc3\x05"):  # no record; auth on, and no root
        store = MemoryStore()
        store.write([(STATE, value)])
        with pytest.raises(StoreFailed, match="the machine's store is not readable"):
            KeyValue().attach(store)
