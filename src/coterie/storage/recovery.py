"""Reading the log back at start: everything is checked, a torn tail is trimmed, damage is refused."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import pairwise
from typing import NamedTuple

from coterie.core.epochs import EpochRuns
from coterie.core.protocols import LOG_MATCHING
from coterie.core.records import Compact, Recovered, Reset, Truncate
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Index, SnapshotMeta
from coterie.storage.bounds import Bounds, Impossible
from coterie.storage.errors import LogDamaged, NoLog
from coterie.storage.files import File, Files
from coterie.storage.frame import (
    ALIGNMENT,
    HEADER_BYTES,
    SECTOR,
    Broken,
    decode_body,
    decode_header,
    find_frame,
    proves_torn,
)
from coterie.storage.log_index import LogIndex
from coterie.storage.record_codec import ENTRY_OVERHEAD_BYTES, EntryFields, Malformed, entry_at, scan_records
from coterie.storage.segment import (
    MAX_SEGMENT_BYTES,
    LogHeader,
    SegmentHeader,
    begins_log,
    cut_short,
    new_segment_name,
    new_segment_number,
    read_header,
    segment_name,
    segment_number,
)

_COMMANDS = int(EntryKind.COMMANDS)
"""Of the kinds above it every entry is kept in memory."""
assert [kind for kind in EntryKind if kind > _COMMANDS] == [EntryKind.MEMBERSHIP, EntryKind.SETTINGS]
_MISSING = Epoch(-1, 0)
"""Lower than any: stands for that of an entry which stood in a segment that is gone. All of these must turn out to be
forgotten, or to be overwritten by an entry that is there."""


class Tail(NamedTuple):
    """Where the log goes on."""

    number: int
    offset: int
    """The next frame begins here, in segment `number`."""
    zeroed_until: int
    """Durable length of that segment; from `offset` on it holds zeros."""


class Contents:
    """The log as it stands after the records read so far."""

    def __init__(self, header: SegmentHeader) -> None:
        """`header`: of the first segment that is read. Those before it may have been removed."""
        first, last = header.base.index + 1, header.next_index - 1
        self.bounds = Bounds(header.base, EpochRuns(last, [(first, _MISSING)] if last >= first else ()))
        self.hard_state = header.hard_state
        self.memberships: list[Entry] = []
        self.settings: list[Entry] = []
        self.index = LogIndex(header.base.index, last)
        self._epoch = NO_EPOCH
        """Of the entry that was read last: the next is mostly of the same."""
        self._holds_its_base = header.owner.protocol in LOG_MATCHING

    @property
    def misses_entries(self) -> bool:
        """Whether entries after the base stood in segments that are gone."""
        epochs = self.bounds.epochs
        return any(epoch == _MISSING for _, epoch in epochs.since(self.bounds.base.index + 1))

    def take(self, name: str, number: int, frame: int, payload: bytes) -> None:
        """Follow the records of one frame."""
        try:
            for position, record in scan_records(payload):
                if isinstance(record, tuple):
                    self._put(number, frame, position, record)
                    if record[1] > _COMMANDS:
                        self._keep(entry_at(payload, position, record))
                elif isinstance(record, HardState):
                    self.hard_state = record
                else:
                    self._forget(name, frame, record)
        except Malformed as error:
            raise LogDamaged(name, frame, f"it checks, but holds no records: {error}", repairable=False) from error
        except Impossible as error:
            raise LogDamaged(name, frame, str(error), repairable=False) from error

    def _put(self, number: int, frame: int, position: int, fields: EntryFields) -> None:
        _, _, length, index, round_, node, _ = fields
        if self._epoch != (round_, node):
            self._epoch = Epoch(round_, node)
        epochs = self.bounds.epochs
        if index == epochs.last + 1:
            epochs.append(index, self._epoch)
        else:
            self.bounds.put(index, self._epoch)
            for entries in (self.memberships, self.settings):
                place = bisect_left(entries, index, key=_index_of)
                if place < len(entries) and entries[place].index == index:
                    del entries[place]
        self.index.put(index, number, frame, position, ENTRY_OVERHEAD_BYTES + length)

    def _keep(self, entry: Entry) -> None:
        kept = self.memberships if entry.kind is EntryKind.MEMBERSHIP else self.settings
        insort(kept, entry, key=_index_of)

    def _forget(self, name: str, frame: int, record: Truncate | Compact | Reset) -> None:
        bounds = self.bounds
        if isinstance(record, Truncate):
            bounds.truncate(record.first)
            self.index.truncate(record.first)
        elif isinstance(record, Compact):
            index, epoch = record.base.index, record.base.epoch
            held = bounds.epochs.epoch_at(index) if bounds.base.index < index <= bounds.last else _MISSING
            bounds.compact(record.base)
            if self._holds_its_base and held not in (epoch, _MISSING):
                # With a wrong epoch at its base a log would take over entries that do not belong to it (5.3).
                text = f"its base {index} has epoch {epoch}, the entry {held}"
                raise LogDamaged(name, frame, text, repairable=False)
            self.index.compact(index)
        else:
            bounds.reset(record.base)
            self.index.clear(record.base.index)
        first, last = bounds.base.index + 1, bounds.last
        for entries in (self.memberships, self.settings):
            entries[:] = [entry for entry in entries if first <= entry.index <= last]

    def recovered(self) -> Recovered:
        """What a replica starts from."""
        return Recovered(
            hard_state=self.hard_state,
            base=self.bounds.base,
            last_index=self.bounds.last,
            epochs=self.bounds.epochs.since(self.bounds.base.index + 1),
            memberships=tuple(self.memberships),
            settings=tuple(self.settings),
        )


def _index_of(entry: Entry) -> Index:
    return entry.index


def _place(base: SnapshotMeta) -> str:
    return f"entry {base.index} of epoch {base.epoch}"


class _Segment(NamedTuple):
    """A segment as it was found."""

    name: str
    number: int
    file: File
    data: bytes
    newest: int
    """Where its last frame begins."""
    end: int
    """Its last whole frame ends here."""


class Recovery:
    """Reads the segments of one directory in order."""

    def __init__(self, files: Files, directory: str, owner: LogHeader) -> None:
        self._files = files
        self._directory = directory
        self._owner = owner
        self.notices: list[str] = []
        self.files: dict[int, File] = {}
        self.ends: dict[int, int] = {}
        """Where the last frame of each segment ends."""
        self.stale: list[int] = []
        """Segments before a gap. Where `run` succeeds, all that they hold is forgotten."""
        self.replaced: list[int] = []
        """Segments of a log that was damaged: it was begun anew behind them (`LogStore.begin_anew`)."""

    def run(self) -> tuple[Contents, Tail]:
        """Read everything. Raises `NoLog`, `WrongLog`, `LogDamaged` (then nothing was changed), `OSError`."""
        contents: Contents | None = None
        segment: _Segment | None = None
        numbers, unmade, gap = self._numbers()
        first: SegmentHeader | None = None
        for number in numbers:
            name = segment_name(number)
            file = self._files.open(f"{self._directory}/{name}")
            self.files[number] = file
            data = self._read(file, name)
            header, offset = read_header(data, name, number, self._owner)
            first = first or header
            contents = contents or Contents(header)
            self._check_sequel(name, header, contents, segment)
            contents.index.begin_segment()
            segment = self._read_segment(_Segment(name, number, file, data, offset, offset), contents)
        if contents is None or segment is None or first is None:
            how = f"only the beginnings of {segment_name(unmade[0])}" if unmade else "no segment"
            raise NoLog(f"there is no log in {self._directory}: it holds {how}")
        self._check_beginning(first, contents, gap)
        if any(number > segment.number for number in unmade) and any(segment.data[segment.end :]):
            raise LogDamaged(segment.name, segment.end, "its last frame is broken, yet a further segment was begun")
        for number in unmade:
            self._files.remove(f"{self._directory}/{new_segment_name(number)}")
            self.notices.append(f"removed {new_segment_name(number)}, which a crash left unfinished")
        return contents, self._secure(segment)

    def _numbers(self) -> tuple[list[int], list[int], int | None]:
        """Of the segments that follow one another up to the newest, of those whose making a crash ended, and of
        one that is missing before the former. Raises `LogDamaged`, `NoLog` if there is no directory.

        In a segment that was still being made nothing was acknowledged, but it was begun when the one before it
        was durable.
        """
        if not self._files.exists(self._directory):
            raise NoLog(f"there is no log in {self._directory}: there is no such directory")
        names = self._files.list(self._directory)
        numbers = sorted(number for name in names if (number := segment_number(name)) is not None)
        unmade = sorted(number for name in names if (number := new_segment_number(name)) is not None)
        begin = self._beginning(numbers)
        self.replaced, numbers = numbers[:begin], numbers[begin:]
        gap: int | None = None
        for before, after in pairwise(
            [*numbers, *(number for number in unmade if number > numbers[-1])] if numbers else ()
        ):
            if after != before + 1:
                gap = after - 1
        if gap is not None:
            self.stale = [number for number in numbers if number < gap]
            numbers = numbers[len(self.stale) :]
            if not numbers:
                raise self._missing(gap)
        return numbers, unmade, gap

    def _beginning(self, numbers: list[int]) -> int:
        """Where in `numbers` the newest segment stands that a log begins with; 0 if none does."""
        for place in range(len(numbers) - 1, 0, -1):
            file = self._files.open(f"{self._directory}/{segment_name(numbers[place])}")
            try:
                if begins_log(file, numbers[place]):
                    return place
            finally:
                file.close()
        return 0

    @staticmethod
    def _missing(number: int) -> LogDamaged:
        return LogDamaged(segment_name(number), 0, "this segment is missing")

    def _check_beginning(self, first: SegmentHeader, contents: Contents, gap: int | None) -> None:
        """Whether the log may begin with this segment. It may if a record in it, or after it, says that all the
        entries before it are forgotten, but for those that are overwritten: then those before it were removed, or
        their removal has begun (in what order it reaches the disk is not promised, so it may leave a gap). Hard state
        stands in every header."""
        base = contents.bounds.base.index
        if not contents.misses_entries and (base or not first.previous_end):
            return
        if gap is not None:
            raise self._missing(gap)
        raise LogDamaged(
            segment_name(first.number),
            0,
            f"it begins with entry {first.next_index}, and the log after entry {base}: the segments "
            "before it are missing",
        )

    @staticmethod
    def _read(file: File, name: str) -> bytes:
        size = file.size()
        if size > MAX_SEGMENT_BYTES:
            raise LogDamaged(name, MAX_SEGMENT_BYTES, f"the file has {size} bytes, more than was ever written")
        return file.read_at(0, size)

    @staticmethod
    def _check_sequel(name: str, header: SegmentHeader, contents: Contents, before: _Segment | None) -> None:
        """Whether this segment follows what was read so far: each names what stood before it."""
        if before is None:
            if header.next_index <= header.base.index:
                raise LogDamaged(name, 0, f"it begins with entry {header.next_index} after {header.base.index}")
            return
        if header.previous_end != before.end:
            raise LogDamaged(
                before.name,
                min(before.end, header.previous_end),
                f"its frames end at byte {before.end}, but they ended at byte {header.previous_end} when "
                f"segment {name} was begun",
            )
        if header.base != contents.bounds.base:
            raise LogDamaged(
                name,
                0,
                f"its log begins after {_place(header.base)}, that of the segments before it after "
                f"{_place(contents.bounds.base)}",
            )
        if header.next_index != contents.bounds.last + 1 or header.hard_state != contents.hard_state:
            raise LogDamaged(
                name,
                0,
                f"it begins with entry {header.next_index} and {header.hard_state}, but the segments before it end "
                f"with entry {contents.bounds.last} and {contents.hard_state}",
            )

    def _read_segment(self, segment: _Segment, contents: Contents) -> _Segment:
        name, number, file, data, newest, offset = segment
        view = memoryview(data)
        first = offset
        while True:
            header = decode_header(view[offset : offset + SECTOR], number, offset)
            if isinstance(header, Broken):
                torn = header is not Broken.HEADER
                reason = header
                beyond = offset + ALIGNMENT
            else:
                if header.durable_bytes > len(data):
                    raise cut_short(name, len(data), header.durable_bytes)
                body = view[offset + HEADER_BYTES : offset + HEADER_BYTES + header.body_bytes]
                payload = decode_body(header, body)
                if isinstance(payload, bytes):
                    contents.take(name, number, offset, payload)
                    newest = offset
                    offset += header.span
                    continue
                torn = proves_torn(header, body)
                reason = payload
                beyond = offset + header.span
            later = find_frame(data, number, beyond)
            if later is not None:
                raise LogDamaged(name, offset, f"{reason.value}, yet a whole frame follows at byte {later.offset}")
            if not torn:
                raise LogDamaged(name, offset, f"{reason.value}, and every sector of it was written")
            if offset == first:
                raise LogDamaged(name, offset, f"{reason.value}, yet the segment's first frame was durable")
            self.ends[number] = offset
            return _Segment(name, number, file, data, newest, offset)

    def _secure(self, segment: _Segment) -> Tail:
        """Make durable what was found: from here on the replica takes it for promised. And make what
        follows the last whole frame zeros again: a later torn frame is told by them.

        The newest write may be in the page cache alone: the process before was killed before its sync, or
        ended because that sync failed. A failed sync calls the lost pages clean, so a sync alone would not
        write them (Rebello et al., ATC 2020): the bytes are written once more. One write is under way
        at a time, and it is one frame. (A segment's first was synced before the segment got its name.)
        """
        name, number, file, data, newest, end = segment
        torn = len(data[end:].rstrip(b"\0"))
        file.write_at(newest, data[newest:end].ljust(max(end, len(data)) - newest, b"\0"))
        file.sync()
        self._files.sync_directory(self._directory)
        if torn:
            self.notices.append(f"trimmed a torn tail of {torn} bytes in segment {name} at byte {end}")
        return Tail(number, end, max(end, len(data)))
