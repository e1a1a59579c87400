"""A store on disk whose process is killed at any moment holds a prefix of the batches, none of them torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.machine.stores import open_store

KEYS_A_BATCH = 200
ROUNDS = 8

WRITER = """
import sys
from coterie.machine.stores import open_store

store = open_store(sys.argv[1])
view = store.view()
number = int(view.get(b"number") or b"0")
view.close()
while True:
    number += 1
    stamp = b"%d" % number
    if number % 50 == 0:
        store.clear()
    store.write(
        [(b"number", stamp), *((b"k%d" % (key * 7919 % 100_003), stamp * 40) for key in range({keys}))]
    )
    if number % 3 == 0:
        store.sync()
        print(number, flush=True)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_writing(tmp_path: Path) -> None:
    dice = random.Random(7)
    script = WRITER.replace("{keys}", str(KEYS_A_BATCH))
    told = 0
    for _ in range(ROUNDS):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        assert child.stdout is not None
        for _ in range(dice.randrange(1, 60)):
            told = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        told = max([told, *(int(line) for line in child.stdout.read().splitlines())])
        child.stdout.close()
        child.wait()
        store = open_store(str(tmp_path))
        view = store.view()
        number = view.get(b"number")
        pairs = list(view.range(b"k", b"l"))
        view.close()
        store.close()
        if number is None:
            assert (told + 1) % 50 == 0, "between a clear and the next batch, and only there, the store is empty"
            assert pairs == []
            told = 0
            continue
        assert int(number) >= told, "what was synced is there"
        assert len(pairs) == KEYS_A_BATCH
        assert {value for _, value in pairs} == {number * 40}, "one whole batch, and nothing of another"
