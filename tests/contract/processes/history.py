"""What clients asked and were told, and whether one store, one operation after another, could have said it.

Two checks, of which neither trusts the other. Each key is a register whose written values are all
different: `coterie.check` decides that. And the store's revisions claim to *be* the order of
all operations: so revisions must grow with real time, and each answer must be what the writes up to
its revision left.
"""

from __future__ import annotations

import threading

import msgspec

from coterie.check import REGISTER, Operation, linearizable
from coterie.machine.kv.protocol import Item

NEVER_KNOWN = -1
"""As the revision of a write whose reply was not seen."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One operation that was answered, in nanoseconds of the monotonic clock."""

    what: str
    key: bytes
    value: bytes | None
    """Written, or read (None: no such key)."""
    write: bool
    start: int
    end: int
    revision: int
    fresh_from: int
    """Everything acknowledged before this time must be in the answer; `start` for a linearizable read."""
    at_least: int = 0
    """The answer may not be from before this revision."""
    mod: int = 0
    version: int = 0


class History:
    """Filled by the event loop of a load; read by the test's own thread when the load has ended, but for the
    counters, which may be read at any time."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.unknown: list[tuple[bytes, bytes, int]] = []
        """Key, value and start of writes that may have happened."""
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._acknowledged = 0
        self._read = 0

    @property
    def acknowledged(self) -> int:
        """Writes that succeeded."""
        with self._lock:
            return self._acknowledged

    @property
    def read(self) -> int:
        """Linearizable reads that succeeded."""
        with self._lock:
            return self._read

    def add(self, seen: Seen) -> None:
        self.seen.append(seen)
        with self._lock:
            if seen.write:
                self._acknowledged += 1
            elif seen.fresh_from == seen.start:
                self._read += 1

    def add_read(
        self, what: str, key: bytes, item: Item | None, start: int, end: int, revision: int, fresh_from: int
    ) -> None:
        """A read, linearizable if it is fresh from its start on."""
        self.add(
            Seen(
                what=what,
                key=key,
                value=item.value if item is not None else None,
                write=False,
                start=start,
                end=end,
                revision=revision,
                fresh_from=fresh_from,
                mod=item.mod if item is not None else 0,
                version=item.version if item is not None else 0,
            )
        )

    # The checks

    def problems(self) -> list[str]:
        """Why the history is none of one store; empty if it is."""
        found = self._registers() + self._real_time()
        for key in sorted({seen.key for seen in self.seen}):
            found += self._revisions(key)
        return found

    def registers(self) -> list[Operation]:
        """Writes and linearizable reads, for the checker and its JSON lines: bytes as text. Who called does not matter
        to it, so each is a process of its own."""
        operations: list[Operation] = []
        for process, seen in enumerate(self.seen):
            key, value = _text(seen.key), _text(seen.value)
            if seen.write:
                operations.append(
                    Operation(process=process, f="write", key=key, argument=value, start=seen.start, end=seen.end)
                )
            elif seen.fresh_from == seen.start:
                operations.append(
                    Operation(process=process, f="read", key=key, result=value, start=seen.start, end=seen.end)
                )
        for process, (written, content, start) in enumerate(self.unknown, len(self.seen)):
            operations.append(
                Operation(process=process, f="write", key=_text(written), argument=_text(content), start=start)
            )
        return operations

    def _registers(self) -> list[str]:
        found = linearizable(self.registers(), REGISTER)
        return [] if found.holds else [f"{found.reason}: {', '.join(map(str, found.operations))}"]

    def _real_time(self) -> list[str]:
        """Whatever ended before another began has no higher revision, and a lower one if the other wrote."""
        found: list[str] = []
        ended = sorted(self.seen, key=lambda seen: seen.end)
        newest: Seen | None = None
        position = 0
        for seen in sorted(self.seen, key=lambda seen: seen.fresh_from):
            while position < len(ended) and ended[position].end < seen.fresh_from:
                if newest is None or ended[position].revision > newest.revision:
                    newest = ended[position]
                position += 1
            floor = 0 if newest is None else newest.revision + seen.write
            if seen.revision < floor:
                found.append(f"{seen} came after {newest}")
            if seen.revision < seen.at_least:
                found.append(f"{seen} is older than the client had seen")
        return found

    def _revisions(self, key: bytes) -> list[str]:
        """Of one key: each value has one revision, each revision one value, and each read the newest up to its own."""
        found: list[str] = []
        written: dict[int, bytes] = {}
        revision_of: dict[bytes, int] = {}
        version_of: dict[int, int] = {}
        mine = [seen for seen in self.seen if seen.key == key]
        for seen in mine:
            revision = seen.revision if seen.write else seen.mod
            if seen.value is None:
                continue
            if revision_of.setdefault(seen.value, revision) != revision:
                found.append(f"{seen}: its value took effect twice, at {revision_of[seen.value]} and at {revision}")
            if written.setdefault(revision, seen.value) != seen.value:
                found.append(f"{seen}: revision {revision} had written {written[revision]!r}")
            if seen.version and version_of.setdefault(revision, seen.version) != seen.version:
                found.append(f"{seen}: revision {revision} had version {version_of[revision]}")
        order = sorted(written)
        place = {revision: position for position, revision in enumerate(order)}
        for seen in mine:
            if seen.write:
                continue
            after = place[seen.mod] + 1 if seen.value is not None else 0
            if seen.mod > seen.revision or (after < len(order) and order[after] <= seen.revision):
                found.append(f"{seen} misses the write of revision {order[after] if after < len(order) else seen.mod}")
        versions = [version_of[revision] for revision in sorted(version_of)]
        if versions != sorted(set(versions)):
            found.append(f"{key!r}: versions do not grow with revisions: {versions}")
        if version_of:
            newest = max(version_of)
            sure = sum(1 for revision in order if revision <= newest)
            possible = sure + sum(1 for k, value, _ in self.unknown if k == key and value not in revision_of)
            if not sure <= version_of[newest] <= possible:
                found.append(
                    f"{key!r}: {version_of[newest]} writes took effect, but {sure} are known and {possible} possible"
                )
        return found


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="backslashreplace")
