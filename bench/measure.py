"""What every benchmark shares: the sample, the CPU of a process, ports, a scratch directory on a real disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

import msgspec

from coterie.torture.errors import Missing as Missing
from coterie.torture.hosts import free_port_block as free_port_block
from coterie.torture.hosts import wait_until as wait_until

KEY_BYTES = 16
VALUE_BYTES = 256
CONNECTIONS = 4
"""Connections at 64 in flight and more; one at 1 in flight."""
ROOT = Path(__file__).parents[1]
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Sample(msgspec.Struct, frozen=True):
    """One measurement of one subject."""

    ops_per_s: float
    p50_ms: float
    cpu_us: float
    """CPU of all server processes per operation, microseconds."""
    p99_ms: float = 0.0
    """0: not measured."""


class Subject(Protocol):
    """A cluster that can be loaded."""

    name: str

    def start(self, scratch: Path) -> None:
        """Start it and wait until it serves. Raises `Missing`."""
        ...

    def measure(self, work: str, in_flight: int, seconds: float) -> Sample:
        """Load it with puts or linearizable gets."""
        ...

    def stop(self) -> None:
        """End every process."""
        ...


def connections(in_flight: int) -> int:
    """How many connections a load uses."""
    return CONNECTIONS if in_flight >= CONNECTIONS else 1


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time that the processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_SECOND


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def file_system(path: Path) -> str:
    """The type of the file system that holds the path, by its longest mount point."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        mount, this = line.split()[1:3]
        if path.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, this
    return kind


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that is removed afterwards, where an fsync costs what a disk costs."""
    parent = ROOT / ".bench"
    parent.mkdir(exist_ok=True)
    if file_system(parent) in {"tmpfs", "ramfs", "overlay-tmpfs"}:
        raise Missing(f"{parent} is in memory: an fsync there costs nothing, so no figure would mean anything")
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def stop_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask every process to end, and end those that do not."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def read_line(stream: IO[bytes] | None, what: str) -> bytes:
    """The next line of a child's output; raises `RuntimeError` if the child has ended."""
    line = stream.readline() if stream is not None else b""
    if not line:
        raise RuntimeError(f"{what} ended before it answered")
    return line


def machine() -> str:
    """The machine in a line: processor, cores, kernel, file system."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    system = os.uname()
    return f"{model}, {os.cpu_count()} cores, {system.sysname} {system.release}, {file_system(ROOT)}"
