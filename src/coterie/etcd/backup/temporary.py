"""Scratch files in a directory of the file system."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO

from coterie.etcd.backup.ports import Scratch


class TemporaryFile:
    """A `ScratchFile` without a name: the system frees its space however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - `close` is ours

    def read_at(self, offset: int, length: int) -> bytes:
        """See `SourceFile`."""
        self._file.seek(offset)
        parts = []
        while length:
            part = self._file.read(length)
            if not part:
                break
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def write_at(self, offset: int, data: bytes) -> None:
        """See `ScratchFile`."""
        self._file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def size(self) -> int:
        """See `SourceFile`."""
        return self._file.seek(0, 2)

    def close(self) -> None:
        """See `ScratchFile`."""
        self._file.close()


def scratch_in(directory: Path) -> Scratch:
    """Scratch files in this directory: one on the data's own disk, for `/tmp` may be memory."""
    return lambda: TemporaryFile(directory)
