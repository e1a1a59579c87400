"""What a watcher must be told: all that happened to its keys, in order, once, whole revisions, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.etcd.wire import kv as wire
from coterie.machine.kv import protocol as kv
from coterie.sim.api.model import Change, Model, within
from coterie.sim.verdict import Violation

NO_PUTS, NO_DELETIONS = 0, 1
"""Filters, as in `WatchCreateRequest`."""


class Watched:
    """One watch, over all the streams that it was resumed on: what it was told, against what was applied."""

    def __init__(
        self, model: Model, key: bytes, end: bytes, *, previous: bool = False, filters: Sequence[int] = ()
    ) -> None:
        self._model = model
        self.key = key
        self.end = end
        self.previous = previous
        """Whether events carry what was there before."""
        self.filters = tuple(filters)
        self.position = 0
        """The next revision of which it has not been told; 0 before it has begun."""
        self.told_events = 0

    def __str__(self) -> str:
        return f"a watch of [{self.key!r}, {self.end!r}) from revision {self.position} on"

    def created(self, revision: int) -> None:
        """The watch is there; the answer has this revision in its header. One that named no start begins after it."""
        if revision > self._model.revision:
            raise Violation(
                "watch-complete", f"{self} is told of revision {revision}; {self._model.revision} is applied"
            )
        if not self.position:
            self.position = revision + 1

    def told(self, events: Sequence[wire.Event]) -> None:
        """Events came, of whole revisions."""
        last = events[-1].kv.mod_revision
        if last > self._model.revision:
            raise Violation("watch-complete", f"{self} is told of revision {last}; {self._model.revision} is applied")
        wanted = self._wanted(self.position, last)
        shown = [(change.put, change.item.key, change.item.mod) for change in wanted]
        found = [(event.type == wire.Event.PUT, event.kv.key, event.kv.mod_revision) for event in events]
        if shown != found:
            raise Violation("watch-complete", f"{self} is told {found[:8]}; up to {last} there is {shown[:8]}")
        for event, change in zip(events, wanted, strict=True):
            self._check(event, change)
        self.position = last + 1
        self.told_events += len(events)

    def bookmarked(self, revision: int) -> None:
        """It is promised that all up to this revision has been told."""
        if revision > self._model.revision:
            raise Violation("watch-bookmark", f"{self} is promised {revision}; {self._model.revision} is applied")
        missing = self._wanted(self.position, revision)
        if missing:
            raise Violation(
                "watch-bookmark", f"{self} is told that it knows all up to {revision}, and lacks {missing[:4]}"
            )
        self.position = max(self.position, revision + 1)

    def compacted(self, revision: int) -> None:
        """It is cancelled, because the history begins at this revision. It may go on from there."""
        if not self.position < revision <= self._model.compacted:
            raise Violation(
                "watch-complete", f"{self} is cancelled by a compaction at {revision}; that was {self._model.compacted}"
            )
        self.position = revision

    @property
    def behind(self) -> list[Change]:
        """What has happened and was not told yet."""
        return self._wanted(self.position, self._model.revision)

    def _wanted(self, first: int, last: int) -> list[Change]:
        changes = self._model.changes(self.key, self.end, first, last)
        return [change for change in changes if (NO_PUTS if change.put else NO_DELETIONS) not in self.filters]

    def _check(self, event: wire.Event, change: Change) -> None:
        item, before = change
        if item_of(event.kv) != item:
            raise Violation("watch-complete", f"{self} is told {item_of(event.kv)}; it is {item}")
        found = item_of(event.prev_kv) if event.HasField("prev_kv") else None
        gone = found is None and item.mod - 1 < self._model.compacted
        if found != (before if self.previous else None) and not gone:
            raise Violation("watch-complete", f"{self} is told that before {item} there was {found}; it was {before}")
        assert within(item.key, self.key, self.end)


def item_of(found: wire.KeyValue) -> kv.Item:
    """An item as a caller sees it."""
    return kv.Item(found.key, found.value, found.create_revision, found.mod_revision, found.version, found.lease)
