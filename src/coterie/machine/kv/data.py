"""What the key-value machine needs of the data it stands on: in memory (`store.py`) or layered (`layered.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from coterie.machine.kv.protocol import Item, Put

FIRST_REVISION = 1
"""Of the empty store, as in etcd: the first write makes revision 2."""
NEVER = -1
"""`compacted` before the first compaction."""
TO_THE_LAST = b"\0"
"""As the end of a range: every key from the first one on."""


def tombstone(key: bytes, revision: int) -> Item:
    """What stands in the history where the key was deleted."""
    return Item(key, b"", 0, revision, 0)


class Data(Protocol):
    """Multi-version key-value data. Writes belong to revision `revision + 1` until `commit`."""

    revision: int
    """Of the last commit."""
    compacted: int
    """Reads below this revision are not possible; what this very revision changed is still known."""
    leased: bool
    """Whether any key was ever attached to a lease: then an item that is read without its value may lack its lease."""

    @property
    def next_revision(self) -> int:
        """What `commit` will return: the present revision, or one more if something was written."""
        ...

    def get(self, key: bytes, revision: int = 0) -> Item | None:
        """The key's item as of `revision` (0: with the writes so far), or None.

        `revision` must be from `compacted` to the present one.
        """
        ...

    def range(self, key: bytes, end: bytes, revision: int = 0, *, values: bool = True) -> Iterator[Item]:
        """Items of `key` (`end` empty) or of the keys in [key, end), in order of key, as of `revision`.
        Without `values` the items' values may be empty, and their leases 0. Nothing may be written meanwhile."""
        ...

    def count(self, key: bytes, end: bytes) -> int:
        """Number of living keys that `range` of the present would give, without visiting them all."""
        ...

    def events(self, revision: int) -> Sequence[Item]:
        """What `revision` changed, in the order of writing; a tombstone is a deletion. `revision` must
        be from `compacted` to the present one; the empty store's own changed nothing."""
        ...

    def put(self, key: bytes, value: bytes, want_previous: bool = False, lease: int = 0) -> Item | None:
        """Set the key; returns the item that was there, if it is wanted."""
        ...

    def put_each(self, puts: Sequence[Put]) -> None:
        """`put` and `commit` for each: commands without a lease that do nothing else, whose previous items nobody
        wants."""
        ...

    def delete(self, key: bytes, want_previous: bool = True) -> Item | None:
        """Delete the key; returns the item that was there (its value may be missing if it is not wanted),
        None if there was none (nothing changes)."""
        ...

    def commit(self) -> int:
        """End the writes of one command; returns the revision, one higher if there were any."""
        ...

    def rollback(self) -> None:
        """Undo the writes since the last commit."""
        ...

    def compact(self, revision: int) -> None:
        """Reads below `revision` are over. Memory is freed by and by. `revision` must be above
        `compacted` and not above the present one."""
        ...

    def end_batch(self) -> None:
        """All commands of a batch have run: the time for work that is not any command's."""
        ...

    def items(self) -> Iterator[Item]:
        """Every item that can be read, in an order that depends on the state alone: first, by key,
        those older than what `events` still knows; then, revision by revision, the events."""
        ...

    def in_any_order(self) -> Iterator[Item]:
        """The same items, in the order that is the quickest. Nothing may be written meanwhile."""
        ...

    def load(self, revision: int, compacted: int, items: Iterable[Item]) -> None:
        """Fill an empty store with what `items` gave at this revision and compaction. Raises
        `ValueError` if that can't be: a damaged snapshot must not become a state."""
        ...
