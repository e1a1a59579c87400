"""Damage at rest, of a member's log or snapshots, while nobody uses them: what a disk may have done to them."""

from __future__ import annotations

from random import Random
from typing import Final

from coterie.sim.disk import SimulatedFiles
from coterie.storage.frame import SECTOR, FrameHeader, decode_header
from coterie.storage.segment import new_segment_name, segment_name, segment_number

SECTORS: Final = (1, 1, 2, 8)
"""How many a misdirected write has."""


def _segments(disk: SimulatedFiles, log: str) -> list[int]:
    """Numbers of the segments that a power loss leaves, ascending."""
    names = (path.rpartition("/") for path in disk.durable_files().paths() if path.startswith(f"{log}/"))
    return sorted(number for _, _, name in names if (number := segment_number(name)) is not None)


def flip(disk: SimulatedFiles, log: str, rng: Random) -> None:
    """One bit of what the log holds turns, not of the zeros that it was extended by."""
    numbers = _segments(disk, log)
    if numbers:
        flip_in(disk, f"{log}/{segment_name(rng.choice(numbers))}", rng)


def flip_in(disk: SimulatedFiles, path: str, rng: Random) -> None:
    """One bit of a file turns."""
    used = len(disk.image(path).rstrip(b"\0"))
    if used:
        disk.flip_bit(path, rng.randrange(used * 8))


def misdirect(disk: SimulatedFiles, log: str, rng: Random) -> None:
    """Sectors of the log are written in a wrong place of it: before the log's last frame, for that one could be taken
    for one that never was (docs/decisions/0013-repair.md)."""
    numbers = _segments(disk, log)
    if not numbers:
        return
    target = rng.choice(numbers)
    path = f"{log}/{segment_name(target)}"
    data = disk.image(path)
    end = _last_frame(data, target) if target == numbers[-1] else len(data.rstrip(b"\0"))
    source = disk.image(f"{log}/{segment_name(rng.choice(numbers))}")
    size = SECTOR * rng.choice(SECTORS)
    room = end // SECTOR * SECTOR - size
    if room >= 0 and len(source) >= size:
        begin = rng.randrange((len(source) - size) // SECTOR + 1) * SECTOR
        disk.overwrite(path, rng.randrange(room // SECTOR + 1) * SECTOR, source[begin : begin + size])


def _last_frame(data: bytes, number: int) -> int:
    """Where the segment's last frame begins."""
    last = offset = 0
    while isinstance(header := decode_header(data[offset : offset + SECTOR], number, offset), FrameHeader):
        last, offset = offset, offset + header.span
    return last


def lose_name(disk: SimulatedFiles, log: str, rng: Random) -> None:
    """A segment's name is gone, or it has again the one that it had before its renaming: not that of the newest, which
    nobody would miss."""
    older = _segments(disk, log)[:-1]
    if not older:
        return
    number = rng.choice(older)
    if rng.getrandbits(1):
        disk.remove(f"{log}/{segment_name(number)}")
    else:
        disk.rename(f"{log}/{segment_name(number)}", f"{log}/{new_segment_name(number)}")
    disk.sync_all()
