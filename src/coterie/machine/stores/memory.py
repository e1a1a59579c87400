"""An ordered store in memory: for the simulated world, and for tests. Loses at a crash what the contract lets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from sortedcontainers import SortedDict

from coterie.machine.stores.interface import MAX_KEY_BYTES, Change, OrderedStore, Pair, Reading


class _Rows(Reading):
    """Keys and values in order."""

    def __init__(self, rows: SortedDict[bytes, bytes]) -> None:
        self._rows = rows

    def get(self, key: bytes) -> bytes | None:
        """See `Reading`."""
        value: bytes | None = self._rows.get(key)
        return value

    def first(self, start: bytes, end: bytes) -> Pair | None:
        """See `Reading`."""
        return next(self.range(start, end, 1), None)

    def last(self, start: bytes, end: bytes) -> Pair | None:
        """See `Reading`."""
        if start < end:
            for key in self._rows.irange(start, end, (True, False), reverse=True):
                return key, self._rows[key]
        return None

    def range(self, start: bytes, end: bytes, limit: int = 0) -> Iterator[Pair]:
        """See `Reading`."""
        if start < end:
            keys = self._rows.irange(start, end, (True, False))
            for key in islice(keys, limit) if limit else keys:
                yield key, self._rows[key]

    def close(self) -> None:
        """Nothing is held."""


class MemoryStore(OrderedStore):
    """Small, and as durable as a crash lets it be: `crash` undoes the last batches that no `sync` covered."""

    def __init__(self) -> None:
        self._rows: SortedDict[bytes, bytes] = SortedDict()
        self._seen = False
        """A view shows `_rows`: the next change makes a copy first."""
        self._undo: list[list[Change]] = []
        """For each batch since the last sync: what undoes it."""

    def write(self, batch: Iterable[Change]) -> None:
        """See `OrderedStore`."""
        rows = self._own_rows()
        undo: list[Change] = []
        try:
            for key, value in batch:
                if not 0 < len(key) <= MAX_KEY_BYTES:
                    raise ValueError(f"a key of {len(key)} bytes; the limit is {MAX_KEY_BYTES}")
                undo.append((key, rows.get(key)))
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
        except BaseException:
            self._take_back(undo)
            raise
        self._undo.append(undo)

    def clear(self) -> None:
        """See `OrderedStore`."""
        self.write([(key, None) for key in self._rows])

    def sync(self) -> None:
        """See `OrderedStore`."""
        self._undo.clear()

    def view(self) -> Reading:
        """See `OrderedStore`."""
        self._seen = True
        return _Rows(self._rows)

    def _own_rows(self) -> SortedDict[bytes, bytes]:
        if self._seen:
            self._rows = self._rows.copy()
            self._seen = False
        return self._rows

    @property
    def unsynced(self) -> int:
        """Batches that a crash may lose."""
        return len(self._undo)

    def crash(self, lost: int) -> None:
        """The power failed: the last `lost` batches, at most those that were not synced, are gone."""
        for _ in range(min(lost, len(self._undo))):
            self._take_back(self._undo.pop())
        self._undo.clear()  # what survived is on the disk

    def _take_back(self, undo: list[Change]) -> None:
        rows = self._own_rows()
        for key, value in reversed(undo):
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value

    @property
    def bytes_used(self) -> int:
        """See `OrderedStore`."""
        return sum(len(key) + len(value) for key, value in self._rows.items())

    def close(self) -> None:
        """Nothing is held; what a later process opens is this object."""
