"""What it costs to move key-value data to its store, and to read what is only there.

    python bench/flush.py [--puts 262144] [--directory DIR]

CPU time of the flushing thread for each put, the median and the best of all flushes (freeing the memory of the
flush before is in it); then single reads, ranges, and sweeping after a compaction. First a file is written and
deleted: in a virtual machine the first use of a page of memory costs more than all that is measured here.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable

from coterie.machine.kv.layered import LayeredStore
from coterie.machine.stores import OrderedStore, open_store

VALUE_BYTES = 256
FLUSH_ITEMS = 32_768
BATCH = 64
WARM_BYTES = 300 << 20
READS = 4000


def warm(directory: str) -> None:
    """Have the system's page cache use memory that was used before."""
    path = os.path.join(directory, "warm")
    with open(path, "wb", buffering=0) as file:
        file.writelines(bytes(1 << 20) for _ in range(WARM_BYTES >> 20))
    os.unlink(path)


def flush(store: OrderedStore, data: LayeredStore) -> float:
    """CPU seconds of the thread that flushes."""
    job = data.begin_flush()
    view = store.view()
    began = time.thread_time()
    store.write(job.changes(view))
    store.sync()
    spent = time.thread_time() - began
    view.close()
    data.finish_flush(job)
    return spent


def puts(store: OrderedStore, data: LayeredStore, keys: Iterable[bytes]) -> list[float]:
    """CPU seconds a put of each flush."""
    spent = []
    for number, key in enumerate(keys, 1):
        data.put(key, os.urandom(VALUE_BYTES))
        data.commit()
        if not number % BATCH:
            data.end_batch()
        if not number % FLUSH_ITEMS:
            spent.append(flush(store, data) / FLUSH_ITEMS)
    data.end_batch()
    return spent


def best(work: Callable[[], object], count: int) -> str:
    """Time of the fastest of five rounds."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return f"{min(times) / count * 1e6:.2f} us"


def load(directory: str, name: str, count: int, number_of: Callable[[int], int], keys: int) -> None:
    warm(directory)
    path = os.path.join(directory, "store")
    store = open_store(path)
    data = LayeredStore(store)

    def key(number: int) -> bytes:
        return b"/bench/%012d" % number

    spent = puts(store, data, (key(number_of(n)) for n in range(count)))
    print(f"{name}: flush {statistics.median(spent) * 1e6:.2f} us a put (best {min(spent) * 1e6:.2f}), ", end="")
    print(f"{store.bytes_used / count:.0f} B a put on disk")
    for _ in range(3):
        flush(store, data)  # nothing is in memory any more

    chance = random.Random(1)
    some = [key(number_of(chance.randrange(count))) for _ in range(READS)]
    past = [chance.randrange(count - count // 4, count) for _ in range(READS)]
    print(f"  get {best(lambda: [data.get(each) for each in some], READS)}", end="")
    print(
        f", in the past {best(lambda: [data.get(each, at) for each, at in zip(some, past, strict=True)], READS)}",
        end="",
    )
    print(f", events {best(lambda: [data.events(at) for at in past], READS)}", end="")
    first = key(keys // 2)
    print(f", 1000 keys {best(lambda: sum(1 for _ in data.range(first, key(keys // 2 + 1000))), 1)}", end="")
    values = best(lambda: sum(1 for _ in data.range(first, key(keys // 2 + 1000), values=False)), 1)
    print(f", without values {values}")

    data.compact(data.revision)
    sweeps: list[float] = []
    while data.sweep_left or not sweeps:
        sweeps.append(flush(store, data))
    print(f"  sweep {sum(sweeps) / count * 1e6:.2f} us an item, {len(sweeps)} flushes, longest {max(sweeps):.3f} s")
    store.close()
    shutil.rmtree(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--puts", type=int, default=262_144)
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    base = tempfile.mkdtemp(dir=options.directory)
    count = options.puts
    load(base, "4096 keys", count, lambda n: (n * 2654435761 >> 7) & 4095, 4096)
    load(base, "new keys, in order", count, lambda n: n, count)
    load(base, "new keys, anyhow", count, lambda n: n * 2654435761 % count, count)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
