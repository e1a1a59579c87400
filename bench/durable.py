"""What a key-value machine on disk costs beside one in memory, and what it keeps in memory.

    python bench/durable.py [--keys 1000000] [--directory DIR]

Prints, one line each: the rate of puts (both machines in turn, entries of 64 commands, flushes in a thread), the
longest that the applying thread stood still, memory a key, and the times to flush, open, snapshot and restore.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from coterie.core.messages import Command, Segment, encode_segments
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.machine.host import Host
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import Put, Range, encoder
from coterie.machine.stores import open_store

VALUE = bytes(range(256))
COMMANDS = 64


def memory(kind: str) -> int:
    """Bytes of `RssAnon` (the process's own) or `RssFile` (mapped files, which the system may take back)."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(kind))


def entries(first: int, puts: int, keys: int, start: int = 0) -> Iterator[Entry]:
    """Entries of puts spread over the keys."""
    number = 1 + (first - 1) * COMMANDS
    for index in range(first, first + puts // COMMANDS):
        commands = tuple(
            Command(0, 0, 0, encoder.encode(Put(b"key-%012d" % ((start + number + i) * 7919 % keys), VALUE)))
            for i in range(COMMANDS)
        )
        segment = Segment(1, 1, number, commands)
        number += COMMANDS
        yield Entry(index, Epoch(1, 0), EntryKind.COMMANDS, 1000, encode_segments([segment]))


class Flusher:
    """Drives the host's flushes as a node does: begins and ends them in this thread, performs them in another."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.times: list[float] = []
        self._thread: threading.Thread | None = None
        self._flush = host.begin_flush()
        assert self._flush is None

    def step(self) -> None:
        """After each entry."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()
        if self._thread is None and self.host.flush_due:
            self.begin()

    def begin(self) -> None:
        self._flush = self.host.begin_flush()
        if self._flush is not None:
            self._thread = threading.Thread(target=self._perform)
            self._thread.start()

    def _perform(self) -> None:
        began = time.perf_counter()
        assert self._flush is not None
        self._flush.perform()
        self.times.append(time.perf_counter() - began)

    def wait(self) -> None:
        if self._thread is not None and self._flush is not None:
            self._thread.join()
            self.host.finish_flush(self._flush)
            self._thread = self._flush = None

    def all(self) -> None:
        self.wait()
        self.begin()
        self.wait()


def apply(host: Host, log: list[Entry], step: Callable[[], None]) -> tuple[float, list[float]]:
    """Seconds altogether, and of each entry with what the driver does after it."""
    pauses = []
    began = last = time.perf_counter()
    for entry in log:
        host.apply(entry, 1, 1)
        step()
        now = time.perf_counter()
        pauses.append(now - last)
        last = now
    return last - began, pauses


def worst(pauses: list[float]) -> str:
    ordered = sorted(pauses)
    return f"longest {ordered[-1] * 1e3:.1f} ms, p99.9 {ordered[int(len(ordered) * 0.999)] * 1e3:.2f} ms"


def rates(directory: str, keys: int) -> None:
    """Puts a second, in memory and on disk, in turn."""
    plain, durable = Host(KeyValue()), Host(KeyValue(), store=open_store(directory))
    flusher = Flusher(durable)
    ratios, pauses, speeds, first = [], [], ([], []), 1  # type: ignore[var-annotated]
    for _ in range(5):
        log = list(entries(first, 128_000, keys))
        first += len(log)
        gc.collect()
        a, _ = apply(plain, log, lambda: None)
        gc.collect()
        b, each = apply(durable, log, flusher.step)
        pauses += each
        speeds[0].append(a / 128_000 * 1e6)
        speeds[1].append(b / 128_000 * 1e6)
        ratios.append(b / a)
    flusher.all()
    print(
        f"puts over {keys} keys: in memory {statistics.median(speeds[0]):.2f} us each, on disk "
        f"{statistics.median(speeds[1]):.2f} us while {len(flusher.times)} flushes ran (ratio "
        f"{statistics.median(ratios):.2f}); {worst(pauses)}"
    )
    durable.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    base = tempfile.mkdtemp(dir=options.directory)
    rates(os.path.join(base, "few"), 10_000)
    rates(os.path.join(base, "many"), 200_000)

    gc.collect()
    before = memory("RssAnon")
    path = os.path.join(base, "million")
    host = Host(KeyValue(), store=open_store(path))
    flusher = Flusher(host)
    times, pauses, count = 0.0, [], options.keys // COMMANDS
    for first in range(1, count + 1, 1000):
        log = list(entries(first, min(1000, count + 1 - first) * COMMANDS, options.keys))
        spent, each = apply(host, log, flusher.step)
        times += spent
        pauses += each
    log = []
    flusher.all()
    flusher.all()
    gc.collect()
    keys = count * COMMANDS
    print(f"{keys} new keys: {times / keys * 1e6:.2f} us each; {worst(pauses)}; {len(flusher.times)} flushes, longest ")
    print(f"  flush: median {statistics.median(flusher.times) * 1e3:.0f} ms, longest {max(flusher.times) * 1e3:.0f} ms")
    own, mapped = (memory("RssAnon") - before) / keys, memory("RssFile") / 1e6
    print(f"  memory after: own {own:.0f} B a key, mapped {mapped:.0f} MB")
    host.close()
    began = time.perf_counter()
    host = Host(KeyValue(), store=open_store(path))
    print(f"  opened in {(time.perf_counter() - began) * 1e3:.1f} ms, applied {host.applied}")
    gc.collect()
    print(f"  memory opened: own {(memory('RssAnon') - before) / keys:.1f} B a key")
    print(
        f"  on disk {sum(os.stat(os.path.join(path, n)).st_blocks for n in os.listdir(path)) * 512 / keys:.0f} B a key"
    )
    question = encoder.encode(Range(b"\0", b"\0", limit=10))
    began = time.perf_counter()
    host.query(question)
    print(f"  ten of all keys, counted: {(time.perf_counter() - began) * 1e3:.2f} ms")

    flusher = Flusher(host)
    log = list(entries(host.applied + 1, 320_000, options.keys))
    quiet, each = apply(host, log[:2000], flusher.step)
    flusher.wait()
    view = host.snapshot_view()
    chunks: list[bytes] = []
    took: list[float] = []

    def snapshot() -> None:
        start = time.perf_counter()
        chunks.extend(view.chunks())
        view.close()
        took.append(time.perf_counter() - start)

    thread = threading.Thread(target=snapshot)
    thread.start()
    busy, pauses, done = 0.0, [], 2000
    while thread.is_alive():
        part = log[done : done + 200] if done < len(log) else list(entries(host.applied + 1, 12_800, options.keys))
        done += len(part)
        spent, each = apply(host, part, flusher.step)
        busy += spent
        pauses += each
    thread.join()
    print(
        f"  snapshot: {took[0]:.1f} s, {sum(map(len, chunks)) / 1e6:.0f} MB while puts went on: "
        f"{busy / (done - 2000) / COMMANDS * 1e6:.2f} us each, {quiet / 2000 / COMMANDS * 1e6:.2f} without; "
        f"{worst(pauses)}"
    )
    flusher.all()
    host.close()

    before = memory("RssAnon")
    host = Host(KeyValue(), store=open_store(os.path.join(base, "restored")))
    began = time.perf_counter()
    host.restore(chunks)
    took_s, grown = time.perf_counter() - began, (memory("RssAnon") - before) / 1e6
    print(f"  restored in {took_s:.1f} s; own memory grew {grown:.0f} MB")
    host.close()
    shutil.rmtree(base)
    print(f"Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
