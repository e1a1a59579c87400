"""A snapshot on its way to one follower: which bytes to send next, how many at a time, how fast.

Neither protocol matters here. The receiver's word counts: each answer says how many bytes it holds, in
order from the beginning, and sending goes on from there, whatever was lost on the way.
"""

from __future__ import annotations

from typing import NamedTuple

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos, SnapshotMeta

SECOND: Nanos = 1000 * MILLISECOND
THROTTLE_BURST: Nanos = 10 * MILLISECOND
"""What the throttle lets through at once, as time at its rate: a timer is not much finer than that."""


class Snapshot(NamedTuple):
    """A durable snapshot: what it is of, and its bytes. Size 0: the machine's own durable state, without a file
    that could be sent."""

    meta: SnapshotMeta
    size: int


class Outgoing:
    """One snapshot to one follower.

    It begins with a question (a chunk of no bytes): the follower may hold some of it already. Then a small
    window of chunks is under way. An answer that brings nothing new while bytes are under way says that a
    chunk was lost: once, the window is sent again. Silence for `patience` leads to the question again.
    """

    def __init__(self, snapshot: Snapshot, chunk_bytes: int, window_chunks: int, patience: Nanos) -> None:
        self.snapshot = snapshot
        self.acked = 0
        """Bytes that the follower said it holds."""
        self._next = 0
        self._chunk_bytes = chunk_bytes
        self._window_bytes = chunk_bytes * window_chunks
        self._patience = patience
        self._questioning = True
        self._questioned = False
        self._repeated = False
        self._since: Nanos = 0

    def interrupted(self) -> None:
        """What was under way is lost, and perhaps what the follower held: ask."""
        self._questioning, self._questioned = True, False

    def answered(self, now: Nanos, offset: int) -> None:
        """The follower holds `offset` bytes. Late and repeated answers do no harm."""
        if not 0 <= offset <= self.snapshot.size:
            return
        if self._questioning and self._questioned:
            self._questioning = False
            self._go_on(now, offset)
            self._next = offset
        elif offset > self.acked:
            self._go_on(now, offset)
            self._next = max(self._next, offset)
        elif offset == self.acked < self._next and not self._repeated:
            self._next = offset
            self._repeated = True

    def _go_on(self, now: Nanos, offset: int) -> None:
        self.acked = offset
        self._repeated = False
        self._since = now

    @property
    def _waiting(self) -> bool:
        """Whether the next move is the follower's: an answer, or the installation."""
        if self._questioning:
            return self._questioned
        return self.acked < self._next or self.acked == self.snapshot.size

    def look(self, now: Nanos) -> None:
        """Time has passed: ask, if the follower was silent for too long."""
        if self._waiting and now - self._since >= self._patience:
            self.interrupted()

    def deadline(self) -> Nanos | None:
        """When to `look`; None while nothing is awaited."""
        return self._since + self._patience if self._waiting else None

    def next_piece(self) -> tuple[int, int] | None:
        """(offset, bytes) to send now: 0 bytes is the question. None if it is not our turn."""
        if self._questioning:
            return None if self._questioned else (self.acked, 0)
        room = min(self._chunk_bytes, self.snapshot.size - self._next)
        if room <= 0 or self._next - self.acked >= self._window_bytes:
            return None
        return self._next, room

    def sent(self, now: Nanos, count: int) -> None:
        """The next piece was sent, with `count` bytes."""
        if self._questioning:
            self._questioned = True
            self._since = now
            return
        if self._next <= self.acked:
            self._since = now
        self._next += count


class Throttle:
    """Lets bytes through at a steady rate: all transfers of a leader together, so that its disk and its
    network are left to clients."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._booked_until: Nanos = 0

    @property
    def opens_at(self) -> Nanos:
        """When the next bytes may go."""
        return self._booked_until - THROTTLE_BURST

    def took(self, now: Nanos, count: int) -> None:
        """`count` bytes were let through."""
        self._booked_until = max(self._booked_until, now) + count * SECOND // self._bytes_per_s
