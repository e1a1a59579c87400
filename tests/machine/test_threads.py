"""Flushes and snapshots in threads of their own, on a real disk, while entries are applied and questions asked."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from tests.machine.machines import A, entry, plain, segment

from coterie.core.types import Entry
from coterie.machine.host import Host
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import Compact, DeleteRange, Put, Range, encoder
from coterie.machine.persistence import Flush, SnapshotView
from coterie.machine.stores import open_store

ENTRIES = 600
COMMANDS = 64
KEYS = 5000


def a_log(dice: random.Random) -> list[Entry]:
    log = []
    for index in range(1, ENTRIES + 1):
        bodies: list[Put | DeleteRange | Compact] = [
            Put(b"key-%d" % dice.randrange(KEYS), b"%d" % index * 20) for _ in range(COMMANDS - 2)
        ]
        bodies.append(DeleteRange(b"key-%d" % dice.randrange(KEYS)))
        bodies.append(Compact(index * 30) if index % 20 == 0 else Put(b"last", b""))
        number = 1 + (index - 1) * COMMANDS
        log.append(entry(index, segment(number, *(plain(encoder.encode(body)) for body in bodies))))
    return log


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_what_threads_write_while_the_machine_goes_on_is_what_was_applied(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    log = a_log(dice)
    twin = Host(KeyValue())
    host = Host(KeyValue(), store=open_store(str(tmp_path)))
    failures: list[BaseException] = []

    def guarded(work: object) -> threading.Thread:
        def run() -> None:
            try:
                work()  # type: ignore[operator]  # one of the two below
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    flush: Flush | None = None
    writing = guarded(lambda: None)
    snapshot: tuple[SnapshotView, list[bytes], threading.Thread] | None = None
    snapshots = flushes = 0
    digests: dict[int, bytes] = {}

    for each in log:
        assert host.apply(each, A, 1) == twin.apply(each, A, 1)
        question = encoder.encode(Range(b"key-%d" % dice.randrange(KEYS), b"key-%d" % dice.randrange(KEYS), limit=5))
        assert host.query(question) == twin.query(question)
        if each.index % 50 == 0:
            writing.join()  # it must not fall behind for ever
        if flush is not None and not writing.is_alive():
            host.finish_flush(flush)
            flush = None
            flushes += 1
            if snapshot is None:
                view, chunks = host.snapshot_view(), list[bytes]()
                snapshot = view, chunks, guarded(lambda view=view, chunks=chunks: chunks.extend(view.chunks()))
        if snapshot is not None and not snapshot[2].is_alive():
            view, chunks, _ = snapshot
            view.close()
            restored = Host(KeyValue())
            restored.restore(chunks)
            assert restored.digest() == digests[view.meta.index]
            snapshot = None
            snapshots += 1
        if flush is None and each.index % 20 == 0:
            digests[each.index] = twin.digest()
            flush = host.begin_flush()
            assert flush is not None
            writing = guarded(flush.perform)
    writing.join()
    if flush is not None:
        host.finish_flush(flush)
    if snapshot is not None:
        snapshot[2].join()
        snapshot[0].close()
    assert failures == []
    assert flushes > 3
    assert snapshots > 0
    assert host.digest() == twin.digest()
    final = host.begin_flush()
    if final is not None:
        final.perform()
        host.finish_flush(final)
    host.close()
    again = Host(KeyValue(), store=open_store(str(tmp_path)))
    assert again.digest() == twin.digest()
    again.close()
