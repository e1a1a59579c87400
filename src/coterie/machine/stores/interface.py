"""The ordered store: keys in order of their bytes, atomic batches, views that stand still.

What a machine keeps on disk goes through this and nothing else, so that the simulated world can put its own
beneath it. The contract after a crash is one sentence: *what survives is a prefix of the batches, whole ones,
and it reaches at least to the last `sync`*. The log is the truth and replays what came after; a store that kept
half a batch, or a later batch without an earlier one, would be a state that never was (catalogue S11).

A store is read through views. Threads: one at a time writes (`write`, `clear`, `sync`); views may be made in any
thread at any time, and each is read by one thread at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from coterie.core.errors import CoterieError

MAX_KEY_BYTES = 160 * 1024
"""A longer key is refused with `ValueError`: a key-value key of 64 KiB, escaped, fits."""

Pair: TypeAlias = tuple[bytes, bytes]
Change: TypeAlias = tuple[bytes, bytes | None]
"""A key and its new value; None deletes it. Deleting what is not there is no error."""


class StoreFailed(CoterieError):
    """The store cannot be opened, read or written. Its files are as they were found."""

    advice = (
        "Stop, and check the disk. If it is sound, move the store's directory away and start again: the node makes "
        "a new one from its snapshot and its log, or from another member."
    )


class Reading(ABC):
    """A view: the store as it was at one moment, for as long as the view is open, whatever is written meanwhile.

    Reading raises `StoreFailed` where the disk gives other bytes than were written. Open views keep the space of
    what was overwritten since.
    """

    @abstractmethod
    def get(self, key: bytes) -> bytes | None:
        """The key's value, or None."""

    @abstractmethod
    def first(self, start: bytes, end: bytes) -> Pair | None:
        """The first pair with start <= key < end, or None."""

    @abstractmethod
    def last(self, start: bytes, end: bytes) -> Pair | None:
        """The last pair with start <= key < end, or None."""

    @abstractmethod
    def range(self, start: bytes, end: bytes, limit: int = 0) -> Iterator[Pair]:
        """Pairs with start <= key < end in ascending order, at most `limit` (0: all)."""

    @abstractmethod
    def close(self) -> None:
        """Give up what it holds; from any thread. Twice is no error."""


class OrderedStore(ABC):
    """Keys and values that outlive the process."""

    @abstractmethod
    def write(self, batch: Iterable[Change]) -> None:
        """Make all of the batch's changes, in order, or none (then it raises). Not durable before `sync`.

        The batch is taken piece by piece and may be larger than memory allows at once. Raises `OSError`
        (ENOSPC: there is no room, nothing has happened, and the same batch may be tried again; anything else
        ends the process, for nobody knows what is on the disk).
        """

    @abstractmethod
    def clear(self) -> None:
        """Delete everything: a batch like any other."""

    @abstractmethod
    def sync(self) -> None:
        """Return when all batches written so far are durable. `OSError` as in `write`."""

    @abstractmethod
    def view(self) -> Reading:
        """All batches written so far, none of those to come."""

    @property
    @abstractmethod
    def bytes_used(self) -> int:
        """Bytes on disk (or in memory), roughly."""

    @property
    def bytes_in_use(self) -> int:
        """Those of them that hold something: the rest is written again before the store grows. What the quota looks
        at."""
        return self.bytes_used

    @abstractmethod
    def close(self) -> None:
        """Close the store, once all views are closed. What no `sync` covered may be lost. Twice is no error."""
