"""Writing a snapshot's items into an empty ordered store, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from coterie.machine.kv.blocks import blocks, lone_block
from coterie.machine.kv.counts import counted
from coterie.machine.kv.data import FIRST_REVISION, NEVER
from coterie.machine.kv.protocol import Item, encoder
from coterie.machine.kv.records import FORMAT, STATE_KEY, State, index_pair, living_keys
from coterie.machine.stores.interface import Change, OrderedStore

BATCH_ITEMS = 16_384
"""Changes in one batch."""


def fill(store: OrderedStore, revision: int, compacted: int, items: Iterable[Item]) -> None:
    """Make the store hold what `Data.items` gave at this revision and compaction.

    Raises `ValueError` if that can't be: a damaged snapshot must not become a state.
    """
    leased = False

    def looked_at() -> Iterator[Item]:
        nonlocal leased
        for item in items:
            leased = leased or item.lease != 0
            yield item

    write_in_batches(store, _changes(placed(revision, compacted, looked_at()), max(compacted, FIRST_REVISION + 1)))
    view = store.view()
    try:
        counts = counted(living_keys(view, b"", None))
    finally:
        view.close()
    swept = max(compacted - 1, FIRST_REVISION)  # its own deletions are still in the index
    state = State(FORMAT, revision, compacted, swept, counts.bounds, counts.counts, leased)
    store.write([(STATE_KEY, encoder.encode(state))])


def write_in_batches(store: OrderedStore, changes: Iterable[Change]) -> None:
    """Write the changes, a part at a time."""
    batch: list[Change] = []
    for change in changes:
        batch.append(change)
        if len(batch) >= BATCH_ITEMS:
            store.write(batch)
            batch = []
    if batch:
        store.write(batch)


def _changes(items: Iterator[tuple[Item, int]], first: int) -> Iterator[Change]:
    """Blocks and places. Items before revision `first` may come in any order: each is a block of its own."""
    for item, position in items:
        if item.mod >= first:
            yield from _events(chain([(item, position)], items))
            return
        yield lone_block(item, position)
        yield index_pair(item, position)


def _events(items: Iterator[tuple[Item, int]]) -> Iterator[Change]:
    index: list[Change] = []

    def indexed() -> Iterator[tuple[Item, int]]:
        for item, position in items:
            index.append(index_pair(item, position))
            yield item, position

    for block in blocks(indexed()):
        yield block
        yield from index
        index.clear()
    yield from index


def placed(revision: int, compacted: int, items: Iterable[Item]) -> Iterator[tuple[Item, int]]:
    """The items with their positions, as a state at this revision and compaction may have them; `ValueError` if none
    may. Those older than the first event are numbered through: all that matters is that no two share revision and
    position. The compaction's own revision may be without events: a state that comes from elsewhere (etcd) has
    forgotten what it deleted."""
    if revision < FIRST_REVISION or not NEVER <= compacted <= revision:
        raise ValueError(f"a snapshot at revision {revision}, compacted at {compacted}")
    first = max(compacted, FIRST_REVISION + 1)
    at = first - 1
    position = 0
    for item in items:
        if item.mod < first:
            out_of_place = at >= first
            if out_of_place or not item.version or item.mod <= FIRST_REVISION:
                raise ValueError(f"the snapshot has revision {item.mod} of {item.key!r} out of place")
            position += 1
        elif item.mod == at:
            position += 1
        elif at < item.mod <= revision and (item.mod == at + 1 or item.mod == compacted + 1):
            at = item.mod
            position = 0
        else:
            raise ValueError(f"the snapshot has revision {item.mod} after {at}")
        yield item, position
    if at != revision and revision != compacted:
        raise ValueError(f"the snapshot ends at revision {at}, not at {revision}")
