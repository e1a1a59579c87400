from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.etcd.backup.files import Drawer

from coterie.etcd.backup.sorting import Sorter
from coterie.etcd.backup.temporary import scratch_in

PAIRS = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=300)), max_size=200)


@given(PAIRS, st.integers(1, 20_000))
def test_however_small_the_runs_pairs_come_by_key_and_equal_keys_as_they_came(
    pairs: list[tuple[bytes, bytes]], run_bytes: int
) -> None:
    drawer = Drawer()
    sorter = Sorter(drawer, run_bytes)
    for pair in pairs:
        sorter.add(*pair)
    assert list(sorter.pairs()) == sorted(pairs, key=lambda pair: pair[0])
    sorter.close()
    assert all(file.closed for file in drawer.files)


def test_values_longer_than_what_is_read_at_a_time_come_whole() -> None:
    pairs = [(b"%d" % (9 - i), bytes([i]) * (200_000 + i)) for i in range(10)]
    sorter = Sorter(Drawer(), 300_000)
    for pair in pairs:
        sorter.add(*pair)
    assert list(sorter.pairs()) == sorted(pairs)


def test_what_fits_in_memory_needs_no_file() -> None:
    drawer = Drawer()
    sorter = Sorter(drawer)
    for i in range(1000):
        sorter.add(b"%d" % i, b"")
    assert len(list(sorter.pairs())) == 1000
    assert not drawer.files


def test_it_sorts_in_a_file_of_the_file_system(tmp_path: Path) -> None:
    sorter = Sorter(scratch_in(tmp_path), 10_000)
    pairs = [(b"%05d" % (i * 7919 % 10_007), b"v" * (i % 50)) for i in range(10_007)]
    for pair in pairs:
        sorter.add(*pair)
    assert list(sorter.pairs()) == sorted(pairs)
    sorter.close()
    assert not list(tmp_path.iterdir())
