"""Freeing on disk what a compaction left: superseded items, and tombstones that nobody can read any more."""

from __future__ import annotations

from collections.abc import Iterator

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import block_key, blocks_from, read_block, superseded
from coterie.machine.stores.interface import Change, Reading

SWEEP_ITEMS = 16_384
"""Items that one flush looks at, so that none takes long."""

Dead = set[tuple[int, bytes]]
"""(revision, key) of items that are to go."""


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
        last = min(self._compacted, self._stored)
        if self._from >= last:
            return
        dead: dict[bytes, Dead] = {}
        """What is to go, by block."""
        self.swept = last
        for block, item in self._items(view, last):
            for change, gone in superseded(view, item):
                yield change
                for revision, position in gone:
                    dead.setdefault(block_key(view, revision, position), set()).add((revision, item.key))
            if not item.version and item.mod < self._compacted:
                dead.setdefault(block, set()).add((item.mod, item.key))
        for block, keys in dead.items():
            kept = [item for item in read_block(view, block) if (item.mod, item.key) not in keys]
            yield block, encoder.encode(kept) if kept else None

    def _items(self, view: Reading, last: int) -> Iterator[tuple[bytes, Item]]:
        """The items to look at, each with its block's key; always all of a revision."""
        looked_at = 0
        reached = self._from
        for block, items in blocks_from(view, self._from):
            for item in items:
                if item.mod > last:
                    return
                if item.mod > reached and looked_at >= SWEEP_ITEMS:
                    self.swept = reached
                    return
                if item.mod >= self._from:
                    reached = item.mod
                    looked_at += reached > self._from  # or one with many changes would be looked at for ever
                    yield block, item
