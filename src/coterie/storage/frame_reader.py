"""Reading back what the log has written: frame by frame, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coterie.core.types import Entry
from coterie.storage.errors import LogDamaged
from coterie.storage.files import File
from coterie.storage.frame import HEADER_BYTES, SECTOR, Broken, decode_body, decode_header
from coterie.storage.log_index import Point
from coterie.storage.record_codec import Malformed, decode_records
from coterie.storage.segment import segment_name


class FrameReader:
    """Reads the frames of a log's segments."""

    def __init__(self, directory: str, opened: Mapping[str, File], ends: Mapping[int, int]) -> None:
        """`opened`: the segments' files by path. `ends`: where each older segment's last frame ends."""
        self._directory = directory
        self._opened = opened
        self._ends = ends

    def walk(self, point: Point) -> Iterator[tuple[Point, Entry]]:
        """Entries in the order in which they were written, from a point on, and where each stands: each follows the
        one before."""
        number, offset, position = point.segment, point.frame, point.position
        expected = point.entry
        while True:
            while offset == self._ends.get(number):
                number, offset = number + 1, self._read(number + 1, 0)[1]
            payload, following = self._read(number, offset)
            try:
                for at, record in decode_records(payload, position):
                    if type(record) is Entry:
                        if record.index != expected:
                            raise LogDamaged(
                                segment_name(number), offset, f"entry {record.index} stands in the place of {expected}"
                            )
                        yield Point(expected, number, offset, at), record
                        expected += 1
            except Malformed as error:
                raise LogDamaged(segment_name(number), offset, str(error)) from error
            offset, position = following, 0

    def _read(self, number: int, offset: int) -> tuple[bytes, int]:
        """The payload of the frame at `offset`, and the offset of the next."""
        name = segment_name(number)
        file = self._opened[f"{self._directory}/{name}"]
        start = file.read_at(offset, SECTOR)
        header = decode_header(start, number, offset)
        if isinstance(header, Broken):
            raise LogDamaged(name, offset, header.value)
        size = HEADER_BYTES + header.body_bytes
        whole = memoryview(start if size <= len(start) else file.read_at(offset, size))
        payload = decode_body(header, whole[HEADER_BYTES:size])
        if isinstance(payload, Broken):
            raise LogDamaged(name, offset, payload.value)
        return payload, offset + header.span
