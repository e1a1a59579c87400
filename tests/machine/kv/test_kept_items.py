"""What was read from the store is kept, and never outlives what is written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.machine.kv import layered
from coterie.machine.kv.layered import KEPT_VALUE_BYTES, LayeredStore
from coterie.machine.stores import MemoryStore
from coterie.machine.stores.interface import Pair, Reading

KEYS = [b"a", b"b", b"c"]
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "delete", "undo", "flush", "settle"]), st.sampled_from(KEYS)),
    max_size=40,
)
SETTLING = 3
"""After so many flushes no layer has what was written before."""


class Counting(MemoryStore):
    """A store that counts how often a block is looked for."""

    looked = 0

    def view(self) -> Reading:
        view = super().view()
        last = view.last

        def counted(start: bytes, end: bytes) -> Pair | None:
            self.looked += 1
            return last(start, end)

        view.last = counted  # type: ignore[method-assign]
        return view


def flush(store: MemoryStore, data: LayeredStore) -> None:
    job = data.begin_flush()
    view = store.view()
    store.write(job.changes(view))
    view.close()
    data.finish_flush(job)


@pytest.mark.parametrize("slots", [1, 2, 1 << 16])
@settings(max_examples=200)
@given(steps=STEPS, wanted=st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_key_is_read_as_it_was_written_last_however_often_it_was_read_before(
    slots: int, steps: list[tuple[str, bytes]], wanted: list[bool]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layered, "KEPT_ITEMS", slots)
        store = MemoryStore()
        data = LayeredStore(store)
        model: dict[bytes, bytes] = {}
        for number, ((step, key), want) in enumerate(zip(steps, wanted, strict=False)):
            value = b"%d" % number
            if step == "put":
                data.put(key, value, want)
                data.commit()
                model[key] = value
            elif step == "delete":
                data.delete(key, want)
                data.commit()
                model.pop(key, None)
            elif step == "undo":
                data.put(key, value, want)
                data.rollback()
            for _ in range({"flush": 1, "settle": SETTLING}.get(step, 0)):
                flush(store, data)
            found = {each: data.get(each) for each in KEYS}
            assert {each: item.value for each, item in found.items() if item is not None} == model
            assert all((data.get(each, values=False) is None) == (each not in model) for each in KEYS)


def test_what_was_read_once_is_not_looked_for_again_unless_it_is_long() -> None:
    store = Counting()
    data = LayeredStore(store)
    data.put(b"short", b"v" * KEPT_VALUE_BYTES)
    data.put(b"long", b"v" * (KEPT_VALUE_BYTES + 1))
    data.commit()
    for _ in range(SETTLING):
        flush(store, data)
    for key, looked in ((b"short", 1), (b"long", 2)):
        store.looked = 0
        for _ in range(3):
            data.get(b"nothing")
            assert data.get(key) == data.get(key, data.revision)
        assert store.looked >= looked
        before = store.looked
        data.get(key)
        assert (store.looked == before) is (key == b"short")
