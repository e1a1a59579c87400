"""Small file systems of their own, to fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coterie.torture.errors import Missing

FILLER = "filler"


class NoSmallDisks(Missing):
    """No file system can be mounted here; the message says why."""


@contextmanager
def small_disks(directory: Path, count: int, mebibytes: int) -> Iterator[list[Path]]:
    """That many mounted file systems, in memory, unmounted at the end. Raises `NoSmallDisks`."""
    if shutil.which("mount") is None:
        raise NoSmallDisks("a tmpfs cannot be mounted here: there is no command mount")
    with ExitStack() as stack:
        made: list[Path] = []
        for number in range(1, count + 1):
            where = directory / f"disk{number}"
            where.mkdir()
            options = ["-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(where)]
            mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
            if mounted.returncode != 0:
                raise NoSmallDisks(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", str(where)], check=True)
            made.append(where)
        yield made


def fill(disk: Path) -> Path:
    """Leave not a byte free; the file to remove to make room again."""
    filler = disk / FILLER
    with open(filler, "wb") as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    os.write(file.fileno(), bytes(size))
            except OSError:
                pass
    return filler
