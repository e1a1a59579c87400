"""The durable log: what a replica asks to be stored, in segments, through the `Files` port.

`prepare` (on the loop's thread) turns store batches into one `Write`; `Write.perform` (on the sync
thread) writes and syncs it. One write is under way at a time: see `storage.frame` for why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from coterie.core.epochs import EpochRuns
from coterie.core.records import Compact, Put, Record, Recovered, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, Entry, HardState, Index, Membership, Repair, SnapshotMeta
from coterie.storage.bounds import Bounds
from coterie.storage.direct import BLOCK_BYTES, unfinished
from coterie.storage.errors import StorageError
from coterie.storage.files import File, Files
from coterie.storage.frame import (
    FORMAT_VERSION,
    MAX_PAYLOAD_BYTES,
    Pledge,
    encode_frame,
    frame_bound,
    frame_span,
)
from coterie.storage.frame_reader import FrameReader
from coterie.storage.log_index import LogIndex
from coterie.storage.record_codec import ENTRY_OVERHEAD_BYTES, encode_record
from coterie.storage.recovery import Recovery
from coterie.storage.segment import (
    MAX_SEGMENT_BYTES,
    LogHeader,
    SegmentHeader,
    damaged_segment_name,
    encode_header,
    highest_number,
    new_segment_number,
    segment_name,
    segment_number,
)
from coterie.storage.write import Write
from coterie.storage.zeros import ZERO_CHUNK_BYTES, Room, Zeros

__all__ = ["LogHeader", "LogStore", "Write"]

DEFAULT_SEGMENT_BYTES = 64 * 1024 * 1024
_Bytes: TypeAlias = bytes
"""In `LogStore` the name `bytes` is a figure."""
_NONE: tuple[Index, Index] = (1 << 62, 0)
_EMPTY = SnapshotMeta(0, NO_EPOCH, Membership((), ()))


class LogStore:
    """A log on disk, and a `LogReader` of it. Not for two threads, but for `Write.perform`, `Room.perform`, `trim`."""

    def __init__(self, files: Files, directory: str, owner: LogHeader, segment_bytes: int) -> None:
        if not 0 < segment_bytes <= MAX_SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is {segment_bytes}: it must be 1 to {MAX_SEGMENT_BYTES}")
        self.files = files
        self.directory = directory
        self.notices: tuple[str, ...] = ()
        self.recovered: Recovered
        self._owner = owner
        self._segment_bytes = segment_bytes
        self.opened: dict[str, File] = {}
        """Segments' files by path."""
        self._ends: dict[int, int] = {}
        """Where each older segment's last frame ends."""
        self._frames = FrameReader(directory, self.opened, self._ends)
        self._index = LogIndex()
        self._bounds = Bounds(_EMPTY, EpochRuns(0))
        """Once the write under way is done."""
        self._hard_state = HardState()
        self._durable: Index = 0
        """Entries up to here are on disk, and no prepared write forgets them."""
        self._replaced = _NONE
        """Those among them that the write under way replaces, from the first to the last."""
        self._number = 0
        self._path = ""
        """Of the newest segment."""
        self._offset = 0
        self._may_direct = True
        self._block = b""
        """What stands before `_offset` in its block."""
        self._zeros = Zeros(segment_bytes)
        """Of the newest segment."""
        self._under_way: Write | None = None
        self._segments: list[int] = []
        """Numbers of the segments that there are, or that a write under way makes."""
        self._needed = 0
        """Segments before this hold only entries that are forgotten or replaced, once the write under way is done."""
        self._trim_before = 0
        """The same, durably: these may be removed."""

    @classmethod
    def create(
        cls,
        files: Files,
        directory: str,
        header: LogHeader,
        entries: Sequence[Entry],
        *,
        base: SnapshotMeta = _EMPTY,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> LogStore:
        """A new log that holds `entries`, durable on return; none, for a member that joins a cluster: then the
        log is empty, with base 0 and no membership. `base`: what it begins after, whose snapshot is durable.

        If an earlier attempt to make the same log got through, that log is opened; what a crash left of one is
        removed. Raises `StorageError` if there is another log, what `open` raises, `OSError`."""
        files.make_directory(directory)
        files.sync_directory(directory.rpartition("/")[0] or ("/" if directory.startswith("/") else "."))
        leftover = cls._leftover(files, directory, header, entries, base, segment_bytes)
        if leftover is not None:
            return leftover
        store = cls(files, directory, header, segment_bytes)
        # A segment begins with a frame, and so the log does: with its hard state, if with nothing else.
        reset = (Reset(base),) if base.index else ()
        put = (Put(tuple(entries)),) if entries else ()
        store.prepare([StoreBatch(0, (SaveHardState(HardState()), *reset, *put))]).perform()
        store.close()
        return cls.open(files, directory, header, segment_bytes=segment_bytes)

    @classmethod
    def _leftover(
        cls,
        files: Files,
        directory: str,
        header: LogHeader,
        entries: Sequence[Entry],
        base: SnapshotMeta,
        segment_bytes: int,
    ) -> LogStore | None:
        """What an earlier `create` made, if it got through; otherwise what it left is removed."""
        found = files.list(directory)
        names = [name for name in found if segment_number(name) is not None]
        if not names:
            for name in found:
                if new_segment_number(name) is not None:
                    files.remove(f"{directory}/{name}")
            return None
        store = cls.open(files, directory, header, segment_bytes=segment_bytes)
        found_in = store.recovered
        fresh = names == [segment_name(1)] and found_in.base == base and found_in.hard_state == HardState()
        begin, end = base.index + 1, found_in.last_index
        held = store.entries(begin, end, MAX_PAYLOAD_BYTES) if fresh and end >= begin else []
        if fresh and held == list(entries) and end == base.index + len(entries):
            return store
        store.close()
        raise StorageError(
            f"there is a log in {directory} already",
            advice="Open it, or choose another data directory for a new member.",
        )

    @classmethod
    def open(
        cls,
        files: Files,
        directory: str,
        header: LogHeader,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
        zero_bytes: int = ZERO_CHUNK_BYTES,
    ) -> LogStore:
        """Recover the log; what is recovered is durable. Segments are lengthened by `zero_bytes` at a time. Raises
        `NoLog`, `LogDamaged`, `WrongLog`, `OSError`."""
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
        store._bounds = contents.bounds
        store._hard_state = contents.hard_state
        store._durable = contents.bounds.last
        store._ends.update((number, end) for number, end in recovery.ends.items() if number != tail.number)
        store._number, store._offset = tail.number, tail.offset
        store._zeros = Zeros(segment_bytes, zero_bytes, tail.zeroed_until)
        store._path = f"{directory}/{segment_name(tail.number)}"
        begun = store._offset % BLOCK_BYTES
        store._block = store.opened[store._path].read_at(store._offset - begun, begun)
        store._segments = [*recovery.stale, *recovery.files]
        store._trim_before = store._needed = store._first_needed()
        store.trim()  # what a crash did not let the process before get done
        store._set_aside(recovery.replaced)
        return store

    @classmethod
    def begin_anew(
        cls,
        files: Files,
        directory: str,
        header: LogHeader,
        pledge: Pledge,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> LogStore:
        """Begin an empty log behind one that is damaged, or of no more use: it holds what the member promised, and
        that it owes a repair (`core/repair.py`). The commit point is the name of its first segment; those before it
        are set aside, as evidence. Raises what `open` raises."""
        store = cls(files, directory, header, segment_bytes)
        store._number = highest_number(files.list(directory))
        epoch, vote, last = pledge
        owing = HardState(epoch, vote, Repair(last, epoch))
        store.prepare([StoreBatch(0, (SaveHardState(owing),))]).perform()
        store.close()
        return cls.open(files, directory, header, segment_bytes=segment_bytes)

    def _set_aside(self, numbers: Sequence[int]) -> None:
        """Keep these segments, of a log that this one was begun behind, under other names."""
        for number in numbers:
            old = f"{self.directory}/{segment_name(number)}"
            self.files.rename(old, f"{self.directory}/{damaged_segment_name(number)}")
        if numbers:
            self.files.sync_directory(self.directory)
            names = ", ".join(damaged_segment_name(number) for number in numbers)
            self.notices += (f"set aside, as evidence, of a log that was begun anew: {names}",)

    @property
    def pledge(self) -> Pledge:
        """What binds the member, by all that was prepared."""
        return Pledge.of(self._hard_state, self._bounds.last)

    def close(self) -> None:
        """Close the files. What was not performed is not written."""
        for file in self.opened.values():
            file.close()
        self.opened.clear()

    # -- writing -----------------------------------------------------------------------------

    def prepare(self, batches: Sequence[StoreBatch]) -> Write:
        """Encode batches as one write, after all earlier ones. No I/O.

        The write before must have been performed: only so at most one frame can be torn. Raises
        `RuntimeError` if not, `ValueError` if the batches hold nothing, too much, or what cannot follow
        (`Bounds.take`); then nothing was changed.
        """
        if self._under_way is not None:
            raise RuntimeError(f"the write with mark {self._under_way.mark} was prepared, but is not performed yet")
        parts: list[bytes] = []
        size = 0
        state = self._hard_state
        records: list[tuple[int, Record]] = []
        bounds = self._bounds.copy()
        for batch in batches:
            for record in batch.records:
                records.append((size, record))
                bounds.take(record)
                if type(record) is SaveHardState:
                    state = record.state
                size += encode_record(record, parts)
        if not 0 < size <= MAX_PAYLOAD_BYTES:
            raise ValueError(f"a write of {size} bytes: it must have 1 to {MAX_PAYLOAD_BYTES}")
        payload = b"".join(parts)
        head = b""
        if not self._path or self._full(size):
            head = self._begin_segment(size)
        begin = self._offset
        pledge = Pledge.of(state, bounds.last)
        frame = encode_frame(payload, self._number, begin, 0 if head else self._zeros.until, pledge)
        self._offset += len(frame)
        grows = bool(head) or self._offset > self._zeros.until
        if grows and not head:
            self._zeros.reach(self._offset)
        data = b"".join((head, frame, bytes(self._zeros.until - self._offset) if grows else b""))
        before, self._block = self._block, unfinished(b"" if head else self._block, head + frame, self._offset)
        blocks_end = -(-self._offset // BLOCK_BYTES) * BLOCK_BYTES
        whole = self._may_direct and not grows and blocks_end <= self._zeros.until
        for position, record in records:
            self._note(record, position, begin)
        forgets = self._bounds.base is not bounds.base
        self._bounds = bounds
        if forgets:
            self._needed = self._first_needed()
        self._under_way = Write(
            self,
            self._path,
            begin - len(head),
            data,
            len(frame),
            batches[-1].mark,
            bounds.last,
            before if whole else None,
            grows,
        )
        return self._under_way

    def performed(self, write: Write, last: Index) -> None:
        """For `Write` alone: it is durable, and the log's durable end is `last`."""
        if self._under_way is write:
            self._durable, self._replaced = last, _NONE
            self._trim_before = self._needed
            self._under_way = None

    def _full(self, payload_bytes: int) -> bool:
        """Whether the newest segment has no room for a frame of such a payload."""
        offset, limit = self._offset, self._segment_bytes
        return offset + frame_bound(payload_bytes) > limit and offset + frame_span(payload_bytes, offset) > limit

    def _begin_segment(self, payload_bytes: int) -> _Bytes:
        """The header of the next segment, whose first frame, of such a payload, goes just after it."""
        number, end = self._number + 1, self._offset
        base, following = self._bounds.base, self._bounds.last + 1
        header = SegmentHeader(FORMAT_VERSION, self._owner, number, self._hard_state, base, following, end)
        offset = len(encode_header(header, 0))
        if self._path:
            self._ends[self._number] = end
        self._segments.append(number)
        self._index.begin_segment()
        self._number = number
        self._path = f"{self.directory}/{segment_name(number)}"
        self._offset = offset
        self._zeros.reach(offset + frame_span(payload_bytes, offset))
        return encode_header(header, self._zeros.until)

    def _note(self, record: Record, position: int, frame: int) -> None:
        """Keep the index, the newest hard state and what may be read as the records leave them."""
        if isinstance(record, Put):
            first, last = record.entries[0].index, record.entries[-1].index
            if first <= self._durable:
                self._replaced = min(self._replaced[0], first), max(self._replaced[1], last)
            for entry in record.entries:
                size = ENTRY_OVERHEAD_BYTES + len(entry.payload)
                self._index.put(entry.index, self._number, frame, position, size)
                position += size
        elif isinstance(record, SaveHardState):
            self._hard_state = record.state
        elif isinstance(record, Truncate):
            self._index.truncate(record.first)
            self._durable = min(self._durable, record.first - 1)
        elif isinstance(record, Compact):
            self._index.compact(record.base.index)
        else:
            self._durable, self._replaced = record.base.index, _NONE
            self._index.clear(record.base.index)

    @property
    def direct(self) -> bool:
        """Whether most writes pass the page cache by (see `storage.direct`)."""
        file = self.opened.get(self._path)
        return self._may_direct and file is not None and file.direct() is not None

    def no_direct(self) -> None:
        """Let all further writes go through the page cache."""
        self._may_direct = False

    def more_room(self) -> Room | None:
        """Zeros to be made while the log goes on, if the newest segment's come to an end. Whoever performs it performs
        no write that `grows` meanwhile."""
        file = self.opened.get(self._path)
        return self._zeros.room(file) if file is not None and self._zeros.scarce(self._offset) else None

    # -- removing ----------------------------------------------------------------------------

    @property
    def trimmable(self) -> bool:
        """Whether there are segments to be removed: then call `trim` when nobody waits for the disk."""
        return bool(self._segments) and self._segments[0] < self._trim_before

    def trim(self) -> None:
        """Remove the segments that hold only entries that are forgotten or replaced; a crash in between leaves the
        rest to the next start. May run in another thread, beside anything but itself. Raises `OSError`: after one of
        a sync nobody knows what the disk holds."""
        removed = False
        while self.trimmable:
            removed = True
            number = self._segments[0]
            path = f"{self.directory}/{segment_name(number)}"
            # Nobody reads it: its entries are before the base, or replaced. (`stale` ones were never opened.)
            file = self.opened.pop(path, None)
            if file is not None:
                file.close()
            self._ends.pop(number, None)
            self.files.remove(path)
            del self._segments[0]
        if removed:
            self.files.sync_directory(self.directory)

    def _first_needed(self) -> int:
        """The first segment that is needed for the entries which are not forgotten. It need not be that of the first
        of them: the only copy of a later one may stand before it, if the first was overwritten."""
        base = self._bounds.base.index
        if not base:
            return self._segments[0]  # nothing was ever forgotten: one that is missing is damage
        if self._bounds.last == base:
            return self._number
        return self._index.earliest(base + 1).segment

    # -- measuring ---------------------------------------------------------------------------

    @property
    def base(self) -> SnapshotMeta:
        """The log begins just after this."""
        return self._bounds.base

    @property
    def bytes(self) -> int:
        """Bytes of log kept since the base: see `bytes_after`."""
        return self.bytes_after(self._bounds.base.index)

    def bytes_after(self, index: Index) -> int:
        """Bytes of log that hold the entries after `index`, and all that was written since: as much, but for
        less than 64 KiB and a frame, must be read again after a restart to replay them."""
        index = max(index, self._bounds.base.index)
        if index >= self._bounds.last:
            return 0
        number, offset = self._index.earliest(index + 1)[1:3]
        return sum(self._ends[each] for each in range(number, self._number)) + self._offset - offset

    # -- reading -----------------------------------------------------------------------------

    def entries(self, first: Index, last: Index, limit_bytes: int) -> list[Entry]:
        """See `LogReader.entries`. Raises `LookupError` if `first` is not in the log, or not durable yet;
        `LogDamaged` if what is read does not check."""
        base, replaced = self._bounds.base.index, self._replaced
        last = min(last, self._durable)
        if not base < first <= self._durable:
            raise LookupError(f"entry {first} is not in the log, which holds {base + 1} to {self._durable}")
        if first <= replaced[1]:
            last = min(last, replaced[0] - 1)
            if first > last:
                raise LookupError(f"entry {first} is being overwritten, as are entries {replaced[0]} to {replaced[1]}")
        found: list[Entry] = []
        size = 0
        wanted = first
        while wanted <= last:
            point, following = self._index.locate(wanted)
            end = last if following is None else min(last, following - 1)
            for at, entry in self._frames.walk(point):
                if entry.index < wanted:
                    continue
                size += len(entry.payload)
                if found and size > limit_bytes:
                    self._index.remember(at)
                    return found
                found.append(entry)
                wanted = entry.index + 1
                if wanted > end:
                    self._index.remember(at)
                    break
        return found
