"""Every ordered store keeps the same contract: checked against a dict, crashes included."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coterie.machine.stores import LmdbStore, MemoryStore, OrderedStore, StoreFailed
from coterie.machine.stores.interface import MAX_KEY_BYTES, Change, Reading

END = b"\xff" * 3000
LONG = b"x" * 500
"""LMDB's own keys end here."""
KEYS = st.one_of(
    st.sampled_from(
        [b"a", b"a\0", b"ab", b"b", b"\0", b"\xff", LONG, LONG[:-1], LONG + b"\0", LONG + b"y", LONG[1:] + b"y"]
    ),
    st.binary(min_size=1, max_size=3),
    st.binary(max_size=2).map(lambda rest: LONG + rest),
    st.integers(400, 2000).map(lambda length: b"x" * length),
)
VALUES = st.one_of(st.binary(max_size=5), st.integers(0, 9000).map(bytes))
BATCHES = st.lists(st.tuples(KEYS, st.one_of(VALUES, st.none())), max_size=12)

State = dict[bytes, bytes]


def after(state: State, batch: list[Change]) -> State:
    """What the batch makes of the state."""
    state = dict(state)
    for key, value in batch:
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    return state


def compare(view: Reading, state: State, bounds: list[bytes]) -> None:
    """The view shows exactly this state."""
    pairs = sorted(state.items())
    assert list(view.range(b"", END)) == pairs
    for key in [*state, *bounds]:
        assert view.get(key) == state.get(key)
    for start in bounds:
        for end in bounds:
            wanted = [pair for pair in pairs if start <= pair[0] < end]
            assert list(view.range(start, end)) == wanted
            assert list(view.range(start, end, 2)) == wanted[:2]
            assert view.first(start, end) == (wanted[0] if wanted else None)
            assert view.last(start, end) == (wanted[-1] if wanted else None)


class Contract(RuleBasedStateMachine):
    """A store beside a dict. `history` has the state after each batch that a crash may fall back to."""

    def __init__(self) -> None:
        super().__init__()
        self.store = self.make()
        self.history: list[State] = [{}]
        self.views: list[tuple[Reading, State]] = []

    def make(self) -> OrderedStore:
        raise NotImplementedError

    @rule(batch=BATCHES)
    def write(self, batch: list[Change]) -> None:
        self.store.write(iter(batch))
        self.history.append(after(self.history[-1], batch))

    @rule(batch=BATCHES)
    def a_batch_that_fails_in_the_middle_leaves_nothing(self, batch: list[Change]) -> None:
        def failing() -> object:
            yield from batch
            raise KeyError("in the middle")

        with pytest.raises(KeyError):
            self.store.write(failing())  # type: ignore[arg-type]  # a generator of changes
        with pytest.raises(ValueError, match="key of"):
            self.store.write([*batch, (b"", b"")])
        with pytest.raises(ValueError, match="key of"):
            self.store.write([*batch, (b"k" * (MAX_KEY_BYTES + 1), None)])

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.history.append({})

    @rule()
    def sync(self) -> None:
        self.store.sync()
        del self.history[:-1]

    @precondition(lambda self: len(self.views) < 4)
    @rule()
    def look(self) -> None:
        self.views.append((self.store.view(), self.history[-1]))

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def look_away(self, data: st.DataObject) -> None:
        view, _ = self.views.pop(data.draw(st.integers(0, len(self.views) - 1)))
        view.close()
        view.close()

    @rule(bounds=st.lists(KEYS, max_size=4))
    def every_view_stands_still(self, bounds: list[bytes]) -> None:
        for view, state in self.views:
            compare(view, state, bounds)

    @invariant()
    def a_new_view_shows_the_present(self) -> None:
        view = self.store.view()
        try:
            assert dict(view.range(b"", END)) == self.history[-1]
        finally:
            view.close()

    def close_views(self) -> None:
        for view, _ in self.views:
            view.close()
        self.views.clear()

    def teardown(self) -> None:
        self.close_views()
        self.store.close()
        self.store.close()


class InMemory(Contract):
    def make(self) -> OrderedStore:
        return MemoryStore()

    @rule(lost=st.integers(0, 5))
    def crash(self, lost: int) -> None:
        assert isinstance(self.store, MemoryStore)
        self.close_views()
        lost = min(lost, self.store.unsynced)
        assert self.store.unsynced == len(self.history) - 1
        self.store.crash(lost)
        self.history = [self.history[-1 - lost]]


class OnDisk(Contract):
    def __init__(self) -> None:
        self.path = tempfile.mkdtemp()
        super().__init__()

    def make(self) -> OrderedStore:
        return LmdbStore(self.path)

    @rule()
    def open_again(self) -> None:
        self.close_views()
        self.store.close()
        self.store = self.make()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.path)


TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOnDisk = OnDisk.TestCase
TestOnDisk.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_flipped_bit_in_a_value_is_found(tmp_path: Path) -> None:
    store = LmdbStore(str(tmp_path))
    store.write([(b"key", b"the value that stood here")])
    store.sync()
    store.close()
    file = tmp_path / "data.mdb"
    data = file.read_bytes()
    assert b"the value that stood here" in data
    file.write_bytes(data.replace(b"the value that stood here", b"the value that stooD here"))
    store = LmdbStore(str(tmp_path))
    view = store.view()
    readings: list[Callable[[], object]] = [
        lambda: view.get(b"key"),
        lambda: view.first(b"a", END),
        lambda: list(view.range(b"a", END)),
    ]
    for reading in readings:
        with pytest.raises(StoreFailed, match="not what was written"):
            reading()
    view.close()
    store.close()


def test_an_empty_store_on_disk_takes_the_pages_that_it_begins_with_and_they_are_in_use(tmp_path: Path) -> None:
    store = LmdbStore(str(tmp_path))
    empty = store.bytes_in_use
    assert 0 < empty <= store.bytes_used
    store.write([(b"k", b"v" * 100_000)])
    assert empty + 100_000 < store.bytes_in_use <= store.bytes_used
    store.close()


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file where the directory should be")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        LmdbStore(str(tmp_path / "store"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.mdb").write_bytes(b"no LMDB" * 2000)
    with pytest.raises(StoreFailed, match="cannot be opened"):
        LmdbStore(str(tmp_path / "other"))
