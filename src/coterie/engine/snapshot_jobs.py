"""The slow work around snapshots and stores, as jobs (see `work`)."""

from __future__ import annotations

from collections.abc import Callable

from coterie.core.replica import SnapshotChunk
from coterie.core.types import SnapshotMeta
from coterie.engine.work import Job, Lane, at_once
from coterie.machine.chunks import giving_way
from coterie.machine.persistence import Flush, Restoration, SnapshotView
from coterie.storage.snapshots import SnapshotDirectory


class FlushJob(Job):
    """What the machine gathered goes to its store."""

    lane = Lane.STORE

    def __init__(self, flush: Flush) -> None:
        self.flush = flush

    def perform(self, give_way: Callable[[], None] = at_once) -> None:
        self.flush.perform()  # memory grows until it is done: it gives way to nobody


class InstallJob(Job):
    """A snapshot replaces the machine's state."""

    lane = Lane.STORE

    def __init__(self, meta: SnapshotMeta, restoration: Restoration) -> None:
        self.meta = meta
        self.restoration = restoration

    def perform(self, give_way: Callable[[], None] = at_once) -> None:
        self.restoration.perform(give_way)


class TakeJob(Job):
    """A view of the machine's state becomes a snapshot file."""

    lane = Lane.FILES

    def __init__(self, directory: SnapshotDirectory, view: SnapshotView, asked_for: bool) -> None:
        self.meta = view.meta
        self.asked_for = asked_for
        """A follower waits for it."""
        self.size = 0
        """Bytes of the file, once it is there."""
        self._directory = directory
        self._view = view

    def perform(self, give_way: Callable[[], None] = at_once) -> None:
        try:
            self.size = self._directory.write(self.meta, giving_way(self._view.chunks(), give_way))
        finally:
            self._view.close()
        self._directory.prune()


class ReceiveJob(Job):
    """Pieces of a leader's snapshot go to a file; the last one makes it a snapshot."""

    lane = Lane.FILES

    def __init__(self, directory: SnapshotDirectory, chunks: list[SnapshotChunk]) -> None:
        self.meta = chunks[-1].meta
        self.size = chunks[-1].size
        self.kept = chunks[-1].offset + len(chunks[-1].data)
        """So many bytes of it are written, once this is done."""
        self.whole = False
        """It is whole, checked and durable."""
        self._directory = directory
        self._chunks = chunks

    def perform(self, give_way: Callable[[], None] = at_once) -> None:
        for chunk in self._chunks:
            self.whole = self._directory.receive(chunk)
            give_way()
        if self.whole:
            self._directory.prune()
