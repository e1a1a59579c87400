"""What LMDB needs of us, beyond the contract of stores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from coterie.machine.stores import OrderedStore, open_store
from coterie.machine.stores.lmdb import PRIMER, PRIMER_VALUE

FIRST_SWEEP = """
import sys
from coterie.machine.stores import open_store

count = int(sys.argv[2])
# A page that held such a value looks, where LMDB expects a page of nodes, as if it had one with duplicates.
value = bytearray(3000)
value[1], value[244] = 1, 4
value = bytes(value)
store = open_store(sys.argv[1])
store.clear()
store.write([(b"%08d" % i, value) for i in range(count)])
store.write([(b"%08d" % i, None) for i in range(count)] + [(b"left", b"over")])
view = store.view()
print(list(view.range(b"", b"~")))
view.close()
store.close()
"""


@pytest.mark.parametrize("count", [300, 600, 3000])
def test_a_first_transaction_that_frees_hundreds_of_pages_neither_ends_the_process_nor_fails(
    tmp_path: Path, count: int
) -> None:
    command = [sys.executable, "-c", FIRST_SWEEP, str(tmp_path), str(count)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.strip() == "[(b'left', b'over')]"


@pytest.mark.skipif(os.sysconf("SC_PAGESIZE") != 4096, reason="the values are made for pages of 4 KiB")
def test_lmdb_has_the_fault_that_stores_are_primed_against(tmp_path: Path) -> None:
    """Else the priming may go."""
    script = FIRST_SWEEP.replace("store.clear()", "store._primed = True; store.clear()")
    command = [sys.executable, "-c", script, str(tmp_path), "600"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode != 0


KEYS = [b"\0", b"a", b"\xff", b"\xff" * 500, b"\xff" * 501, b"\xff" * 502, b"\xff" * 1000]
LAST = b"\xff" * 3000


def shows(store: OrderedStore, keys: list[bytes]) -> None:
    view = store.view()
    assert list(view.range(b"", LAST)) == [(key, b"here") for key in keys]
    assert [view.get(key) for key in KEYS] == [b"here" if key in keys else None for key in KEYS]
    assert view.first(b"", LAST) == ((keys[0], b"here") if keys else None)
    assert view.first(b"\xff" * 1500, LAST) is None
    assert view.last(b"", LAST) == ((keys[-1], b"here") if keys else None)
    view.close()


def test_priming_takes_nobodys_key_away(tmp_path: Path) -> None:
    for taken in range(1, len(KEYS) + 1):
        store = open_store(str(tmp_path))
        store.write([(KEYS[taken - 1], b"here")])
        shows(store, KEYS[:taken])
        store.close()


@pytest.mark.parametrize("keys", [[], KEYS])
def test_priming_leaves_nothing_to_be_seen_also_after_a_process_that_ended_in_the_middle_of_it(
    tmp_path: Path, keys: list[bytes]
) -> None:
    store = open_store(str(tmp_path))
    store.write([(key, b"here") for key in keys])
    store.close()
    environment = lmdb.open(str(tmp_path))
    with environment.begin(write=True) as transaction:
        transaction.put(PRIMER, PRIMER_VALUE)
    environment.close()
    store = open_store(str(tmp_path))
    shows(store, keys)
    store.write([(b"a", b"here")])
    shows(store, keys or [b"a"])
    store.close()
    environment = lmdb.open(str(tmp_path))
    with environment.begin() as transaction:
        assert transaction.get(PRIMER) is None
    environment.close()
