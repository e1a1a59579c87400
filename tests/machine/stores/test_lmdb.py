"""What LMDB needs of us, beyond the contract of stores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from coterie.machine.stores import open_store
from coterie.machine.stores.lmdb import PRIMER

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


def test_priming_leaves_nothing_behind_also_after_a_process_that_ended_in_the_middle_of_it(tmp_path: Path) -> None:
    environment = lmdb.open(str(tmp_path))
    with environment.begin(write=True) as transaction:
        transaction.put(PRIMER, b"")
    environment.close()
    store = open_store(str(tmp_path))
    store.write([(b"a", b"1")])
    view = store.view()
    assert list(view.range(b"", b"\xff\xff")) == [(b"a", b"1")]
    view.close()
    store.close()
