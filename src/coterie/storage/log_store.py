"""The durable log: what a replica asks to be stored, in segments, through the `Files` port.

`prepare` (on the loop's thread) turns store batches into one `Write`; `Write.perform` (on the sync
thread) writes and syncs it. One write is under way at a time: see `storage.frame` for why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coterie.core.records import Put, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, Entry, HardState, Index, Mark, Membership, SnapshotMeta
from coterie.storage.errors import LogDamaged, StorageError
from coterie.storage.files import File, Files
from coterie.storage.frame import (
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Broken,
    aligned,
    decode_body,
    decode_header,
    encode_frame,
)
from coterie.storage.log_index import LogIndex, Point
from coterie.storage.record_codec import ENTRY_OVERHEAD_BYTES, Malformed, decode_records, encode_record
from coterie.storage.recovery import Recovery, Tail
from coterie.storage.segment import (
    FORMAT_VERSION,
    ZERO_CHUNK_BYTES,
    LogHeader,
    SegmentHeader,
    encode_header,
    read_header,
    segment_name,
    segment_number,
)

__all__ = ["LogHeader", "LogStore", "Write"]

DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024
_EMPTY = SnapshotMeta(0, NO_EPOCH, Membership((), ()))


class Write:
    """Bytes on their way to the disk. After an ENOSPC `perform` may be called again: it does the same
    once more. After any other error nobody knows what the disk holds: the process must end."""

    __slots__ = ("_data", "_offset", "_path", "_store", "mark", "size")

    def __init__(self, store: LogStore, path: str, offset: int, data: bytes, size: int, mark: Mark) -> None:
        self._store = store
        self._path = path
        self._offset = offset
        self._data = data
        self.size = size
        self.mark = mark

    def perform(self) -> None:
        """Write and sync. Raises `OSError`."""
        file = self._store.opened.get(self._path)
        if file is not None and self._offset > 0:
            file.write_at(self._offset, self._data)
            file.sync()
            return
        # A new segment: its name must be durable, too, or the whole file may vanish.
        files = self._store.files
        if file is None:
            file = files.open(self._path, create=not files.exists(self._path))
            self._store.opened[self._path] = file
        file.write_at(self._offset, self._data)
        file.sync()
        files.sync_directory(self._store.directory)


class LogStore:
    """A log on disk, and a `LogReader` of it. Not for two threads, but for `Write.perform`."""

    def __init__(self, files: Files, directory: str, owner: LogHeader, segment_bytes: int) -> None:
        self.files = files
        self.directory = directory
        self.notices: tuple[str, ...] = ()
        self.recovered: Recovered
        self._owner = owner
        self._segment_bytes = segment_bytes
        self.opened: dict[str, File] = {}
        """Segments' files by path."""
        self._index = LogIndex()
        self._base = _EMPTY
        self._hard_state = HardState()
        self._last: Index = 0
        self._number = 0
        self._offset = 0
        self._zeroed_until = 0

    @classmethod
    def create(
        cls,
        files: Files,
        directory: str,
        header: LogHeader,
        entries: Sequence[Entry],
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> LogStore:
        """A new log that holds `entries`, durable on return. What a crash left of an earlier attempt to
        make the same log is finished or replaced. Raises `StorageError` if there is another, `OSError`."""
        files.make_directory(directory)
        leftover = cls._leftover(files, directory, header, entries, segment_bytes)
        if leftover is not None:
            return leftover
        store = cls(files, directory, header, segment_bytes)
        store.prepare([StoreBatch(0, (SaveHardState(HardState()), Put(tuple(entries))))]).perform()
        store.close()
        return cls.open(files, directory, header, segment_bytes=segment_bytes)

    @classmethod
    def _leftover(
        cls, files: Files, directory: str, header: LogHeader, entries: Sequence[Entry], segment_bytes: int
    ) -> LogStore | None:
        """What an earlier `create` made, if it is whole; otherwise it is removed."""
        names = [name for name in files.list(directory) if segment_number(name) is not None]
        if not names:
            return None
        path = f"{directory}/{segment_name(1)}"
        if names == [segment_name(1)]:
            file = files.open(path)
            try:
                torn = read_header(file, segment_name(1), 1, header) is None
            finally:
                file.close()
            if not torn:
                store = cls.open(files, directory, header, segment_bytes=segment_bytes)
                found = store.recovered
                fresh = 0 < found.last_index == len(entries) and found.hard_state == HardState()
                if fresh and store.entries(1, found.last_index, MAX_PAYLOAD_BYTES) == list(entries):
                    return store
                torn = found.last_index == 0
                store.close()
            if torn:
                files.remove(path)
                files.sync_directory(directory)
                return None
        raise StorageError(
            f"there is a log in {directory} already",
            advice="Open it, or choose another data directory for a new member.",
        )

    @classmethod
    def open(
        cls, files: Files, directory: str, header: LogHeader, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> LogStore:
        """Recover the log. Raises `LogDamaged`, `WrongLog`, `OSError`."""
        store = cls(files, directory, header, segment_bytes)
        recovery = Recovery(files, directory, header)
        try:
            contents, tail = recovery.run()
        except BaseException:
            for file in recovery.files.values():
                file.close()
            raise
        for number, file in recovery.files.items():
            store.opened[f"{directory}/{segment_name(number)}"] = file
        store.recovered = contents.recovered()
        store.notices = tuple(recovery.notices)
        store._index = contents.index
        store._base = contents.base
        store._hard_state = contents.hard_state
        store._last = contents.last
        store._continue_at(tail)
        return store

    def _continue_at(self, tail: Tail) -> None:
        self._number, self._offset = tail.number, tail.offset
        self._zeroed_until = tail.zeroed_until

    def close(self) -> None:
        """Close the files. What was not performed is not written."""
        for file in self.opened.values():
            file.close()
        self.opened.clear()

    # -- writing -----------------------------------------------------------------------------

    def prepare(self, batches: Sequence[StoreBatch]) -> Write:
        """Encode batches as one write, after all earlier ones. No I/O."""
        parts: list[bytes] = []
        size = 0
        records: list[tuple[int, Put | Truncate | SaveHardState]] = []
        for batch in batches:
            for record in batch.records:
                records.append((size, record))
                size += encode_record(record, parts)
        payload = b"".join(parts)
        mark = batches[-1].mark
        new = self._number == 0 or self._offset + aligned(HEADER_BYTES + size) > self._segment_bytes
        head = self._begin_segment() if new else b""
        frame_offset = self._offset
        frame = encode_frame(payload, self._number, frame_offset)
        self._offset += len(frame)
        data = head + self._with_zeros(frame) if new else self._with_zeros(frame)
        for position, record in records:
            self._note(record, position, frame_offset)
        path = f"{self.directory}/{segment_name(self._number)}"
        return Write(self, path, frame_offset - len(head), data, len(frame), mark)

    def _begin_segment(self) -> bytes:
        self._number += 1
        header = SegmentHeader(FORMAT_VERSION, self._owner, self._number, self._hard_state, self._base, self._last + 1)
        head = encode_header(header)
        self._offset = len(head)
        self._zeroed_until = 0
        return head

    def _with_zeros(self, frame: bytes) -> bytes:
        """The frame, and zeros after it if it reaches past what the file holds already."""
        if self._offset <= self._zeroed_until:
            return frame
        self._zeroed_until = self._offset + ZERO_CHUNK_BYTES
        return frame + bytes(ZERO_CHUNK_BYTES)

    def _note(self, record: Put | Truncate | SaveHardState, position: int, frame: int) -> None:
        """Keep the index, the newest hard state and the end of the log as the records leave them."""
        if isinstance(record, Put):
            for entry in record.entries:
                self._index.put(Point(entry.index, self._number, frame, position), len(entry.payload))
                position += ENTRY_OVERHEAD_BYTES + len(entry.payload)
            self._last = record.entries[-1].index
        elif isinstance(record, Truncate):
            self._index.truncate(record.first)
            self._last = min(self._last, record.first - 1)
        else:
            self._hard_state = record.state

    # -- reading -----------------------------------------------------------------------------

    def entries(self, first: Index, last: Index, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`. Raises `LogDamaged` if what is read does not check, `LookupError`."""
        found: list[Entry] = []
        size = 0
        wanted = first
        while wanted <= last:
            point, following = self._index.locate(wanted)
            end = last if following is None else min(last, following - 1)
            for entry in self._walk(point):
                if entry.index < wanted:
                    continue
                size += len(entry.payload)
                if found and size > limit_bytes:
                    return found
                found.append(entry)
                wanted = entry.index + 1
                if wanted > end:
                    break
        return found

    def _walk(self, point: Point) -> Iterator[Entry]:
        """Entries in the order in which they were written, from a point on."""
        number, offset, position = point.segment, point.frame, point.position
        while True:
            read = self._read_frame(number, offset)
            if read is None:
                number, offset = self._segment_after(number)
                continue
            payload, following = read
            try:
                for _, record in decode_records(payload, position):
                    if type(record) is Entry:
                        yield record
            except Malformed as error:
                raise LogDamaged(segment_name(number), offset, str(error)) from error
            offset, position = following, 0

    def _read_frame(self, number: int, offset: int) -> tuple[bytes, int] | None:
        """The payload of the frame at `offset` and the offset of the next; None at the segment's end."""
        name = segment_name(number)
        file = self.opened[f"{self.directory}/{name}"]
        header = decode_header(file.read_at(offset, HEADER_BYTES), number, offset)
        if header is Broken.BLANK:
            return None  # the segment's end: frames are written without gaps
        if isinstance(header, Broken):
            raise LogDamaged(name, offset, header.value)
        payload = decode_body(header, file.read_at(offset + HEADER_BYTES, header.body_bytes))
        if isinstance(payload, Broken):
            raise LogDamaged(name, offset, payload.value)
        return payload, offset + header.span

    def _segment_after(self, number: int) -> tuple[int, int]:
        """The next segment's number and where its first frame after the header begins."""
        read = self._read_frame(number + 1, 0) if number < self._number else None
        if read is not None:
            return number + 1, read[1]
        raise LookupError(f"the log has no segment after {segment_name(number)}")
