"""Sorting more than memory holds: sorted runs in a scratch file, merged."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import TypeAlias

from coterie.etcd.backup.ports import Scratch, ScratchFile

RUN_BYTES = 16 * 1024 * 1024
"""A run holds about so many bytes of keys and values: what is kept in memory."""
READ_BYTES = 32 * 1024
"""Of each run, so much is read at a time."""
_PAIR_BYTES = 160
"""What a pair takes in memory beyond its key and value."""

Pair: TypeAlias = tuple[bytes, bytes]

_lengths = struct.Struct("<II")
_key = itemgetter(0)


class Sorter:
    """Takes pairs of bytes in any order, and gives them by key; equal keys in the order in which they came.

    What fits in one run is never written to a file. May raise `OSError`.
    """

    def __init__(self, scratch: Scratch, run_bytes: int = RUN_BYTES) -> None:
        self._scratch = scratch
        self._run_bytes = run_bytes
        self._pairs: list[Pair] = []
        self._bytes = 0
        """What `_pairs` takes."""
        self._file: ScratchFile | None = None
        self._runs: list[tuple[int, int]] = []
        """Begin and end of the runs in the file."""

    def add(self, key: bytes, value: bytes) -> None:
        """One more pair."""
        self._pairs.append((key, value))
        self._bytes += len(key) + len(value) + _PAIR_BYTES
        if self._bytes >= self._run_bytes:
            self._spill()

    def pairs(self) -> Iterator[Pair]:
        """All of them, once; no more may be added."""
        self._pairs.sort(key=_key)
        file = self._file
        if file is None:
            yield from self._pairs
            return
        runs: list[Iterator[Pair]] = [_read_run(file, begin, end) for begin, end in self._runs]
        yield from merge(*runs, iter(self._pairs), key=_key)

    def close(self) -> None:
        """Let go of the scratch file."""
        self._pairs.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        """Write the pairs as a run."""
        if self._file is None:
            self._file = self._scratch()
        self._pairs.sort(key=_key)
        begin = at = self._runs[-1][1] if self._runs else 0
        buffer = bytearray()
        for key, value in self._pairs:
            buffer += _lengths.pack(len(key), len(value)) + key + value
            if len(buffer) >= READ_BYTES:
                self._file.write_at(at, bytes(buffer))
                at += len(buffer)
                buffer.clear()
        self._file.write_at(at, bytes(buffer))
        self._runs.append((begin, at + len(buffer)))
        self._pairs, self._bytes = [], 0


def _read_run(file: ScratchFile, begin: int, end: int) -> Iterator[Pair]:
    """The pairs that `_spill` wrote there."""
    buffer = b""
    at = 0
    while begin < end or at < len(buffer):
        if len(buffer) - at >= _lengths.size:
            key_bytes, value_bytes = _lengths.unpack_from(buffer, at)
            needed = _lengths.size + key_bytes + value_bytes
            if len(buffer) - at >= needed:
                middle = at + _lengths.size + key_bytes
                yield buffer[at + _lengths.size : middle], buffer[middle : at + needed]
                at += needed
                continue
        else:
            needed = _lengths.size
        wanted = min(end - begin, max(READ_BYTES, needed - (len(buffer) - at)))
        part = file.read_at(begin, wanted)
        if not part:
            raise OSError(f"the scratch file has lost what was written at byte {begin}")
        buffer = buffer[at:] + part
        begin += len(part)
        at = 0
