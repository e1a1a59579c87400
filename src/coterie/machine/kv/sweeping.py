"""Freeing on disk what a compaction left: superseded items, and tombstones that nobody can read any more."""

from __future__ import annotations

from collections.abc import Iterator

from coterie.machine.kv.blocks import block_at, blocks_from, decode_block
from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import Where, superseded
from coterie.machine.stores.interface import Change, Reading

SWEEP_ITEMS = 16_384
"""Items that one flush looks at, so that none takes long."""
GROUP_REVISIONS = 256
"""What is to go is put in order in groups of so many revisions: a sort of all of it would be long."""


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
        self.swept = last
        newest: dict[bytes, Item] = {}
        """The last item of each key that may have others before it: these are found in the index."""
        for item in self._items(view, last):
            if item.version != 1 or item.key in newest:  # before a creation there is a tombstone at most
                newest[item.key] = item
        dead: dict[int, list[Where]] = {}
        for item in newest.values():
            tombstone = not item.version and item.mod < self._compacted
            for change, gone in superseded(view, item.key, item.mod + tombstone):
                yield change
                for where in gone:
                    group = where[0] // GROUP_REVISIONS
                    if group in dead:
                        dead[group].append(where)
                    else:
                        dead[group] = [where]
        yield from _without(view, dead)

    def _items(self, view: Reading, last: int) -> Iterator[Item]:
        """The items to look at, always all of a revision."""
        looked_at = 0
        reached = self._from
        for items in blocks_from(view, self._from):
            for item in items:
                if item.mod > last:
                    return
                if item.mod > reached and looked_at >= SWEEP_ITEMS:
                    self.swept = reached
                    return
                if item.mod >= self._from:
                    reached = item.mod
                    looked_at += reached > self._from  # or one with many changes would be looked at for ever
                    yield item


def _without(view: Reading, dead: dict[int, list[Where]]) -> Iterator[Change]:
    """The blocks that dead items are in, without these; each block once."""
    order = (where for group in sorted(dead) for where in sorted(dead[group]))
    name = b""
    where = next(order, None)
    while where is not None:
        revision, position, key = where
        found = block_at(view, revision, position)
        if found is None or found[0] <= name:  # it is there no more
            where = next(order, None)
            continue
        name = found[0]
        items = decode_block(found[1])
        kept = []
        for item in items:
            while revision < item.mod and where is not None:
                where = next(order, None)
                if where is not None:
                    revision, position, key = where
            if where is None or item.mod != revision or item.key != key:
                kept.append(item)
                continue
            where = next(order, None)
            if where is not None:
                revision, position, key = where
        if len(kept) < len(items):
            yield name, encoder.encode(kept) if kept else None
