"""When a snapshot is taken, how one that comes from the leader is kept and installed, and what a restart needs.

**When.** Once the log has grown by `settings.snapshot_log_bytes` since the last one, and by
`settings.snapshot_log_ratio` times that one's size (LogCabin's rule: writing snapshots then costs at most
a fixed share of writing the log). Members take turns: each waits for a bit more than the one before it,
so that not all disks are busy at once. Never two at once, and none while one is received or installed.

A machine in memory has its state from these files alone. So the log is kept back to the snapshot before the
newest: if the newest turns out to be damaged, that one and the log do.

A machine that keeps its state in a store of its own needs no file for that: once the store has what the
log says, durably, the log may forget it. It writes a file only when a follower needs one.

**Never on the loop.** The machine gives a view that stands still; a job writes it to a file while
commands are applied. A machine that keeps its state in a store is flushed first: what the store holds
is what the snapshot holds.

**Installing** takes the leader's chunks to a file, has it checked, tells the replica (which resets the log:
the commit point), and then replaces the machine's state. Entries that are handed out meanwhile wait.
"""

from __future__ import annotations

from coterie.core.config import MILLISECOND
from coterie.core.errors import CoterieError
from coterie.core.records import Recovered
from coterie.core.replica import Replica, SnapshotChunk
from coterie.core.types import Index, MemberId, Nanos, SnapshotMeta
from coterie.engine.ports import Event, Ports
from coterie.engine.snapshot_jobs import FlushJob, InstallJob, ReceiveJob, TakeJob
from coterie.engine.work import Job, lacks_space
from coterie.machine.host import Host
from coterie.storage.snapshots import SnapshotDirectory

NEVER: Nanos = 1 << 62
RETRY_INTERVAL: Nanos = 1000 * MILLISECOND
"""At least so long after a snapshot or a flush found no space: an election may wait for it ..."""
RETRY_SHARE = 4
"""... and so many times what the attempt took: a large snapshot that never fits keeps the disk a fifth of the time."""
LOOK_EVERY: Index = 16
"""So many entries after it was asked whether a flush is due, it is asked again (thousands make one due) ..."""
LOOK_EVERY_BYTES = 256 * 1024
"""... or after so many bytes of them."""
ENTRY_OVERHEAD_BYTES = 48
"""What an entry takes in the log beside its payload, about."""


class NoState(CoterieError):
    """Neither store nor snapshot holds what the log begins after."""

    def __init__(self, message: str, *, repairable: bool) -> None:
        """`repairable`: it is lost for certain, so the others may give it back; False: the disk may give it yet."""
        advice = (
            "remove this member from the cluster, then add it again and start it with an empty data directory: the "
            "others have the state"
        )
        super().__init__(message, advice=advice if repairable else f"check the disk and start again; or {advice}")
        self.repairable = repairable


def restore_newest(host: Host, directory: SnapshotDirectory | None, recovered: Recovered) -> list[Event]:
    """At the start: finish an installation that was begun, or give a machine in memory its state. Returns what
    people should know. Raises `NoState` if the log begins after what there is, `StorageError`, `OSError`."""
    base = recovered.base.index
    if host.applied > 0 and host.applied >= base:
        return []
    snapshot = directory.newest(base) if directory is not None else None
    readable = directory is None or all(problem.readable for problem in directory.problems)
    problems = _problems(directory)
    if snapshot is not None:
        assert directory is not None
        host.restore(directory.chunks(snapshot.meta))
        if not problems:
            return []
        text = f"fell back to the snapshot at entry {snapshot.meta.index}: {problems}"
        return [Event("snapshot-fallback", text, {"index": snapshot.meta.index})]
    if host.applied < base:
        raise NoState(
            f"the log begins after entry {base}, and no store and no snapshot here holds the state up to it"
            + (f": {problems}" if problems else ""),
            repairable=readable,
        )
    if problems:
        return [Event("snapshot-fallback", f"no snapshot can be used, the whole log is replayed: {problems}")]
    return []


def _problems(directory: SnapshotDirectory | None) -> str:
    """What was found damaged since the last call, in words."""
    if directory is None or not directory.problems:
        return ""
    found, directory.problems = directory.problems, []
    return "; ".join(str(problem) for problem in found)


class Snapshots:
    """One engine's snapshots and flushes."""

    def __init__(
        self,
        *,
        own: MemberId,
        host: Host,
        replica: Replica,
        ports: Ports,
        directory: SnapshotDirectory | None,
        durable: bool,
        log_bytes: int,
    ) -> None:
        """`directory`: None: no snapshots, the log keeps everything. `durable`: the machine's state is in a store.
        `log_bytes`: of the log at the start."""
        self._own = own
        self._host = host
        self._replica = replica
        self._ports = ports
        self._directory = directory
        self._durable = durable
        self.grown = log_bytes
        """Bytes by which the log grew since the last snapshot, about."""
        self._last_size = 0
        self._last_index: Index = 0
        self._fresh = False
        """The store was flushed for the snapshot that is due."""
        self._asked_for = False
        """A follower needs a snapshot."""
        self._held_back: tuple[SnapshotMeta, int] | None = None
        """A file that the replica does not know of: the log is not compacted under it before there is a newer one."""
        self._look_at: Index = 0
        """From which entry on it is asked again whether a flush is due, ..."""
        self._looked_at_grown = 0
        """... or when the log has grown by much since."""
        self._flushing: FlushJob | None = None
        self._taking: TakeJob | None = None
        self._receiving: ReceiveJob | None = None
        self._arrived: list[SnapshotChunk] = []
        self._received_size = 0
        self._to_install: SnapshotMeta | None = None
        self._installing: InstallJob | None = None
        self._again: FlushJob | InstallJob | None = None
        """Work on the store that found no space, and is tried again as it is ..."""
        self._again_at: Nanos = NEVER
        """... then."""
        self._retry_take_at: Nanos = 0
        self._take_began: Nanos = 0

    def begin(self, now: Nanos) -> None:
        """Tell the replica of the newest snapshot on disk, and of what the store holds. The log may not lead there:
        what was applied need not have been on this member's own disk."""
        host = self._host
        kept = self._directory.kept() if self._directory is not None else []
        if kept:
            self._last_index, self._last_size = kept[0][0].index, 0 if self._durable else kept[0][1]
            tell = kept[0]
            if not self._durable and len(kept) > 1 and self._log_spans(kept[1][0].index, kept[0][0]):
                tell, self._held_back = kept[1], kept[0]
            if tell[0].index <= host.applied or self._is_whole(tell[0]):
                self._replica.snapshot_taken(now, *tell)
        if self._durable and host.applied > self._last_index:
            self._last_index = host.applied
            self._replica.snapshot_taken(now, host.meta(), 0)

    def _log_spans(self, older: Index, newer: SnapshotMeta) -> bool:
        """Whether the log holds what lies between two snapshots: else it has to give way to the newer one at once."""
        return older >= self._replica.first_index - 1 and self._replica.leads_to(newer)

    def _is_whole(self, meta: SnapshotMeta) -> bool:
        """Looked at before the log is reset to it and it is installed."""
        assert self._directory is not None
        newest = self._directory.newest(meta.index)
        return newest is not None and newest.meta.index == meta.index

    @property
    def busy(self) -> bool:
        """The machine's state is being replaced: nothing may be applied."""
        return self._to_install is not None or self._installing is not None

    # -- inputs --------------------------------------------------------------------------------

    def want(self) -> None:
        """A follower needs a snapshot, and no file can be sent to it."""
        self._asked_for = self._taking is None

    def chunks(self, chunks: list[SnapshotChunk]) -> None:
        """Pieces of a snapshot that the leader sends: no more than its window, until they are written."""
        self._arrived.extend(chunks)

    def install(self, meta: SnapshotMeta) -> None:
        """The log was reset to this snapshot: the machine must follow."""
        assert self._directory is not None
        if self._to_install is not None:
            self._directory.release(self._to_install)
        self._directory.hold(meta)  # newer ones may come before this one is in
        self._to_install = meta

    def worked(self, now: Nanos, job: Job, problem: Exception | None) -> SnapshotMeta | None:
        """A job is done, or failed. Returns the snapshot that the machine now holds, if it was installed.

        Raises what ends the node."""
        if job is self._flushing:
            self._flushing = None
            self._flushed(now, job, problem)
        elif job is self._taking:
            self._taking = None
            self._taken(now, job, problem)
        elif job is self._receiving:
            self._receiving = None
            self._received(now, job, problem)
        elif job is self._installing:
            return self._installed(now, job, problem)
        return None

    # -- what is due -----------------------------------------------------------------------------

    def flush(self, now: Nanos) -> bool:
        """Begin what is due; cheap if nothing is. Returns whether the replica was told something."""
        if self._arrived and self._receiving is None:
            assert self._directory is not None
            self._receiving = ReceiveJob(self._directory, self._arrived)
            self._arrived = []
            self._ports.work(self._receiving)
        if self._again is not None and now >= self._again_at:
            job, self._again, self._again_at = self._again, None, NEVER
            self._ports.work(job)
        if self._flushing is not None or self._installing is not None:
            return False
        if self._to_install is not None:
            self._begin_install(self._to_install)
        elif self._fresh or self._due(now):
            # Before a flush that is due: it begins with one, and under load the next is always due.
            return self._take(now)
        elif self._host.applied >= self._look_at or not 0 <= self.grown - self._looked_at_grown < LOOK_EVERY_BYTES:
            self._look_at, self._looked_at_grown = self._host.applied + LOOK_EVERY, self.grown
            if self._host.flush_due:
                self._begin_flush()
        return False

    def flush_store(self) -> bool:
        """See `Engine.flush_store`."""
        if self._flushing is None and not self.busy:
            self._begin_flush()
        return self._flushing is not None

    @property
    def flushing(self) -> bool:
        """Whether the store is being written."""
        return self._flushing is not None

    def _due(self, now: Nanos) -> bool:
        if (
            self._directory is None
            or self._taking is not None
            or self._receiving is not None
            or now < self._retry_take_at
        ):
            return False
        if not self._asked_for and (self.grown < self._host.settings.snapshot_log_bytes or self.grown < self._limit):
            return False
        return self._host.applied > 0

    @property
    def _limit(self) -> int:
        """Bytes of log growth from which on a snapshot is due: a bit more for each member than for the one before."""
        settings = self._host.settings
        limit = max(settings.snapshot_log_bytes, settings.snapshot_log_ratio * self._last_size)
        ids = sorted(member.id for member in self._host.membership.members)
        rank = ids.index(self._own) if self._own in ids else 0
        return limit + limit * rank // (2 * max(1, len(ids)))

    def deadline(self) -> Nanos:
        """When something is due without any input."""
        if self._retry_take_at and self._taking is None and (self._asked_for or self.grown >= self._limit):
            return min(self._again_at, self._retry_take_at)
        return self._again_at

    # -- flushing --------------------------------------------------------------------------------

    def _begin_flush(self) -> bool:
        flush = self._host.begin_flush()
        if flush is None:
            return False
        self._flushing = FlushJob(flush)
        self._ports.work(self._flushing)
        return True

    def _flushed(self, now: Nanos, job: Job, problem: Exception | None) -> None:
        assert isinstance(job, FlushJob)
        if problem is None:
            self._host.finish_flush(job.flush)
            self._look_at = 0
        elif lacks_space(problem):
            # What was set aside stays so, and this stays the one flush under way.
            self._flushing = job
            self._try_again(now, job, "no space to write the machine's store")
        else:
            raise problem

    def _try_again(self, now: Nanos, job: FlushJob | InstallJob, what: str) -> None:
        self._again, self._again_at = job, now + RETRY_INTERVAL
        self._ports.event(Event("store-no-space", f"{what}: free some; it is tried again"))

    # -- taking ----------------------------------------------------------------------------------

    def _take(self, now: Nanos) -> bool:
        """Returns whether the replica was told something."""
        if not self._fresh:
            self._fresh = True
            if self._begin_flush():
                return False  # When it is done, `flush` leads here again.
        self._fresh = False
        if self._durable and not self._host.persisted:
            return False  # Nothing but the first entry's state, and nobody can need that.
        view = self._host.snapshot_view()
        asked_for, self._asked_for = self._asked_for, False
        meta = view.meta
        # What comes from now on is not in this one.
        self.grown = 0
        if meta.index > self._last_index and self._durable and not asked_for:
            view.close()
            self._last_index = meta.index
            self._replica.snapshot_taken(now, meta, 0)
            return True
        if meta.index <= self._last_index and not asked_for:
            view.close()
            return False
        assert self._directory is not None
        self._take_began = now
        self._taking = TakeJob(self._directory, view, asked_for)
        self._ports.work(self._taking)
        return False

    def _taken(self, now: Nanos, job: Job, problem: Exception | None) -> None:
        assert isinstance(job, TakeJob)
        if problem is not None:
            self._take_failed(now, job.meta, problem)
            return
        self._retry_take_at = 0
        meta, size = job.meta, job.size
        if not self._durable:
            self._last_size = size
        self._last_index = max(self._last_index, meta.index)
        text = f"snapshot of {size} bytes at entry {meta.index}"
        self._ports.event(Event("snapshot-taken", text, {"index": meta.index, "bytes": size}))
        told: tuple[SnapshotMeta, int] | None = (meta, size)
        if not self._durable:
            told, self._held_back = told if job.asked_for else self._held_back, (meta, size)
        if told is not None:
            self._replica.snapshot_taken(now, *told)

    def _take_failed(self, now: Nanos, meta: SnapshotMeta, problem: Exception) -> None:
        if not lacks_space(problem):
            raise problem
        self._retry_take_at = now + max(RETRY_INTERVAL, RETRY_SHARE * (now - self._take_began))
        self.grown += self._limit
        text = f"no space for a snapshot at entry {meta.index}: free some; the log grows until one succeeds"
        self._ports.event(Event("snapshot-no-space", text, {"index": meta.index}))

    # -- receiving and installing ------------------------------------------------------------------

    def _received(self, now: Nanos, job: Job, problem: Exception | None) -> None:
        assert isinstance(job, ReceiveJob)
        if problem is not None:
            self._receive_failed(now, job.meta, problem)
        elif job.whole:
            index = job.meta.index
            self._ports.event(Event("snapshot-received", f"received the snapshot at entry {index}", {"index": index}))
            self._received_size = job.size
            self._replica.snapshot_received(now, job.meta)
        else:
            self._replica.snapshot_kept(now, job.meta, job.kept)

    def _receive_failed(self, now: Nanos, meta: SnapshotMeta, problem: Exception) -> None:
        if not (lacks_space(problem) or isinstance(problem, ValueError)):
            raise problem
        # What had come is gone, and what is on its way goes on where nothing is: it is asked for from the beginning.
        self._arrived = [chunk for chunk in self._arrived if chunk.meta != meta]
        reason = "no space" if lacks_space(problem) else str(problem)
        text = f"the snapshot at entry {meta.index} could not be kept ({reason}): it is asked for again"
        self._ports.event(Event("snapshot-refused", text, {"index": meta.index}))
        self._replica.snapshot_failed(now, meta, reason)

    def _begin_install(self, meta: SnapshotMeta) -> None:
        assert self._directory is not None
        self._to_install = None
        self._fresh = False
        self._installing = InstallJob(meta, self._host.begin_restore(self._directory.chunks(meta)))
        self._ports.work(self._installing)

    def _installed(self, now: Nanos, job: Job, problem: Exception | None) -> SnapshotMeta | None:
        assert isinstance(job, InstallJob)
        if problem is not None and lacks_space(problem):
            self._try_again(now, job, "no space to install a snapshot")
            return None
        self._installing = None
        if problem is not None:
            raise problem
        if self._directory is not None:
            self._directory.release(job.meta)
        self._host.finish_restore(job.restoration)
        if self._to_install is not None:
            return None  # A newer one came meanwhile, and is next.
        meta = job.meta
        self.grown = 0
        self._held_back = None
        self._last_index = meta.index
        self._last_size = 0 if self._durable else self._received_size
        text = f"the state is now that of the snapshot at entry {meta.index}"
        self._ports.event(Event("snapshot-installed", text, {"index": meta.index}))
        return meta
