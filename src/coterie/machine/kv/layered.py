"""The key-value data on disk: what was written lately in memory, in layers, on top of an ordered store.

Writes go to the `_active` layer. A flush freezes it (`_frozen`) and begins a new one; when the frozen one is
in the store, it is no longer needed to read right, but its newest items stay one flush longer (`_recent`): who
wrote a key lately writes it again. What is found in none of these is read from the store, through one view
that is renewed when a flush ends; and kept until the key is written or another takes its slot (`_kept`).

Memory: the layers, which flushes bound, the `Counts`, and at most `KEPT_ITEMS` short items; nothing for each key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from zlib import crc32

from coterie.machine.kv.blocks import Blocks
from coterie.machine.kv.counts import Counts
from coterie.machine.kv.data import FIRST_REVISION, NEVER, TO_THE_LAST, tombstone
from coterie.machine.kv.filling import fill
from coterie.machine.kv.hashing import stored_items
from coterie.machine.kv.layer import Layer
from coterie.machine.kv.layered_flush import LayeredFlush
from coterie.machine.kv.protocol import Item, Put
from coterie.machine.kv.records import (
    FORMAT,
    Place,
    State,
    find,
    living_keys,
    newest_run,
    places,
    read_state,
    without_value,
)
from coterie.machine.kv.sweeping import SWEEP_ITEMS, Sweep
from coterie.machine.stores.interface import OrderedStore, Reading

NEWEST = 1 << 62
"""As a revision: whatever is the last."""
KEPT_ITEMS = 1 << 16
"""Slots for items that were read from the store, by the key's CRC, a power of two: some 35 MB with values of 256
bytes."""
KEPT_VALUE_BYTES = 512
"""Longer values are not kept."""
CROWD = 64
"""One block of keys is cut after each batch, and one more for so many that wait: a cut visits hundreds of keys."""


class LayeredStore:
    """Key-value data on top of an ordered store. See `Data` for what the methods promise."""

    def __init__(self, store: OrderedStore) -> None:
        self._store = store
        self._changes: list[Item] = []
        """Written since the last commit."""
        self._discarded: list[Layer] = []
        """Layers whose memory the next flush frees."""
        self._open()

    def _open(self) -> None:
        """Become what the store holds."""
        self._view = self._store.view()
        self._blocks = Blocks(self._view)
        state = read_state(self._view) or State(FORMAT, FIRST_REVISION, NEVER, FIRST_REVISION, [], [])
        self.revision = state.revision
        self.compacted = state.compacted
        self.leased = state.leased
        self._stored = state.revision
        """Last revision in the store."""
        self._swept = state.swept
        self._counts = Counts(state.bounds, state.counts)
        self._crowded: list[bytes] = []
        """Keys whose blocks are to be cut; many times the same block, perhaps."""
        self._active = Layer(self.revision + 1)
        self._frozen: Layer | None = None
        self._recent: dict[bytes, Item] = {}
        self._recent_layer: Layer | None = None
        self._kept: list[Item | None] = []
        """The newest items of some keys that no layer has; empty until the store is read."""

    def close(self) -> None:
        """Give up the view."""
        self._view.close()

    def reload(self) -> None:
        """The store was filled anew."""
        self._view.close()
        self._open()

    @property
    def view(self) -> Reading:
        """What is read of the store at present."""
        return self._view

    @property
    def next_revision(self) -> int:
        """See `Data`."""
        return self.revision + 1 if self._changes else self.revision

    # Reading

    def _in_layers(self, key: bytes, revision: int) -> Item | None:
        """The key's last item of at most `revision`, a tombstone perhaps, if a layer has it."""
        item = self._active.get(key, revision)
        return item if item is not None or self._frozen is None else self._frozen.get(key, revision)

    def get(self, key: bytes, revision: int = 0, *, values: bool = True) -> Item | None:
        """See `Data`. Without `values` the item's value may be empty, and its lease 0."""
        if revision:
            return self._get_at(key, revision, values)
        item = self._active.newest.get(key)
        if item is None and self._frozen is not None:
            item = self._frozen.newest.get(key)
        if item is None:
            item = self._recent.get(key)
        if item is None:
            return self._newest_stored(key, values)
        return item if item.version else None

    def _get_at(self, key: bytes, revision: int, values: bool) -> Item | None:
        item = self._in_layers(key, revision)
        if item is not None:
            return item if item.version else None
        place = find(self._view, key, revision)
        return self._item(place, values) if place is not None and place.version else None

    def _newest_stored(self, key: bytes, values: bool) -> Item | None:
        """The key's item, which no layer has."""
        kept = self._kept or self._keep()
        slot = crc32(key) & (len(kept) - 1)
        item = kept[slot]
        if item is not None and item.key == key:
            return item
        run = newest_run(self._view, key)
        if run is None or not run[0]:
            return None
        if not values:
            return without_value(Place(key, run[3], run[2], run[1], run[0]))
        item = self._blocks.item(key, run[3], run[2])
        if len(item.value) <= KEPT_VALUE_BYTES:
            kept[slot] = item
        return item

    def _keep(self) -> list[Item | None]:
        self._kept = [None] * KEPT_ITEMS
        return self._kept

    def _forget(self, key: bytes) -> None:
        """The key is written, for the first time since the last flush."""
        kept = self._kept
        if kept:
            kept[crc32(key) & (len(kept) - 1)] = None

    def range(self, key: bytes, end: bytes, revision: int = 0, *, values: bool = True) -> Iterator[Item]:
        """See `Data`."""
        if not end:
            item = self.get(key, revision, values=values)
            if item is not None:
                yield item
            return
        yield from self._scan(key, None if end == TO_THE_LAST else end, revision or NEWEST, values)

    def _scan(self, start: bytes, end: bytes | None, revision: int, values: bool) -> Iterator[Item]:
        """Items of the keys in [start, end) (None: to the last): the layers' before the store's."""
        stored = places(self._view, start, end, revision)
        place = next(stored, None)
        for key in self._keys(start, end):
            while place is not None and place.key < key:
                if place.version:
                    yield self._item(place, values)
                place = next(stored, None)
            item = self._in_layers(key, revision)
            if place is not None and place.key == key:
                if item is None and place.version:
                    item = self._item(place, values)
                place = next(stored, None)
            if item is not None and item.version:
                yield item
        while place is not None:
            if place.version:
                yield self._item(place, values)
            place = next(stored, None)

    def _item(self, place: Place, values: bool) -> Item:
        return self._blocks.item(place.key, place.mod, place.position) if values else without_value(place)

    def _keys(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """The layers' keys in order, each once."""
        keys = self._active.keys(start, end)
        if self._frozen is not None:
            keys = merge(keys, self._frozen.keys(start, end))
        before = None
        for key in keys:
            if key != before:
                yield key
            before = key

    def _living(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        stored = living_keys(self._view, start, end)
        key = next(stored, None)
        for each in self._keys(start, end):
            while key is not None and key < each:
                yield key
                key = next(stored, None)
            item = self._in_layers(each, NEWEST)
            if key == each:
                key = next(stored, None)
                if item is None:
                    yield each  # it was written, and that was taken back
            if item is not None and item.version:
                yield each
        if key is not None:
            yield key
            yield from stored

    def count(self, key: bytes, end: bytes) -> int:
        """See `Data`."""
        if not end:
            return 0 if self.get(key, values=False) is None else 1
        return self._counts.count(key, None if end == TO_THE_LAST else end, self._living)

    def events(self, revision: int) -> Sequence[Item]:
        """See `Data`."""
        if revision >= self._active.first:
            return self._active.event(revision)
        if self._frozen is not None and revision >= self._frozen.first:
            return self._frozen.event(revision)
        return self._blocks.events(revision)

    # Writing

    def put(self, key: bytes, value: bytes, want_previous: bool = False, lease: int = 0) -> Item | None:
        """See `Data`."""
        revision = self.revision + 1
        active = self._active
        newest = active.newest
        old = newest.get(key)
        if old is not None:
            active.supersede(old)
            key = old.key  # one copy of the key
            if not old.version:
                old = None
        else:
            active.unsorted.append(key)
            old = self._recent.get(key) if self._frozen is None else self._frozen.newest.get(key)
            if old is None:
                old = self.get(key, values=want_previous)
            elif not old.version:
                old = None
            self._forget(key)
        if old is None:
            item = Item(key, value, revision, revision, 1, lease)
            if self._counts.add(key):
                self._crowded.append(key)
        else:
            item = Item(key, value, old.create, revision, old.version + 1, lease)
        newest[key] = item
        self._changes.append(item)
        if lease:
            self.leased = True
        return old

    def put_each(self, puts: Sequence[Put]) -> None:
        """See `Data`. Most commands are such, and most keys were written since the last flush."""
        active = self._active
        newest, superseded, add = active.newest, active.older, active.log.append
        revision = self.revision
        for command in puts:
            key = command.key
            old = newest.get(key)
            if old is None or not old.version:
                self.revision = revision
                self.put(key, command.value)
                revision = self.commit()
                continue
            revision += 1
            key = old.key  # one copy of the key
            older = superseded.get(key)
            if older is None:
                superseded[key] = [old]
            else:
                older.append(old)
            item = newest[key] = Item(key, command.value, old.create, revision, old.version + 1)
            add(item)
        self.revision = revision

    def delete(self, key: bytes, want_previous: bool = True) -> Item | None:
        """See `Data`."""
        old = self.get(key, values=want_previous)
        if old is not None:
            item = tombstone(old.key, self.revision + 1)
            self._active.add(item)
            self._forget(key)
            self._counts.remove(key)
            self._changes.append(item)
        return old

    def commit(self) -> int:
        """See `Data`."""
        changes = self._changes
        if changes:
            if len(changes) == 1:
                self._active.log.append(changes[0])
            else:
                self._active.log.append(tuple(changes))
                self._active.extra += len(changes) - 1
            self._changes = []
            self.revision += 1
        return self.revision

    def rollback(self) -> None:
        """See `Data`."""
        for item in reversed(self._changes):
            self._active.remove(item.key)
            if not item.version:
                self._counts.add(item.key)
            elif item.version == 1:
                self._counts.remove(item.key)
        self._changes = []

    def compact(self, revision: int) -> None:
        """See `Data`: memory, and the store's space, are freed by flushes."""
        self.compacted = revision

    def end_batch(self) -> None:
        """See `Data`."""
        self._active.sort()
        crowded = self._crowded
        if crowded:
            for _ in range(1 + len(crowded) // CROWD):
                self._counts.cut(crowded.pop(), self._living)

    # Flushing

    @property
    def unflushed_items(self) -> int:
        """Items in the active layer; as many as one flush sweeps, if that much is to be swept, and one if any is."""
        items = max(len(self._active.log) + self._active.extra, int(self.sweep_left))
        return max(items, SWEEP_ITEMS) if self.compacted - self._swept >= SWEEP_ITEMS else items

    @property
    def sweep_left(self) -> bool:
        """Whether compaction has left something in the store that no flush has looked at."""
        return self._swept < min(self.compacted, self._stored)

    def begin_flush(self) -> LayeredFlush:
        """Freeze the active layer."""
        assert self._frozen is None, "one flush at a time"
        assert not self._changes, "a flush begins between commands"
        layer = self._frozen = self._active
        self._active = Layer(self.revision + 1)
        counts = self._counts
        state = State(FORMAT, self.revision, self.compacted, 0, counts.bounds.copy(), counts.counts.copy(), self.leased)
        return LayeredFlush(layer, state, Sweep(self._swept, self.compacted, self._stored), self._discarded)

    def finish_flush(self, flush: LayeredFlush) -> None:
        """The frozen layer is in the store."""
        assert self._frozen is not None
        self._view.close()
        self._view = self._store.view()
        self._blocks = Blocks(self._view)
        self._stored = self._active.first - 1
        self._swept = flush.sweep.swept
        if self._recent_layer is not None:
            self._discarded.append(self._recent_layer)
        self._recent_layer = self._frozen
        self._recent = self._frozen.newest
        self._frozen = None

    # The whole

    def items(self) -> Iterator[Item]:
        """See `Data`."""
        first = max(self.compacted, FIRST_REVISION + 1)
        if self.compacted > FIRST_REVISION:
            for item in self.range(b"", TO_THE_LAST, self.compacted):
                if item.mod < first:
                    yield item
        for revision in range(first, self.revision + 1):
            yield from self.events(revision)

    def in_any_order(self) -> Iterator[Item]:
        """See `Data`."""
        layers = [self._active] if self._frozen is None else [self._frozen, self._active]
        return stored_items(self._view, layers, self._in_layers, self.compacted, self._swept)

    def load(self, revision: int, compacted: int, items: Iterable[Item]) -> None:
        """See `Data`: into the store."""
        fill(self._store, revision, compacted, items)
        self.reload()
