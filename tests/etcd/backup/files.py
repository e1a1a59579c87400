"""Files in memory, and what one snapshot file looks like as bytes."""

from __future__ import annotations

from hashlib import sha256

from coterie.etcd.backup.ports import Scratch
from coterie.etcd.backup.saving import save
from coterie.etcd.backup.state import State


class MemoryFile:
    """A `ScratchFile`, which remembers the longest read and write."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.longest = 0
        self.closed = False

    def read_at(self, offset: int, length: int) -> bytes:
        assert not self.closed
        self.longest = max(self.longest, length)
        return bytes(self.content[offset : offset + length])

    def write_at(self, offset: int, data: bytes) -> None:
        assert not self.closed
        self.longest = max(self.longest, len(data))
        if offset > len(self.content):
            self.content += bytes(offset - len(self.content))
        self.content[offset : offset + len(data)] = data

    def size(self) -> int:
        return len(self.content)

    def close(self) -> None:
        self.closed = True


class Drawer:
    """Scratch files, all kept for a look."""

    def __init__(self) -> None:
        self.files: list[MemoryFile] = []

    def __call__(self) -> MemoryFile:
        self.files.append(MemoryFile())
        return self.files[-1]


def saved(state: State, scratch: Scratch | None = None) -> bytes:
    """The whole snapshot file."""
    snapshot = save(state, scratch or Drawer())
    try:
        chunks = list(snapshot.chunks())
        whole = b"".join(chunk.blob for chunk in chunks)
        assert len(whole) == snapshot.length
        return whole
    finally:
        snapshot.close()


def hashed(database: bytes) -> bytes:
    """The database with its right hash."""
    return database + sha256(database).digest()
