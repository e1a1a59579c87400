"""The slow work around snapshots and stores, as jobs (see `work`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from coterie.core.replica import SnapshotChunk
from coterie.core.types import SnapshotMeta
from coterie.engine.work import Job, Lane
from coterie.machine.persistence import Flush, Restoration, SnapshotView
from coterie.storage.snapshots import Snapshot, SnapshotDirectory, SnapshotReceiver, SnapshotWriter


class FlushJob(Job):
    """What the machine gathered goes to its store."""

    lane = Lane.STORE

    def __init__(self, flush: Flush) -> None:
        self.flush = flush

    def perform(self) -> None:
        self.flush.perform()


class InstallJob(Job):
    """A snapshot replaces the machine's state."""

    lane = Lane.STORE

    def __init__(self, snapshot: Snapshot, restoration: Restoration) -> None:
        self.snapshot = snapshot
        self.restoration = restoration

    def perform(self) -> None:
        self.restoration.perform()


class TakeJob(Job):
    """A view of the machine's state becomes a snapshot file."""

    lane = Lane.FILES

    def __init__(self, directory: SnapshotDirectory, writer: SnapshotWriter, view: SnapshotView) -> None:
        self.meta = view.meta
        self.snapshot: Snapshot | None = None
        self._directory = directory
        self._writer = writer
        self._view = view

    def perform(self) -> None:
        try:
            for chunk in self._view.chunks():
                self._writer.write(chunk)
            self.snapshot = self._writer.finish()
            self._directory.prune()
        except BaseException:
            with suppress(OSError):
                self._writer.abandon()  # what is left of it is removed at the next start
            raise
        finally:
            self._view.close()


class ReceiveJob(Job):
    """Pieces of a leader's snapshot go to a file; the last one makes it a snapshot."""

    lane = Lane.FILES

    def __init__(self, directory: SnapshotDirectory, receiver: SnapshotReceiver, chunks: list[SnapshotChunk]) -> None:
        self.meta = receiver.meta
        self.snapshot: Snapshot | None = None
        """Once it is whole, checked and durable."""
        self._directory = directory
        self._receiver = receiver
        self._chunks = chunks

    def perform(self) -> None:
        try:
            for chunk in self._chunks:
                self._receiver.append(chunk.offset, chunk.data)
            if self._receiver.complete:
                self.snapshot = self._receiver.finish()
                self._directory.prune()
        except BaseException:
            with suppress(OSError):
                self._receiver.abandon()
            raise


class Content(Iterable[bytes]):
    """A snapshot's state, in pieces that are checked; may be iterated more than once, in any thread."""

    def __init__(self, directory: SnapshotDirectory, snapshot: Snapshot) -> None:
        self._directory = directory
        self._snapshot = snapshot

    def __iter__(self) -> Iterator[bytes]:
        return self._directory.read(self._snapshot)


def same_state(snapshot: Snapshot | None, meta: SnapshotMeta) -> bool:
    """Whether the file is of this very snapshot."""
    return snapshot is not None and (snapshot.meta.index, snapshot.meta.epoch) == (meta.index, meta.epoch)
