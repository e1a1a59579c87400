"""Small file systems of their own, to fill and to make read-only; a test is skipped where none can be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coterie.torture import disks


@contextmanager
def small_disks(directory: Path, count: int, mebibytes: int) -> Iterator[list[Path]]:
    """See `coterie.torture.disks`."""
    try:
        with disks.small_disks(directory, count, mebibytes) as made:
            yield made
    except disks.NoSmallDisks as reason:
        pytest.skip(str(reason))


def set_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
