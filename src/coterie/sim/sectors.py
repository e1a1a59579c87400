"""The bytes of one simulated file: what is on the medium, what is only in the page cache, what a power loss leaves.

The rules are those of a journalling file system with its data outside the journal (ext4 `data=ordered`, XFS): the pages
of a file reach the medium in any order, a sector is written whole or not at all, changes of a file's length reach it in
their order. See Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), and for a failed fsync Rebello et
al., "Can Applications Recover from fsync Failures?" (ATC 2020).
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

SECTOR_BYTES = 512
BLOCK_BYTES = 4096
"""What the file system allocates: a block that a cut goes through keeps its place on the medium."""
MAX_VERSIONS = 16
"""Un-synced contents kept for one sector; of more, the oldest are forgotten, as if they had never been written back."""

ZEROS = bytes(SECTOR_BYTES)


class _Version(NamedTuple):
    moment: int
    data: bytes


class _Resize(NamedTuple):
    """A change of length, by a write of the sectors from `sector` on, one each moment, or (`first == last`) at once."""

    first: int
    last: int
    sector: int
    length: int


class _Cut(NamedTuple):
    moment: int
    length: int


def _cut(data: bytes, sector: int, length: int) -> bytes:
    """A sector of a file that ends at `length`: zeros from there on."""
    kept = length - sector * SECTOR_BYTES
    if kept >= SECTOR_BYTES:
        return data
    return data[:kept] + bytes(SECTOR_BYTES - kept) if kept > 0 else ZEROS


def _assign(sectors: dict[int, bytes], sector: int, data: bytes) -> None:
    if data == ZEROS:
        sectors.pop(sector, None)
    else:
        sectors[sector] = data


def _read(sectors: dict[int, bytes], offset: int, end: int) -> bytes:
    if end <= offset:
        return b""
    first, last = offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
    if last - first < 8:
        start = first * SECTOR_BYTES
        whole = b"".join([sectors.get(sector, ZEROS) for sector in range(first, last + 1)])
        return whole[offset - start : end - start]
    buffer = bytearray((last - first + 1) * SECTOR_BYTES)
    within = range(first, last + 1)
    for sector in within if len(within) <= len(sectors) else [each for each in sectors if each in within]:
        if (data := sectors.get(sector)) is not None:
            at = (sector - first) * SECTOR_BYTES
            buffer[at : at + SECTOR_BYTES] = data
    start = first * SECTOR_BYTES
    return bytes(memoryview(buffer)[offset - start : end - start])


class Content:
    """A file's bytes. Sectors of zeros are not stored; each write, cut and sync costs what it changes, not the file.

    Every un-synced sector and every change of length has a moment (1, 2, ...), so that a power loss can keep what
    happened up to some moment, or, of the sectors, any subset.
    """

    __slots__ = ("_cuts", "_durable", "_live", "_lost", "_moment", "_resizes", "_versions", "durable_length", "length")

    def __init__(self) -> None:
        self.length = 0
        """Bytes, as a process sees it."""
        self.durable_length = 0
        """Bytes, as after a power loss that loses all that it can."""
        self._live: dict[int, bytes] = {}
        self._durable: dict[int, bytes] = {}
        self._moment = 0
        self._versions: dict[int, list[_Version]] = {}  # by sector: each content since the last sync
        self._resizes: list[_Resize] = []
        self._cuts: list[_Cut] = []
        self._lost: dict[int, None] = {}  # sectors that a failed sync called clean

    def durable_copy(self) -> Content:
        """What a power loss certainly leaves."""
        copy = Content()
        copy.length = copy.durable_length = self.durable_length
        copy._live = dict(self._durable)
        copy._durable = dict(self._durable)
        return copy

    def durable_image(self) -> bytes:
        """The bytes that a power loss certainly leaves."""
        return _read(self._durable, 0, self.durable_length)

    def read(self, offset: int, length: int) -> bytes:
        """As `File.read_at`."""
        return _read(self._live, offset, min(self.length, offset + length))

    # -- changes ------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> None:
        """As `File.write_at`."""
        if not data:
            return
        end = offset + len(data)
        first, last = offset // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
        start = self._moment + 1
        self._moment += last - first + 1
        # Zeros after the end change nothing but the length: a preallocated file costs nothing.
        if offset < self.length or self._cuts or data[0] or data.count(0) != len(data):
            for sector in range(first, last + 1):
                base = sector * SECTOR_BYTES
                piece = data[max(0, base - offset) : base + SECTOR_BYTES - offset]
                if len(piece) < SECTOR_BYTES:
                    old = self._live.get(sector, ZEROS)
                    at = max(0, offset - base)
                    piece = old[:at] + piece + old[at + len(piece) :]
                self._put(sector, start + sector - first, piece)
        if end > self.length:
            self.length = end
            self._resizes.append(_Resize(start, self._moment, first, end))

    def _put(self, sector: int, moment: int, data: bytes) -> None:
        if not self._cuts and sector not in self._lost and data == self._live.get(sector, ZEROS):
            return
        self._lost.pop(sector, None)
        _assign(self._live, sector, data)
        versions = self._versions.setdefault(sector, [])
        versions.append(_Version(moment, data))
        if len(versions) > MAX_VERSIONS:
            del versions[0]

    def truncate(self, length: int) -> None:
        """As `File.truncate`."""
        if length == self.length:
            return
        self._moment += 1
        if length < self.length:
            self._cuts.append(_Cut(self._moment, length))
            gone = range(-(-length // SECTOR_BYTES), -(-self.length // SECTOR_BYTES))
            for sector in gone if len(gone) <= len(self._live) else [each for each in self._live if each in gone]:
                if self._live.pop(sector, None) is not None:
                    self._versions.setdefault(sector, [])
                    self._lost.pop(sector, None)
            last = length // SECTOR_BYTES
            if last in self._live and length % SECTOR_BYTES:
                self._put(last, self._moment, _cut(self._live[last], last, length))
        self.length = length
        self._resizes.append(_Resize(self._moment, self._moment, 0, length))

    def sync(self) -> None:
        """As `File.sync`. What an earlier sync failed to write stays unwritten, though this one succeeds."""
        if self._cuts:
            floor = min(cut.length for cut in self._cuts)
            for sector in self._lost:
                _assign(self._durable, sector, _cut(self._durable.get(sector, ZEROS), sector, floor))
        for sector in self._versions:
            _assign(self._durable, sector, self._live.get(sector, ZEROS))
        self.durable_length = self.length
        self._settled()

    def fail_sync(self, *, reads_old: bool) -> None:
        """A sync that fails: dirty sectors are called clean, so that no later sync writes them. They are lost at the
        next power loss, or (`reads_old`) at once. Changes of length stay pending, as the journal still has them."""
        floor = min([self.length, *(cut.length for cut in self._cuts)])
        for sector in self._versions:
            self._lost[sector] = None
            if reads_old:
                _assign(self._live, sector, _cut(self._durable.get(sector, ZEROS), sector, floor))
        self._versions.clear()

    def flip_bit(self, bit: int) -> None:
        """Damage at rest; a process sees it unless the page cache holds something newer for the sector.

        Raises `ValueError` for a bit after the durable end."""
        if not 0 <= bit < self.durable_length * 8:
            raise ValueError(f"bit {bit} is not in a file of {self.durable_length} durable bytes")
        at = bit // 8
        self.overwrite(at, bytes([_read(self._durable, at, at + 1)[0] ^ 1 << bit % 8]))

    def overwrite(self, offset: int, data: bytes) -> None:
        """Damage at rest: a write for another place reached this one. Seen as a flipped bit is. Raises `ValueError`
        beyond the durable end."""
        if not 0 <= offset <= offset + len(data) <= self.durable_length:
            raise ValueError(f"{len(data)} bytes at {offset} are not in a file of {self.durable_length} durable bytes")
        while data:
            sector, within = divmod(offset, SECTOR_BYTES)
            piece, data = data[: SECTOR_BYTES - within], data[SECTOR_BYTES - within :]
            old = self._durable.get(sector, ZEROS)
            new = old[:within] + piece + old[within + len(piece) :]
            if sector not in self._versions and sector not in self._lost:
                _assign(self._live, sector, _cut(new, sector, self.length))
            _assign(self._durable, sector, new)
            offset += len(piece)

    # -- power loss ---------------------------------------------------------------------------

    def lose_power(self, rng: Random, *, torn: bool) -> None:
        """Keep what was synced and a part, drawn from `rng`, of what was not. `torn`: a sector may be half written."""
        if not (self._versions or self._resizes or self._lost):
            self._settled()
            return
        mode = rng.randrange(8)
        until = (0, self._moment)[mode] if mode < 2 else rng.randrange(self._moment + 1)
        if mode >= 5:
            until = self._moment if rng.randrange(2) else 0
        length = self._length_at(until)
        odds = rng.choice((1, 4, 7))
        for sector in sorted({**self._versions, **self._lost}):
            choices = [_Version(0, self._durable.get(sector, ZEROS)), *self._versions.get(sector, ())]
            if mode <= 2:
                pick = max(at for at, version in enumerate(choices) if version.moment <= until)
            else:
                choices = [each for each in choices if self._may_land(sector, each.moment, until)]
                pick = len(choices) - 1
                if pick and rng.randrange(8) >= odds:
                    pick = rng.randrange(pick)
            data = self._after_cuts(sector, choices[pick], until)
            if torn and pick and mode >= 2 and not rng.randrange(8):
                at = rng.randrange(SECTOR_BYTES)
                data = data[:at] + self._after_cuts(sector, choices[pick - 1], until)[at:]
            data = _cut(data, sector, length)
            _assign(self._durable, sector, data)
            _assign(self._live, sector, data)
        self.length = self.durable_length = length
        self._lost.clear()
        self._settled()

    def _length_at(self, until: int) -> int:
        """The length on the medium if all changes of length up to a moment reached it."""
        length = self.durable_length
        for resize in self._resizes:
            if resize.first > until:
                break
            if resize.last <= until:
                length = resize.length
            else:
                written = (resize.sector + until - resize.first + 1) * SECTOR_BYTES
                length = max(length, min(resize.length, written))
        return length

    def _may_land(self, sector: int, moment: int, until: int) -> bool:
        """A write after a cut that was lost lands only in blocks that the cut left in place: the others got a new
        place, which no surviving metadata names."""
        lost = [cut.length for cut in self._cuts if until < cut.moment <= moment]
        return not lost or sector * SECTOR_BYTES < -(-min(lost) // BLOCK_BYTES) * BLOCK_BYTES

    def _after_cuts(self, sector: int, version: _Version, until: int) -> bytes:
        """A sector's content after the cuts that survived and came later."""
        lengths = [cut.length for cut in self._cuts if version.moment < cut.moment <= until]
        return _cut(version.data, sector, min(lengths)) if lengths else version.data

    def _settled(self) -> None:
        self._versions.clear()
        self._resizes.clear()
        self._cuts.clear()
        self._moment = 0
