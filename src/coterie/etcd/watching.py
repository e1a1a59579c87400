"""Who watches what, and what they are told: every change once, in order, from any revision that is still known.

Nothing is kept for a watcher but its place in the history: events are read from the machine's data, where every
revision's changes stand until compaction. Whoever is up to date is told of new revisions as they are made, all
watchers of a key from one encoding. Whoever is behind (it began in the past, or reads too slowly) is brought up in
slices, beside the others and never before them; so a slow one costs what a place costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from coterie.core.types import Nanos
from coterie.etcd.conversion import key_value
from coterie.etcd.wire import kv, rpc
from coterie.machine.kv.data import Data
from coterie.machine.kv.protocol import Item

STALL_BYTES = 1024 * 1024
"""A stream with so much unsent gets no more events until it has been read: they are found again in the history."""
PROGRESS_INTERVAL: Nanos = 600 * 1_000_000_000
"""A watch that asked for it is told that there was nothing, so often (etcd's default)."""


class WatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done at a time."""

    slice_revisions: int = 512
    """Revisions read at a time for those who are behind ..."""
    slice_bytes: int = 1024 * 1024
    """... or so many bytes of keys and values, ..."""
    slice_watchers: int = 1024
    """... and watchers served by one such reading."""
    news_revisions: int = 16 * 1024
    """New revisions that those who are up to date are told of at once: after more (after a snapshot, perhaps) ..."""
    news_bytes: int = 8 * 1024 * 1024
    """... or after so many bytes of them, they are behind, too, and are brought up in slices."""
    stall_bytes: int = STALL_BYTES
    progress_interval: Nanos = PROGRESS_INTERVAL


LIMITS = WatchLimits()


class Listener(Protocol):
    """The stream that a watcher belongs to."""

    def tell(self, watcher: Watcher, events: list[kv.Event], encoded: bytes, revision: int) -> bool:
        """Events of revisions up to `revision`, encoded as a part of a `WatchResponse`. Returns whether they were told:
        if not, the stream takes no more at present, and `Hub.resume` is called when it does."""
        ...

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """What the watcher waits for is gone: the history begins at this revision. It watches no longer."""
        ...


class Watcher:
    """One watch: a key or a range, and how far its stream has been told."""

    __slots__ = ("end", "filters", "id", "key", "listener", "place", "position", "previous")

    def __init__(
        self, listener: Listener, id: int, key: bytes, end: bytes | None, position: int, *, previous: bool, filters: int
    ) -> None:
        self.listener = listener
        self.id = id
        self.key = key
        self.end = end
        """b"": this key alone; None: to the last."""
        self.position = position
        """The next revision that is to be told."""
        self.previous = previous
        """Whether events carry what was there before."""
        self.filters = filters
        """Bit 0: no puts; bit 1: no deletions."""
        self.place = Place.BEHIND

    @property
    def behind(self) -> bool:
        """Whether something that has happened is still to be told."""
        return self.place != Place.UP_TO_DATE

    @property
    def interest(self) -> tuple[bytes, bytes | None]:
        """What it watches; equal for watchers that see the same."""
        return self.key, self.end


class Place:
    """Where a watcher is kept."""

    GONE = 0
    UP_TO_DATE = 1
    BEHIND = 2
    STALLED = 3
    """Its stream takes no more at present."""


class Interests:
    """Watchers by what they watch."""

    def __init__(self) -> None:
        self._keys: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[tuple[bytes, bytes | None], dict[Watcher, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._keys or self._ranges)

    def add(self, watcher: Watcher) -> None:
        """From now on it is found."""
        if watcher.end == b"":
            self._keys.setdefault(watcher.key, {})[watcher] = None
        else:
            self._ranges.setdefault(watcher.interest, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """It is found no longer."""
        if watcher.end == b"":
            watchers = self._keys[watcher.key]
            del watchers[watcher]
            if not watchers:
                del self._keys[watcher.key]
        else:
            watchers = self._ranges[watcher.interest]
            del watchers[watcher]
            if not watchers:
                del self._ranges[watcher.interest]

    def all(self) -> list[Watcher]:
        """Each of them."""
        groups = [*self._keys.values(), *self._ranges.values()]
        return [watcher for watchers in groups for watcher in watchers]

    def seen(self, events: Sequence[Item]) -> Iterator[tuple[list[Item], list[Watcher]]]:
        """What each group of watchers with the same interest sees of the events, if anything."""
        if self._keys:
            by_key: dict[bytes, list[Item]] = {}
            for item in events:
                if item.key in self._keys:
                    by_key.setdefault(item.key, []).append(item)
            for key, seen in by_key.items():
                yield seen, list(self._keys[key])
        for (start, end), watchers in list(self._ranges.items()):
            if end is None:
                seen = [item for item in events if item.key >= start]
            else:
                seen = [item for item in events if start <= item.key < end]
            if seen:
                yield seen, list(watchers)


class Hub:
    """All watchers of a member."""

    def __init__(self, data: Callable[[], Data], readable: Callable[[], bool], limits: WatchLimits = LIMITS) -> None:
        """`data`: the machine's data at present; another object after a snapshot was installed, perhaps. `readable`:
        whether they may be read now; not while a snapshot is being installed."""
        self._limits = limits
        self._data = data
        self._readable = readable
        self.revision = data().revision
        """Those who are up to date have been told of everything up to here."""
        self._interests = Interests()
        self._behind: deque[Watcher] = deque()
        self._cached: dict[tuple[bool, int], tuple[list[kv.Event], bytes]] = {}

    def add(self, watcher: Watcher) -> None:
        """Begin: with what is to come if its position is there, else with the past."""
        if watcher.position > self.revision:
            watcher.place = Place.UP_TO_DATE
            self._interests.add(watcher)
        else:
            self._fall_behind(watcher)

    def remove(self, watcher: Watcher) -> None:
        """It watches no longer."""
        if watcher.place == Place.UP_TO_DATE:
            self._interests.remove(watcher)
        watcher.place = Place.GONE  # one in `_behind` is left out when its turn comes

    def resume(self, watcher: Watcher) -> None:
        """Its stream takes events again."""
        if watcher.place == Place.STALLED:
            self._fall_behind(watcher)

    def _fall_behind(self, watcher: Watcher) -> None:
        watcher.place = Place.BEHIND
        self._behind.append(watcher)

    @property
    def lagging(self) -> bool:
        """Whether `advance` has more to do at once."""
        return bool(self._behind) and self._readable()

    def advance(self) -> None:
        """Tell of what is new, and bring up some of those who are behind."""
        if not self._readable():
            return
        data = self._data()
        if data.revision > self.revision:
            if self._interests:
                self._tell_new(data)
            self.revision = data.revision
        if self._behind:
            self._catch_up(data)

    def _tell_new(self, data: Data) -> None:
        limits = self._limits
        last = self.revision
        if last + 1 >= data.compacted:  # else a snapshot was installed that knows less
            events, last = _changes(data, last + 1, data.revision, limits.news_revisions, limits.news_bytes)
            for seen, watchers in self._interests.seen(events):
                self._tell(data, seen, watchers, data.revision)
        if last < data.revision:
            for watcher in self._interests.all():
                watcher.position = max(watcher.position, last + 1)
                self._interests.remove(watcher)
                self._fall_behind(watcher)

    def _tell(self, data: Data, seen: list[Item], watchers: list[Watcher], revision: int) -> None:
        """The events that these watchers, all of one interest, see. Up to `revision` they have then been told all."""
        self._cached.clear()
        last = seen[-1].mod
        for watcher in watchers:
            if watcher.place == Place.GONE:  # an earlier one's failure took it along
                continue
            if watcher.position > seen[0].mod:  # it begins later
                own = [item for item in seen if item.mod >= watcher.position]
                told = self._encode(data, own, watcher)
            else:
                option = (watcher.previous, watcher.filters)
                told = self._cached.get(option) or self._encode(data, seen, watcher)
                self._cached[option] = told
            events, encoded = told
            if events and not watcher.listener.tell(watcher, events, encoded, revision):
                watcher.position = max(watcher.position, seen[0].mod)  # nothing before was for it
                self._stall(watcher)
            else:
                watcher.position = max(watcher.position, last + 1)

    def _stall(self, watcher: Watcher) -> None:
        if watcher.place == Place.UP_TO_DATE:
            self._interests.remove(watcher)
            watcher.place = Place.STALLED
        elif watcher.place == Place.BEHIND:
            watcher.place = Place.STALLED

    def _encode(self, data: Data, items: list[Item], watcher: Watcher) -> tuple[list[kv.Event], bytes]:
        events = []
        for item in items:
            if watcher.filters and watcher.filters & (1 if item.version else 2):
                continue
            before = None
            if watcher.previous and item.mod - 1 >= max(data.compacted, 1) and item.version != 1:
                before = data.get(item.key, item.mod - 1)
            events.append(_event(item, before))
        return events, rpc.WatchResponse(events=events).SerializeToString() if events else b""

    # Those who are behind

    def _catch_up(self, data: Data) -> None:
        """One slice of the past, for as many as begin in it."""
        group = self._next_group(data)
        if not group:
            return
        first = min(watcher.position for watcher in group)
        interests = Interests()
        for watcher in group:
            interests.add(watcher)
        events, last = _changes(data, first, self.revision, self._limits.slice_revisions, self._limits.slice_bytes)
        for seen, watchers in interests.seen(events):
            self._tell(data, seen, watchers, self.revision)
        for watcher in group:
            if watcher.place != Place.BEHIND:
                continue
            watcher.position = max(watcher.position, last + 1)
            if watcher.position > self.revision:
                watcher.place = Place.UP_TO_DATE
                self._interests.add(watcher)
            else:
                self._behind.append(watcher)

    def _next_group(self, data: Data) -> list[Watcher]:
        """Those whose turn it is; who waits for what is gone is told so."""
        group: list[Watcher] = []
        while self._behind and len(group) < self._limits.slice_watchers:
            watcher = self._behind.popleft()
            if watcher.place != Place.BEHIND:
                continue
            if watcher.position < data.compacted:
                watcher.place = Place.GONE
                watcher.listener.compacted(watcher, data.compacted)
                continue
            group.append(watcher)
        return group


def _changes(data: Data, first: int, end: int, revisions: int, size: int) -> tuple[list[Item], int]:
    """What changed from revision `first` on, and the last revision of it: `end`, or what the bounds allow; none is told
    in part."""
    events: list[Item] = []
    last = first - 1
    while last < end and last - first + 1 < revisions and size > 0:
        last += 1
        changed = data.events(last)
        events += changed
        size -= sum(len(item.key) + len(item.value) for item in changed)
    return events, last


def _event(item: Item, before: Item | None) -> kv.Event:
    previous = None if before is None else key_value(before)
    if item.version:
        return kv.Event(type=kv.Event.PUT, kv=key_value(item), prev_kv=previous)
    return kv.Event(type=kv.Event.DELETE, kv=kv.KeyValue(key=item.key, mod_revision=item.mod), prev_kv=previous)
