"""In a process whose path has this folder first: each pause of the garbage collector over a tenth of a millisecond is
written down to a file of the process's own in the directory that COLLECTOR_PAUSES names: how many milliseconds it took,
how many of them on a processor, which generation it was, and how many seconds after the process began."""

from __future__ import annotations

import gc
import os
import time

_LEAST_MS = 0.1


def _tell(directory: str) -> None:
    born = time.perf_counter()
    began = busy = 0.0
    file = os.open(os.path.join(directory, str(os.getpid())), os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def told(phase: str, info: dict[str, int]) -> None:
        nonlocal began, busy
        if phase == "start":
            began, busy = time.perf_counter(), time.thread_time()
            return
        took, used = (time.perf_counter() - began) * 1000, (time.thread_time() - busy) * 1000
        if took >= _LEAST_MS:
            os.write(file, f"{took:.3f} {used:.3f} {info['generation']} {began - born:.3f}\n".encode("ascii"))

    gc.callbacks.append(told)


if _directory := os.environ.get("COLLECTOR_PAUSES"):
    _tell(_directory)
