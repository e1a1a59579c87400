"""Blocks and rows of the index: what goes in comes out, in pieces of bounded length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coterie.machine.kv.blocks import BLOCK_BYTES, Blocks, blocks, blocks_of, decode_block, event_key
from coterie.machine.kv.data import tombstone
from coterie.machine.kv.protocol import Item
from coterie.machine.kv.records import (
    INDEX,
    INDEX_END,
    ROW_PLACES,
    Place,
    decode_row,
    find,
    index_rows,
    newest_run,
    puts_pair,
    superseded,
)
from coterie.machine.stores import MemoryStore

LENGTHS = st.one_of(
    st.integers(0, 40), st.sampled_from([1000, 2019, 2020, BLOCK_BYTES - 30, BLOCK_BYTES, 3 * BLOCK_BYTES])
)


def puts(lengths: list[int]) -> list[Item]:
    return [Item(b"k%d" % (mod % 7), bytes(n), 1, mod, mod) for mod, n in enumerate(lengths, 2)]


@given(st.lists(LENGTHS, max_size=80))
def test_items_come_out_of_blocks_as_they_went_in_and_no_block_is_long_unless_one_item_is(lengths: list[int]) -> None:
    items = puts(lengths)
    for made in (list(blocks_of(items)), list(blocks((item, 0) for item in items))):
        found = [decode_block(raw) for _, raw in made]
        assert [item for block in found for item in block] == items
        assert [key for key, _ in made] == [event_key(block[0].mod, 0) for block in found]
        assert all(len(raw) <= BLOCK_BYTES for (_, raw), block in zip(made, found, strict=True) if len(block) > 1)


def test_equal_items_fill_their_blocks() -> None:
    made = list(blocks_of(puts([250] * 1000)))
    assert sum(len(raw) for _, raw in made) > 0.9 * len(made) * BLOCK_BYTES


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.data())
def test_every_item_and_every_event_is_found_however_revisions_lie_in_blocks(
    sizes: list[int], data: st.DataObject
) -> None:
    events = [
        [Item(b"k%d" % number, bytes(300), revision, revision, 1) for number in range(size)]
        for revision, size in enumerate(sizes, 2)
    ]
    store = MemoryStore()
    store.write(blocks((item, position) for event in events for position, item in enumerate(event)))
    reader = Blocks(store.view())
    for _ in range(20):
        event = data.draw(st.sampled_from(events))
        revision = event[0].mod
        assert reader.events(revision) == event
        position = data.draw(st.integers(0, len(event) - 1))
        assert reader.item(b"k%d" % position, revision, position) == event[position]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.sampled_from([0, 0, 0, 5])), min_size=1, max_size=200))
def test_the_index_has_the_right_place_for_every_revision(steps: list[tuple[bool, int, int]]) -> None:
    items: list[Item] = []
    positions: dict[tuple[bytes, int], int] = {}
    revision, create, version = 1, 0, 0
    for dies, step, position in steps:
        revision += step
        if dies and version:
            create = version = 0
            items.append(tombstone(b"a", revision))
        else:
            create = create or revision
            version += 1
            items.append(Item(b"a", b"", create, revision, version))
        if position:
            positions[b"a", revision] = position
    places = [Place(b"a", i.mod, positions.get((b"a", i.mod), 0), i.create, i.version) for i in items]
    store = MemoryStore()
    store.write(index_rows(items, positions))
    view = store.view()
    rows = [decode_row(b"a", row) for _, row in view.range(INDEX, INDEX_END)]
    assert [place for row in rows for place in row] == places[::-1]
    assert all(len(row) <= ROW_PLACES for row in rows)
    last, run = places[-1], newest_run(view, b"a")
    assert run is not None
    assert run[:4] == [last.version, last.create, last.position, last.mod]
    for at in range(1, revision + 1):
        assert find(view, b"a", at) == next((place for place in reversed(places) if place.mod <= at), None)

    bound = items[len(items) // 2].mod
    changes = list(superseded(view, b"a", bound))
    assert sorted(where[0] for _, gone in changes for where in gone) == [item.mod for item in items if item.mod < bound]
    store.write(change for change, _ in changes)
    kept = [place for _, row in store.view().range(INDEX, INDEX_END) for place in decode_row(b"a", row)]
    assert kept == [place for place in reversed(places) if place.mod >= bound]


def test_a_row_of_puts_is_the_same_however_it_is_made() -> None:
    items = [Item(b"a", b"", 2, mod, version) for version, mod in enumerate([2, 7, 8, 30], 1)]
    assert [puts_pair(items[:-1], items[-1])] == list(index_rows(items, {}))
