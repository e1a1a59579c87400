"""Client sessions: what makes a command take effect once however often it is sent (dissertation 6.3).

The table is part of the replicated state. It changes only by what the log says and expires only by
cluster time, so it is the same at every member; it travels in every snapshot (without it, a retry
that reaches a restored member would run again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from coterie.core.settings import Settings
from coterie.core.types import Index, Nanos
from coterie.machine.interface import Rejected

SECOND: Nanos = 1_000_000_000
MIN_SESSION_TTL: Nanos = SECOND // 10
"""A shorter life would end between two heartbeats of a healthy cluster."""
MAX_SESSION_TTL: Nanos = 24 * 3600 * SECOND
"""A longer one would hold its replies for days after its client has gone."""
ORDINAL_BITS = 20
MAX_ORDINAL = (1 << ORDINAL_BITS) - 2
"""Highest ordinal at which a session can be opened."""


class SessionLimits(msgspec.Struct, frozen=True, array_like=True):
    """Bounds of the table. Every member must have the same: they decide what is refused."""

    max_sessions: int
    max_session_replies: int
    """Replies kept for one session."""
    max_session_reply_bytes: int
    """A session that keeps this many bytes of replies or more gets no further one. (One entry's
    replies may overshoot it: their size is not known before they are made.)"""
    max_total_reply_bytes: int
    """The same for all sessions together."""


def limits_of(settings: Settings) -> SessionLimits:
    """The limits that these settings say."""
    return SessionLimits(
        settings.max_sessions,
        settings.max_session_replies,
        settings.max_session_reply_bytes,
        settings.max_total_reply_bytes,
    )


def session_id(index: Index, ordinal: int) -> int:
    """The id of a session opened by the command (index, ordinal): unique, above 0, ascending in the
    order of the log. It fits 63 bits up to index 2**43. `ordinal` is at most `MAX_ORDINAL`."""
    return index << ORDINAL_BITS | (ordinal + 1)


class Session:
    """One client's session: its life, its floor and the replies above it."""

    __slots__ = ("deadline", "dropped", "floor", "id", "replies", "reply_bytes", "touched", "ttl")

    def __init__(self, id: int, ttl: Nanos, deadline: Nanos, floor: int = 1) -> None:
        self.id = id
        self.ttl = ttl
        self.deadline = deadline
        """Cluster time at which it expires."""
        self.floor = floor
        """The client has seen every reply below this. Never goes back."""
        self.dropped = floor
        """Replies below this have been dropped: catches up with `floor` at the end of each entry."""
        self.replies: dict[int, bytes | Rejected | None] = {}
        """By the client's number; None: it is in the batch being run."""
        self.reply_bytes = 0
        self.touched: Index = 0
        """Index of the entry that last extended its life."""

    def raise_floor(self, floor: int, ceiling: int) -> None:
        """Raise the floor, at most to `ceiling`: a client can't have seen the reply to the very command
        that it sends. Never lowers it."""
        if floor > ceiling:
            floor = ceiling
        if floor > self.floor:
            self.floor = floor


class SessionTable:
    """All living sessions, their order of expiry, and the bytes that they keep."""

    def __init__(self, limits: SessionLimits) -> None:
        self.limits = limits
        self.living: dict[int, Session] = {}
        """By id; in ascending order of id, because ids ascend with the log."""
        self.reply_bytes = 0
        self.changed: set[int] = set()
        """Ids of the sessions that changed, or went, since `take_changed`."""
        self._order: list[tuple[Nanos, int]] = []
        """A heap of (deadline, id), one per session. A command moves only the session's own deadline;
        the heap's is brought up to date when it comes to the top, so it is never later than the true
        one and a command costs no heap operation."""

    def open(self, id: int, ttl: Nanos, now: Nanos) -> Session:
        """A new session that expires at `now` + `ttl`."""
        session = Session(id, ttl, now + ttl)
        self.living[id] = session
        self.changed.add(id)
        heappush(self._order, (session.deadline, id))
        return session

    def close(self, id: int) -> bool:
        """Forget the session; False if there was none. Its place in the heap goes when it comes to the top."""
        session = self.living.pop(id, None)
        if session is None:
            return False
        self.changed.add(id)
        self.reply_bytes -= session.reply_bytes
        session.replies.clear()  # nothing is left to drop when its entry ends
        if len(self._order) > 2 * len(self.living) + 64:  # mostly closed ones: bound the heap
            self._order = [(living.deadline, living.id) for living in self.living.values()]
            heapify(self._order)
        return True

    def expire(self, now: Nanos) -> int:
        """Drop every session whose deadline `now` has reached; returns how many."""
        dropped = 0
        order = self._order
        while order and order[0][0] <= now:
            id = order[0][1]
            session = self.living.get(id)
            if session is None:
                heappop(order)
            elif session.deadline > now:
                heapreplace(order, (session.deadline, id))
            else:
                heappop(order)
                del self.living[id]
                self.changed.add(id)
                self.reply_bytes -= session.reply_bytes
                dropped += 1
        return dropped

    def next_expiry(self) -> Nanos | None:
        """Cluster time of the next expiry if no session is heard from again; None without sessions."""
        order = self._order
        while order:
            shown, id = order[0]
            session = self.living.get(id)
            if session is None:
                heappop(order)
            elif session.deadline != shown:
                heapreplace(order, (session.deadline, id))
            else:
                return shown
        return None

    def drop_acknowledged(self, session: Session) -> None:
        """Drop the replies below the session's floor. None of them may be in the batch being run."""
        floor, replies = session.floor, session.replies
        gone: Iterable[int]
        if floor - session.dropped <= 2 * len(replies):
            gone = range(session.dropped, floor)
        else:  # a client may raise its floor by 2**60 at once
            gone = [seq for seq in replies if seq < floor]
        freed = sum(reply_sizes(list(filter(None, map(replies.pop, gone, repeat(None))))))
        session.dropped = floor
        session.reply_bytes -= freed
        self.reply_bytes -= freed

    def take_changed(self) -> list[tuple[int, Frozen | None]]:
        """The sessions that changed since the last call, as they are now; None: there no longer."""
        changed, self.changed = self.changed, set()
        living = self.living
        return [(id, freeze(living[id]) if id in living else None) for id in changed]

    def records(self) -> Iterator[bytes]:
        """The table as records for a snapshot or a digest: canonical, whatever way led to it."""
        for id in sorted(self.living):
            yield from session_records(id, freeze(self.living[id]))

    def load(self, records: Iterable[bytes]) -> None:
        """Fill an empty table with what `records` gave. Raises `ValueError` if they are not such."""
        assert not self.living, "load is for an empty table"
        session: Session | None = None
        for data in records:
            record = _decoder.decode(data)
            if isinstance(record, _SessionRecord):
                if record.id in self.living:
                    raise ValueError(f"session {record.id} is in the snapshot twice")
                session = Session(record.id, record.ttl, record.deadline, record.floor)
                self.living[session.id] = session
            elif session is None:
                raise ValueError("the snapshot has replies without a session")
            else:
                for seq, rejected, body in record.replies:
                    reply = Rejected(body.decode("utf-8", "surrogatepass")) if rejected else body
                    session.replies[seq] = reply
                    session.reply_bytes += reply_size(reply)
                    self.reply_bytes += reply_size(reply)
        self._order = [(living.deadline, living.id) for living in self.living.values()]
        heapify(self._order)


class Frozen(NamedTuple):
    """A session as it was at some index."""

    ttl: Nanos
    deadline: Nanos
    floor: int
    replies: dict[int, bytes | Rejected | None]


def freeze(session: Session) -> Frozen:
    """The session as it is now."""
    return Frozen(session.ttl, session.deadline, session.floor, session.replies.copy())


def session_records(id: int, session: Frozen) -> Iterator[bytes]:
    """The session as records: one for itself, then its replies in groups."""
    yield _encoder.encode(_SessionRecord(id, session.ttl, session.deadline, session.floor))
    group: list[tuple[int, bool, bytes]] = []
    size = 0
    for seq in sorted(session.replies):
        reply = session.replies[seq]
        assert reply is not None, "a session was recorded while an entry was being applied"
        if isinstance(reply, Rejected):
            group.append((seq, True, reply.reason.encode("utf-8", "surrogatepass")))
        else:
            group.append((seq, False, reply))
        size += reply_size(reply)
        if size >= _GROUP_BYTES:
            yield _encoder.encode(_ReplyRecord(group))
            group, size = [], 0
    if group:
        yield _encoder.encode(_ReplyRecord(group))


def group_records(records: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Records of sessions, gathered by session: (id, its records). Raises `ValueError` if they are no such."""
    id = 0
    group: list[bytes] = []
    for data in records:
        record = _decoder.decode(data)
        if isinstance(record, _SessionRecord):
            if group:
                yield id, group
            id, group = record.id, []
        elif not group:
            raise ValueError("the snapshot has replies without a session")
        group.append(data)
    if group:
        yield id, group


def reply_size(reply: bytes | Rejected) -> int:
    """Bytes that a kept reply counts for."""
    return len(reply.reason) if isinstance(reply, Rejected) else len(reply)


_len: Callable[[Any], int] = len
"""Tells by a `TypeError` what has no length."""


def reply_sizes(replies: Sequence[bytes | Rejected]) -> list[int]:
    """`reply_size` of each."""
    try:
        # Nearly always all are bytes, and a look at each would cost more than the rest: `map` finds out.
        return list(map(_len, replies))
    except TypeError:
        return [reply_size(reply) for reply in replies]


_GROUP_BYTES = 256 * 1024


class _SessionRecord(msgspec.Struct, frozen=True, array_like=True, tag=1):
    id: int
    ttl: Nanos
    deadline: Nanos
    floor: int


class _ReplyRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Replies of the session before it: (seq, rejected, the reply or the reason for rejecting)."""

    replies: list[tuple[int, bool, bytes]]


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_SessionRecord | _ReplyRecord] = msgspec.msgpack.Decoder(
    _SessionRecord | _ReplyRecord
)
