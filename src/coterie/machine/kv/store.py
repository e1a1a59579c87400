"""The key-value data: every key as of every revision since the last compaction. In memory.

For small machines, tests and the simulated world; `layered.py` keeps the same on disk. `data.py` says what
both promise.

Kept: `_live`, the present item of each living key; `_older`, for each key that has any, the items
before it in order, a tombstone (version 0) included; `_log`, for each revision what it changed.
An `Item` is shared by all three and is invisible to the garbage collector, so millions of keys
cost it nothing; only a key with older items costs a list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from sortedcontainers import SortedList

from coterie.machine.kv.data import FIRST_REVISION, NEVER, TO_THE_LAST, tombstone
from coterie.machine.kv.protocol import Item, Put

SWEEP_REVISIONS = 4096
"""Revisions whose superseded items one `sweep` frees: compaction must not stall the log."""
_mod = attrgetter("mod")


class Store:
    """Multi-version key-value data in dicts and lists. Writes belong to revision `revision + 1` until `commit`."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        """Of the last commit."""
        self.compacted = NEVER
        """Reads below this revision are not possible; what this very revision changed is still known."""
        self.leased = False
        """See `Data`: here no item ever lacks anything."""
        self._live: dict[bytes, Item] = {}
        self._older: dict[bytes, list[Item]] = {}
        self._living_keys: SortedList[bytes] = SortedList()
        self._dead_keys: SortedList[bytes] = SortedList()
        """Keys that are not living and have a history."""
        self._changes: list[Item] = []
        """Written since the last commit."""
        self._log: list[Item | tuple[Item, ...]] = []
        self._log_first = FIRST_REVISION + 1
        """Revision of `_log[0]`."""
        self._swept = FIRST_REVISION
        """Superseded items up to this revision, or up to `compacted`, have been freed."""

    @property
    def next_revision(self) -> int:
        """What `commit` will return: the present revision, or one more if something was written."""
        return self.revision + 1 if self._changes else self.revision

    @property
    def histories(self) -> int:
        """Number of keys that have more than their present item."""
        return len(self._older)

    # Reading

    def get(self, key: bytes, revision: int = 0) -> Item | None:
        """The key's item as of `revision` (0: with the writes so far), or None.

        `revision` must be from `compacted` to the present one.
        """
        item = self._live.get(key)
        if not revision or (item is not None and item.mod <= revision):
            return item
        older = self._older.get(key)
        if older is None:
            return None
        at = bisect_right(older, revision, key=_mod)
        if not at:
            return None
        item = older[at - 1]
        return item if item.version else None

    def range(self, key: bytes, end: bytes, revision: int = 0, *, values: bool = True) -> Iterator[Item]:
        """Items of `key` (`end` empty) or of the keys in [key, end), in order of key, as of `revision`."""
        if not end:
            item = self.get(key, revision)
            if item is not None:
                yield item
            return
        last = None if end == TO_THE_LAST else end
        living = self._living_keys.irange(key, last, (True, False))
        if not revision or revision >= self.next_revision:
            for each in living:
                yield self._live[each]
            return
        for each in _merge(living, self._dead_keys.irange(key, last, (True, False))):
            item = self.get(each, revision)
            if item is not None:
                yield item

    def count(self, key: bytes, end: bytes) -> int:
        """Number of living keys that `range` of the present would give, without visiting them."""
        if not end:
            return 1 if key in self._live else 0
        keys = self._living_keys
        stop = len(keys) if end == TO_THE_LAST else keys.bisect_left(end)
        return max(0, stop - int(keys.bisect_left(key)))

    def events(self, revision: int) -> Sequence[Item]:
        """What `revision` changed, in the order of writing; a tombstone is a deletion. `revision` must
        be from `compacted` to the present one; the empty store's own changed nothing."""
        if revision < self._log_first:
            return ()
        event = self._log[revision - self._log_first]
        return event if isinstance(event, tuple) else (event,)

    # Writing

    def put(self, key: bytes, value: bytes, want_previous: bool = False, lease: int = 0) -> Item | None:
        """Set the key; returns the item that was there."""
        revision = self.revision + 1
        old = self._live.get(key)
        if old is None:
            item = Item(key, value, revision, revision, 1, lease)
            if key in self._older:
                self._dead_keys.remove(key)
            self._living_keys.add(key)
        else:
            key = old.key  # one copy of the key for all of its items
            item = Item(key, value, old.create, revision, old.version + 1, lease)
            older = self._older.get(key)
            if older is None:
                self._older[key] = [old]
            else:
                older.append(old)
        self._live[key] = item
        self._changes.append(item)
        return old

    def put_each(self, puts: Sequence[Put]) -> None:
        """See `Data`."""
        for put in puts:
            self.put(put.key, put.value)
            self.commit()

    def delete(self, key: bytes, want_previous: bool = True) -> Item | None:
        """Delete the key; returns the item that was there, None if there was none (nothing changes)."""
        old = self._live.pop(key, None)
        if old is not None:
            item = tombstone(key, self.revision + 1)
            self._older.setdefault(key, []).extend((old, item))
            self._living_keys.remove(key)
            self._dead_keys.add(key)
            self._changes.append(item)
        return old

    def commit(self) -> int:
        """End the writes of one command; returns the revision, one higher if there were any."""
        changes = self._changes
        if changes:
            self._log.append(changes[0] if len(changes) == 1 else tuple(changes))
            self._changes = []
            self.revision += 1
        return self.revision

    def rollback(self) -> None:
        """Undo the writes since the last commit."""
        for item in reversed(self._changes):
            key = item.key
            if item.version == 1:
                del self._live[key]
                self._living_keys.remove(key)
                if key in self._older:
                    self._dead_keys.add(key)
                continue
            older = self._older[key]
            if not item.version:
                older.pop()  # the tombstone
                self._dead_keys.remove(key)
                self._living_keys.add(key)
            self._live[key] = older.pop()
            if not older:
                del self._older[key]
        self._changes = []

    # Compaction

    def compact(self, revision: int) -> None:
        """Reads below `revision` are over. Memory is freed by `sweep`. `revision` must be above
        `compacted` and not above the present one."""
        self.compacted = revision
        self.sweep()

    def end_batch(self) -> None:
        """See `Data`."""
        self.sweep()

    def sweep(self, revisions: int = SWEEP_REVISIONS) -> None:
        """Free what compaction left of the next so many revisions. Changes nothing that can be read."""
        first, last = self._swept + 1, min(self.compacted, self._swept + revisions)
        if first > last:
            return
        newest: dict[bytes, Item] = {}
        for revision in range(first, last + 1):
            for item in self.events(revision):
                newest[item.key] = item
        for item in newest.values():
            self._free_before(item)
        self._swept = last
        done = min(last + 1, self.compacted) - self._log_first
        if done > 0:
            del self._log[:done]
            self._log_first += done

    def _free_before(self, item: Item) -> None:
        """Free the key's items that `item` superseded, and `item` itself if it is a tombstone."""
        older = self._older.get(item.key)
        if older is None:
            return
        del older[: bisect_right(older, item.mod if item.version == 0 else item.mod - 1, key=_mod)]
        if not older:
            del self._older[item.key]
            if item.key not in self._live:
                self._dead_keys.remove(item.key)

    # The whole

    def items(self) -> Iterator[Item]:
        """Every item that can be read, in an order that depends on the state alone: first, by key,
        those older than what `events` still knows; then, revision by revision, the events."""
        self.sweep(self.revision)
        oldest = max(self.compacted, FIRST_REVISION + 1)
        for key in _merge(self._living_keys, self._dead_keys):
            item = self.get(key, oldest - 1)
            if item is not None:
                yield item
        for event in self._log:
            if isinstance(event, tuple):
                yield from event
            else:
                yield event

    def in_any_order(self) -> Iterator[Item]:
        """See `Data`."""
        return self.items()

    def load(self, revision: int, compacted: int, items: Iterable[Item]) -> None:
        """Fill an empty store with what `items` gave at this revision and compaction. Raises
        `ValueError` if that can't be: a damaged snapshot must not become a state."""
        if revision < FIRST_REVISION or not NEVER <= compacted <= revision:
            raise ValueError(f"a snapshot at revision {revision}, compacted at {compacted}")
        self.compacted = compacted
        self._log_first = max(compacted, FIRST_REVISION + 1)
        self._swept = max(compacted, FIRST_REVISION)
        self.revision = self._log_first - 1
        for item in items:
            if item.mod < self._log_first:
                out_of_place = self._log or self._changes or item.key in self._live
                if out_of_place or not item.version or item.mod <= FIRST_REVISION:
                    raise ValueError(f"the snapshot has revision {item.mod} of {item.key!r} out of place")
                self._live[item.key] = item
                continue
            if item.mod == self.revision + 2:
                self._load_end()
            if item.mod != self.revision + 1 or item.mod > revision:
                raise ValueError(f"the snapshot has revision {item.mod} after {self.revision}")
            self._load_change(item)
        self._load_end()
        if self.revision != revision:
            raise ValueError(f"the snapshot ends at revision {self.revision}, not at {revision}")
        self._living_keys = SortedList(self._live)
        self._dead_keys = SortedList(key for key in self._older if key not in self._live)
        for item in self.events(compacted) if compacted >= self._log_first else ():
            self._free_before(item)

    def _load_end(self) -> None:
        """The events of a snapshot's revision are complete. The compaction's own may have none: a state that comes
        from elsewhere (etcd) has forgotten what it deleted."""
        if not self._changes and self.revision + 1 == self.compacted:
            self._log.append(())
            self.revision += 1
        self.commit()

    def _load_change(self, item: Item) -> None:
        """One event of a snapshot. The sorted keys are made at the end, at once."""
        old = self._live.pop(item.key, None)
        if old is not None:
            self._older.setdefault(item.key, []).append(old)
        if item.version:
            self._live[item.key] = item
        else:
            self._older.setdefault(item.key, []).append(item)
        self._changes.append(item)


def _merge(one: Iterable[bytes], other: Iterable[bytes]) -> Iterator[bytes]:
    """Two ascending iterables without a common key, as one."""
    ones, others = iter(one), iter(other)
    a, b = next(ones, None), next(others, None)
    while a is not None and b is not None:
        if a < b:
            yield a
            a = next(ones, None)
        else:
            yield b
            b = next(others, None)
    if a is not None:
        yield a
        yield from ones
    if b is not None:
        yield b
        yield from others
