"""Reading the log back at start: everything is checked, a torn tail is trimmed, damage is refused."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from coterie.core.records import Recovered, Truncate
from coterie.core.types import Entry, EntryKind, Epoch, HardState, Index
from coterie.storage.errors import LogDamaged
from coterie.storage.files import File, Files
from coterie.storage.frame import (
    ALIGNMENT,
    HEADER_BYTES,
    Broken,
    FrameHeader,
    decode_body,
    decode_header,
    find_frame,
    proves_torn,
)
from coterie.storage.log_index import LogIndex, Point
from coterie.storage.record_codec import Malformed, decode_records
from coterie.storage.segment import LogHeader, SegmentHeader, read_header, segment_name, segment_number


class Tail(NamedTuple):
    """Where the log goes on."""

    number: int
    offset: int
    """The next frame begins here, in segment `number`."""
    zeroed_until: int
    """Length of that segment; from `offset` on it holds zeros."""


class Contents:
    """The log as it stands after the records read so far."""

    def __init__(self, header: SegmentHeader) -> None:
        self.base = header.base
        self.hard_state = header.hard_state
        self.last: Index = header.base.index
        self.runs: list[tuple[Index, Epoch]] = []
        self.memberships: list[Entry] = []
        self.index = LogIndex()

    def take(self, name: str, number: int, frame: int, payload: bytes) -> None:
        """Follow the records of one frame."""
        try:
            for position, record in decode_records(payload):
                if type(record) is Entry:
                    self._put(name, record, Point(record.index, number, frame, position))
                elif isinstance(record, Truncate):
                    self._truncate(record.first)
                elif isinstance(record, HardState):
                    self.hard_state = record
        except Malformed as error:
            raise LogDamaged(name, frame, f"it checks, but holds no records: {error}") from error

    def _put(self, name: str, entry: Entry, point: Point) -> None:
        if entry.index != self.last + 1:
            raise LogDamaged(name, point.frame, f"entry {entry.index} follows entry {self.last}")
        self.last = entry.index
        if not self.runs or self.runs[-1][1] != entry.epoch:
            self.runs.append((entry.index, entry.epoch))
        if entry.kind is EntryKind.MEMBERSHIP:
            self.memberships.append(entry)
        self.index.put(point, len(entry.payload))

    def _truncate(self, first: Index) -> None:
        self.last = min(self.last, first - 1)
        while self.runs and self.runs[-1][0] >= first:
            self.runs.pop()
        while self.memberships and self.memberships[-1].index >= first:
            self.memberships.pop()
        self.index.truncate(first)

    def recovered(self) -> Recovered:
        """What a replica starts from."""
        return Recovered(
            hard_state=self.hard_state,
            base=self.base,
            last_index=self.last,
            epochs=tuple(self.runs),
            memberships=tuple(self.memberships),
        )


class Recovery:
    """Reads the segments of one directory in order."""

    def __init__(self, files: Files, directory: str, owner: LogHeader) -> None:
        self._files = files
        self._directory = directory
        self._owner = owner
        self.notices: list[str] = []
        self.files: dict[int, File] = {}

    def run(self) -> tuple[Contents, Tail]:
        """Read everything. Raises `LogDamaged` or `WrongLog`; then nothing was changed."""
        numbers = self._numbers()
        contents: Contents | None = None
        tail: Tail | None = None
        for position, number in enumerate(numbers):
            name, last = segment_name(number), position == len(numbers) - 1
            file = self._files.open(f"{self._directory}/{name}")
            self.files[number] = file
            found = read_header(file, name, number, self._owner)
            if found is None:
                if not last or contents is None:
                    raise LogDamaged(name, 0, "its header is blank")
                # The crash came while this segment was being made: nothing in it was acknowledged.
                self.notices.append(f"dropped segment {name}, which a crash left without its header")
                file.close()
                del self.files[number]
                self._files.remove(f"{self._directory}/{name}")
                self._files.sync_directory(self._directory)
                assert tail is not None
                return contents, tail
            header, offset = found
            contents = contents or Contents(header)
            self._check_sequel(name, header, contents)
            tail = self._read_segment(file, name, number, offset, last, contents)
        if contents is None or tail is None:
            raise LogDamaged(self._directory, 0, "there is no log segment in this directory")
        # A process may have died between writing and syncing: what was read may be in memory only.
        # From here on it counts as stored, so it must be (a vote, an entry that is acknowledged again).
        self.files[tail.number].sync()
        self._files.sync_directory(self._directory)
        return contents, tail

    def _numbers(self) -> list[int]:
        names = self._files.list(self._directory)
        numbers = sorted(number for name in names if (number := segment_number(name)) is not None)
        for before, after in pairwise(numbers):
            if after != before + 1:
                raise LogDamaged(segment_name(before + 1), 0, "this segment is missing")
        return numbers

    @staticmethod
    def _check_sequel(name: str, header: SegmentHeader, contents: Contents) -> None:
        if header.next_index != contents.last + 1:
            raise LogDamaged(
                name,
                0,
                f"it begins with entry {header.next_index}, but the segments before it end with entry {contents.last}: "
                "a segment is missing",
            )

    def _read_segment(self, file: File, name: str, number: int, offset: int, last: bool, contents: Contents) -> Tail:
        data = file.read_at(0, file.size())
        first, newest = offset, 0
        while True:
            header = decode_header(data[offset : offset + HEADER_BYTES], number, offset)
            if isinstance(header, FrameHeader):
                start = offset + HEADER_BYTES
                payload = decode_body(header, data[start : start + header.body_bytes])
                if isinstance(payload, bytes):
                    contents.take(name, number, offset, payload)
                    newest = 0 if offset == first else offset
                    offset += header.span
                    continue
                torn = proves_torn(header, data[offset : start + header.body_bytes], offset)
                reason = payload
            else:
                torn = header is Broken.BLANK
                reason = header
            later = find_frame(data, number, 0, offset + ALIGNMENT)
            if later is not None:
                raise LogDamaged(name, offset, f"{reason.value}, yet a whole frame follows at byte {later}")
            if not torn:
                raise LogDamaged(name, offset, f"{reason.value}, and every sector of it was written")
            size = self._trim(file, name, data, offset, last)
            if last:
                self._secure(file, data, newest, offset)
            return Tail(number, offset, size)

    def _secure(self, file: File, data: bytes, newest: int, end: int) -> None:
        """Make durable what was found: from here on the replica takes it for promised.

        The newest write may be in the page cache alone: the process before was killed before its sync, or
        ended because that sync failed. A failed sync calls the lost pages clean, so a sync alone would not
        write them (Rebello et al., ATC 2020): the bytes are written once more. One write is under way
        at a time, and it is one frame, after the header if it begins a segment.
        """
        file.write_at(newest, data[newest:end])
        file.sync()
        self._files.sync_directory(self._directory)

    def _trim(self, file: File, name: str, data: bytes, offset: int, last: bool) -> int:
        """Make what follows the last whole frame zeros again, durably, before anything is appended: a
        later torn frame is told by the zeros that it was written into."""
        rest = data[offset:].rstrip(b"\0")
        if not rest:
            return len(data)
        if not last:
            raise LogDamaged(name, offset, "its last frame is torn, yet a further segment follows")
        file.write_at(offset, bytes(len(rest)))
        file.sync()
        self.notices.append(f"trimmed a torn tail of {len(rest)} bytes in segment {name} at byte {offset}")
        return len(data)
