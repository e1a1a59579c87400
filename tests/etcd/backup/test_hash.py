"""The hash of a view is the machine's own."""

from __future__ import annotations

from coterie.etcd.backup.machine_state import hash_view
from coterie.machine.host import Host
from coterie.machine.interface import Batch
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import AskHash, Compact, DeleteRange, HashReply, Put, encoder, reply_decoder


def test_a_hash_is_the_same_whether_a_view_is_hashed_or_the_machine_asked() -> None:
    machine = KeyValue()
    host = Host(machine)
    commands = [Put(b"a", b"1"), Put(b"b", b"2"), Put(b"a", b"3"), DeleteRange(b"b"), Compact(4), Put(b"c", b"4")]
    machine.apply(Batch(1, 0, range(len(commands)), [encoder.encode(command) for command in commands]))
    hashes = set()
    for revision in (0, 4, 5, machine.revision()):
        answer = machine.query(encoder.encode(AskHash(revision)))
        assert isinstance(answer, bytes)
        asked = reply_decoder.decode(answer)
        assert isinstance(asked, HashReply)
        view = host.snapshot_view()
        assert hash_view(view, revision) == asked
        view.close()
        hashes.add(asked.hash)
    assert len(hashes) == 3, "the hash does not look at the revision"
