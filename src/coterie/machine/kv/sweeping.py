"""Freeing on disk what a compaction left: superseded items, and tombstones that nobody can read any more."""

from __future__ import annotations

from collections.abc import Iterator

from coterie.machine.kv.records import event_key, index_key, numbered_events, superseded
from coterie.machine.stores.interface import Change, Reading

SWEEP_ITEMS = 16_384
"""Items that one flush looks at, so that none takes long."""


class Sweep:
    """One stretch of the work: changes nothing that can be read."""

    def __init__(self, swept: int, compacted: int, stored: int) -> None:
        """`stored`: the last revision in the view that `changes` will get."""
        self._from = swept
        self.swept = swept
        """Afterwards: the last revision that was looked at."""
        self._compacted = compacted
        self._stored = stored

    def changes(self, view: Reading) -> Iterator[Change]:
        """The deletions, revision by revision up to the compaction's own.

        The last one is looked at once more at the next time: if it is the compaction's own, its deletions
        can be read as events until then.
        """
        looked_at = 0
        last = min(self._compacted, self._stored)
        if self._from >= last:
            return
        revision = self._from
        while revision <= last and looked_at < SWEEP_ITEMS:
            for position, item in numbered_events(view, revision):
                looked_at += revision > self._from  # or one with many changes would be looked at for ever
                for key in superseded(view, item):
                    yield key, None
                if not item.version:
                    yield index_key(item.key, revision), None
                    if revision < self._compacted:
                        yield event_key(revision, position), None
            revision += 1
        self.swept = revision - 1
