"""Small file systems of their own, to fill and to make read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disks(directory: Path, count: int, mebibytes: int) -> Iterator[list[Path]]:
    """That many mounted file systems. Skips the test where none can be mounted."""
    with ExitStack() as stack:
        made: list[Path] = []
        for number in range(1, count + 1):
            where = directory / f"disk{number}"
            where.mkdir()
            options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(where)]
            mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
            if mounted.returncode != 0:
                pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(where)], check=True)
            made.append(where)
        yield made


def fill(disk: Path) -> Path:
    """Leave not a byte free; the file to remove to make room again."""
    filler = disk / "filler"
    with open(filler, "wb") as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(file.fileno(), bytes(size))
            except OSError:
                pass
    return filler


def set_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
