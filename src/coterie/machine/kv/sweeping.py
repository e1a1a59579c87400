"""Freeing on disk what a compaction left: superseded items, and tombstones that nobody can read any more."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import Place, block_at, blocks_from, superseded
from coterie.machine.stores.interface import Change, Reading

SWEEP_ITEMS = 16_384
"""Items that one flush looks at, so that none takes long."""
GROUP_REVISIONS = 256
"""What is to go is put in order in groups of so many revisions: a sort of all of it would be long."""

_in_block = attrgetter("mod", "position")


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
        newest = {item.key: item for item in self._items(view, last)}  # those before are found in the index
        dead: dict[int, list[Place]] = {}
        for item in newest.values():
            tombstone = not item.version and item.mod < self._compacted
            for change, places in superseded(view, item.key, item.mod + tombstone):
                yield change
                for place in places:
                    dead.setdefault(place.mod // GROUP_REVISIONS, []).append(place)
        yield from _without(view, dead)

    def _items(self, view: Reading, last: int) -> Iterator[Item]:
        """The items to look at, always all of a revision."""
        looked_at = 0
        reached = self._from
        for _, items in blocks_from(view, self._from):
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


def _without(view: Reading, dead: dict[int, list[Place]]) -> Iterator[Change]:
    """The blocks that dead items are in, without these; each block once."""
    name = b""
    items: list[Item] = []
    there: set[tuple[int, bytes]] = set()
    gone: set[tuple[int, bytes]] = set()
    for group in sorted(dead):
        for place in sorted(dead[group], key=_in_block):
            each = (place.mod, place.key)
            if each not in there:
                found = block_at(view, place.mod, place.position)
                if found is None or found[0] == name:
                    continue
                if gone:
                    yield name, _encode_without(items, gone)
                name, items = found
                there = {(item.mod, item.key) for item in items}
                gone = set()
            if each in there:
                gone.add(each)
    if gone:
        yield name, _encode_without(items, gone)


def _encode_without(items: list[Item], gone: set[tuple[int, bytes]]) -> bytes | None:
    if len(gone) == len(items):
        return None
    return encoder.encode([item for item in items if (item.mod, item.key) not in gone])
