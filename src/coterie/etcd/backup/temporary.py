"""Scratch files in a directory of the file system."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from coterie.etcd.backup.ports import Scratch
from coterie.storage.disk import DiskFile

PREFIX = ".scratch-"
"""Of a scratch file's name, in the moment in which it has one: who finds such a file may remove it."""


def scratch_in(directory: Path) -> Scratch:
    """Scratch files in this directory: one on the data's own disk, for `/tmp` may be memory. They have no name, so the
    system frees their space however the process ends."""

    def scratch() -> DiskFile:
        descriptor, path = tempfile.mkstemp(prefix=PREFIX, dir=directory)
        os.unlink(path)
        return DiskFile(descriptor)

    return scratch
