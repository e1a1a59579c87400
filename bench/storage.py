"""The log on this disk: what an append, the encoding of one and a recovery cost.

    python bench/storage.py [--directory DIR] [--megabytes N]

Appends are measured in turns, so that a busy moment of the disk falls on all of them alike: through the log
store, into a file that was filled with zeros before, and plainly at the end of a file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.records import Put, StoreBatch
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.storage.disk import DiskFiles
from coterie.storage.files import File
from coterie.storage.frame import Pledge, encode_frame
from coterie.storage.log_store import LogHeader, LogStore

OWNER = LogHeader(1, 2, DEFAULT_PROTOCOL)
ROUNDS = 300
ENCODINGS = 2000
WRITE_BYTES = 1024 * 1024
"""Payload bytes that are written together to make a log that is then recovered."""


def entry(index: int, payload: bytes) -> Entry:
    return Entry(index, Epoch(1, 0), EntryKind.COMMANDS, 0, payload)


def new_log(directory: str) -> LogStore:
    return LogStore.create(DiskFiles(), directory, OWNER, (entry(1, b"first"),))


def microseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e6


def appends(directory: str, size: int) -> dict[str, float]:
    """Median microseconds of one durable append of `size` bytes, three ways."""
    store = new_log(os.path.join(directory, f"append-{size}"))
    payload = os.urandom(size)
    frame = encode_frame(payload, 1, 0, 0, Pledge(Epoch(1, 0), 0, 1))
    plain = DiskFiles().open(os.path.join(directory, f"plain-{size}"), create=True)
    zeroed = DiskFiles().open(os.path.join(directory, f"zeroed-{size}"), create=True)
    zeroed.write_at(0, bytes(ROUNDS * len(frame)))
    zeroed.sync()
    took: dict[str, list[float]] = {"log store": [], "zeroed file": [], "plain file": []}

    def log(number: int) -> None:
        store.prepare([StoreBatch(number, (Put((entry(number + 2, payload),)),))]).perform()

    def onto(file: File, number: int) -> None:
        file.write_at(number * len(frame), frame)
        file.sync()

    for number in range(ROUNDS):
        took["log store"].append(microseconds(partial(log, number)))
        took["zeroed file"].append(microseconds(partial(onto, zeroed, number)))
        took["plain file"].append(microseconds(partial(onto, plain, number)))
    for closing in (store, plain, zeroed):
        closing.close()
    return {name: statistics.median(each) for name, each in took.items()}


def encoding(directory: str, payload: bytes) -> float:
    """Median microseconds of `prepare` for one entry; writing it is not counted."""
    store = new_log(directory)
    took: list[float] = []
    for number in range(ENCODINGS):
        batch = StoreBatch(number, (Put((entry(number + 2, payload),)),))
        begin = time.perf_counter()
        write = store.prepare([batch])
        took.append((time.perf_counter() - begin) * 1e6)
        store.performed(write, number + 2)
    store.close()
    return statistics.median(took)


def recovery(directory: str, size: int, megabytes: int) -> tuple[float, int]:
    """Seconds to open a log of so many megabytes of entries of `size` bytes, and how many entries it held."""
    store = new_log(directory)
    last, together = 1, max(1, WRITE_BYTES // size)
    payload = os.urandom(size)
    while last * size < megabytes * 1_000_000:
        entries = tuple(entry(last + 1 + at, payload) for at in range(together))
        store.prepare([StoreBatch(last, (Put(entries),))]).perform()
        last += together
    store.close()
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        store = LogStore.open(DiskFiles(), directory, OWNER)
        best = min(best, time.perf_counter() - begin)
        assert store.recovered.last_index == last
        store.close()
    return best, last


def main() -> None:
    parser = argparse.ArgumentParser(description="What the log costs on this disk.")
    parser.add_argument("--directory", default=".", help="where to make a scratch directory")
    parser.add_argument("--megabytes", type=int, default=100, help="size of the logs to recover")
    arguments = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="bench-storage-", dir=arguments.directory)
    try:
        for size in (400, 20_000):
            figures = ", ".join(f"{name} {took:.0f} us" for name, took in appends(scratch, size).items())
            print(f"append {size} B: {figures}")
        for name, payload in (
            ("400 B", os.urandom(400)),
            ("20 kB", os.urandom(20_000)),
            ("20 kB of zeros", bytes(20_000)),
            ("1 MB", os.urandom(1_000_000)),
        ):
            took = encoding(os.path.join(scratch, f"encode {name}"), payload)
            print(f"prepare {name}: {took:.1f} us")
        for size in (100, 1000, 20_000, 1_000_000):
            seconds, count = recovery(os.path.join(scratch, f"recover-{size}"), size, arguments.megabytes)
            print(f"recover {count} entries of {size} B: {seconds:.2f} s, {count * size / seconds / 1e6:.0f} MB/s")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
