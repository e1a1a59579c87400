"""Python imports this at its start, if it is on the path: the machine that a process sees can be disturbed.

While the file that `WALL_CLOCK_IS_BACK` names exists, the wall clock shows an hour less. While the one that
`DISK_HANGS` names exists, no sync comes to its end: a disk without direct writes, which nothing here could make hang.
"""

from __future__ import annotations

import os
import time
from typing import Any

BACK_NS = 3600 * 10**9

wall_ns, sync, sync_data = time.time_ns, os.fsync, os.fdatasync


def _disturbed(name: str) -> bool:
    return os.path.exists(os.environ.get(name, "/nowhere"))


def _time_ns() -> int:
    return wall_ns() - (BACK_NS if _disturbed("WALL_CLOCK_IS_BACK") else 0)


def _hang() -> None:
    while _disturbed("DISK_HANGS"):
        time.sleep(0.01)


def _fsync(fd: Any) -> None:
    _hang()
    sync(fd)


def _fdatasync(fd: Any) -> None:
    _hang()
    sync_data(fd)


time.time_ns = _time_ns
time.time = lambda: _time_ns() / 10**9  # noqa: TID251 - so that it can jump
os.fsync = _fsync
os.fdatasync = _fdatasync
if "DISK_HANGS" in os.environ:
    del os.O_DIRECT
