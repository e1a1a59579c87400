"""A member that is given one snapshot after the other: what its log was reset to stays until the machine has it."""

from __future__ import annotations

from tests.engine.test_full_disk import SECOND, Alone

from coterie.core.replica import SnapshotChunk
from coterie.engine.protocol import Submit
from coterie.engine.snapshot_jobs import ReceiveJob, TakeJob
from coterie.engine.snapshots import Snapshots
from coterie.machine.kv.protocol import Put, encoder
from coterie.storage.snapshots import SnapshotDirectory


def test_a_snapshot_that_waits_to_be_installed_outlives_newer_ones() -> None:
    """N12: the store is being written, so an installation waits; each newer snapshot that comes meanwhile has the
    oldest removed."""
    sent = [snapshot_with(keys) for keys in (3, 4, 5, 6)]
    member = Alone()
    directory = member.disk.snapshots()
    snapshots = Snapshots(
        own=1,
        host=member.engine.host,
        replica=member.engine.replica,
        ports=member,
        directory=directory,
        durable=True,
        log_bytes=0,
    )
    put(member, 1)
    assert snapshots.flush_store()
    flush = member.jobs.pop()
    assert receive(directory, sent[0])
    snapshots.install(sent[0].meta)
    snapshots.flush(member.now)
    assert snapshots.busy
    assert not member.jobs  # it waits for the flush
    for newer in sent[1:]:
        assert receive(directory, newer)
    flush.perform()
    snapshots.worked(member.now, flush, None)
    snapshots.flush(member.now)
    install = member.jobs.pop()
    install.perform()
    assert snapshots.worked(member.now, install, None) == sent[0].meta
    assert member.engine.host.applied == sent[0].meta.index
    assert receive(directory, snapshot_with(7))
    assert sent[0].meta not in [meta for meta, _ in directory.kept()]  # nobody needs it any more


def snapshot_with(keys: int) -> SnapshotChunk:
    """The whole of a snapshot of a machine with so many keys."""
    leader = Alone()
    for number in range(keys):
        put(leader, number)
    assert leader.engine.flush_store()
    leader.run(leader.now + SECOND)
    directory = leader.disk.snapshots()
    take = TakeJob(directory, leader.engine.host.snapshot_view(), asked_for=True)
    take.perform()
    return SnapshotChunk(take.meta, take.size, 0, directory.chunk(take.meta.index, 0, take.size))


def receive(directory: SnapshotDirectory, snapshot: SnapshotChunk) -> bool:
    """Whether it is whole on the disk."""
    job = ReceiveJob(directory, [snapshot])
    job.perform()
    return job.whole


def put(alone: Alone, number: int) -> None:
    before = alone.engine.host.applied
    alone.engine.request(alone.now, "client", Submit(number, 0, 0, 0, encoder.encode(Put(b"k%d" % number, b"v"))))
    alone.run(alone.now + SECOND)
    assert alone.engine.host.applied > before
