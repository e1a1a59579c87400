"""The store under the key-value machine: undoing writes, and refusing damaged snapshots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.machine.kv.protocol import Item
from coterie.machine.kv.store import Store

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
WRITES = st.lists(st.tuples(KEYS, st.booleans()), max_size=12)


def write(store: Store, writes: list[tuple[bytes, bool]], commit_each: bool) -> None:
    """Put (True) or delete (False); without `commit_each` every key once at most, as in a transaction."""
    seen: set[bytes] = set()
    for key, put in writes:
        if commit_each or key not in seen:
            seen.add(key)
            if put:
                store.put(key, b"value")
            else:
                store.delete(key)
            if commit_each:
                store.commit()


def whole(store: Store) -> tuple[object, ...]:
    """All that can be observed, and how much is kept."""
    revisions = range(max(store.compacted, 1), store.revision + 1)
    return (
        store.revision,
        store.next_revision,
        [list(store.range(b"\0", b"\0", revision)) for revision in revisions],
        [list(store.events(revision)) for revision in revisions],
        list(store.range(b"\0", b"\0")),
        [store.count(key, b"\0") for key in (b"a", b"b", b"c", b"d")],
        store.histories,
        list(store.items()),
    )


@given(WRITES, st.integers(0, 3), WRITES)
def test_rollback_leaves_nothing_of_the_writes(
    before: list[tuple[bytes, bool]], compact: int, undone: list[tuple[bytes, bool]]
) -> None:
    store = Store()
    write(store, before, commit_each=True)
    if compact and compact < store.revision:
        store.compact(compact)
    expected = whole(store)
    write(store, undone, commit_each=False)
    store.rollback()
    assert whole(store) == expected
    write(store, [(b"a", True), (b"b", False), (b"c", True)], commit_each=True)
    twin = Store()
    twin.load(store.revision, store.compacted, store.items())
    assert whole(twin) == whole(store)


def test_compaction_frees_in_steps_and_reads_stay_right() -> None:
    store = Store()
    for revision in range(2, 12):
        store.put(b"key", b"%d" % revision)
        store.commit()
    store.put(b"gone", b"")
    store.commit()
    store.delete(b"gone")
    store.commit()
    store.compacted = 13
    for _ in range(3):
        store.sweep(4)
        assert [item.value for item in store.range(b"\0", b"\0", 13)] == [b"11"]
        assert [item.version for item in store.events(13)] == [0], "the compacted revision's own events stay known"
    assert store.histories == 0


PUT_2 = Item(b"a", b"", 2, 2, 1)
PUT_3 = Item(b"b", b"", 3, 3, 1)


@pytest.mark.parametrize(
    ("revision", "compacted", "items"),
    [
        (0, -1, []),
        (3, 4, []),
        (3, -2, []),
        (3, -1, [PUT_2]),
        (2, -1, [PUT_2, PUT_3]),
        (3, -1, [PUT_3, PUT_2]),
        (3, 3, [PUT_3, PUT_2]),
        (3, 3, [PUT_2, PUT_2, PUT_3]),
        (3, 3, [Item(b"a", b"", 0, 2, 0), PUT_3]),
        (3, -1, [Item(b"a", b"", 1, 1, 1), PUT_2, PUT_3]),
    ],
)
def test_items_that_no_store_can_have_are_refused(revision: int, compacted: int, items: list[Item]) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Store().load(revision, compacted, items)
