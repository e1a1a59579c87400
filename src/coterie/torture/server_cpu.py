"""CPU time of the servers that run on this machine, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_MICROSECONDS_A_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")


class ServerCpu:
    """The CPU time that some processes use between `begin` and `end`."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._begun: dict[int, int | None] = dict.fromkeys(pids)
        self._used: dict[int, int] = {}

    def begin(self) -> None:
        """Measure from here."""
        self._begun = {pid: cpu_microseconds(pid) for pid in self._begun}

    def look(self) -> None:
        """Note how much was used so far: what a process that ends later has used would be lost else."""
        for pid, begun in self._begun.items():
            now = cpu_microseconds(pid)
            if begun is not None and now is not None:
                self._used[pid] = now - begun

    def microseconds(self) -> int | None:
        """The sum as of the last look; None if no process could be measured."""
        return sum(self._used.values()) if self._used else None


def cpu_microseconds(pid: int) -> int | None:
    """User and system time that a process and its threads have used; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _MICROSECONDS_A_TICK
