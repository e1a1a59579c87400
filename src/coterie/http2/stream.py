"""One stream: what has come, what is still to go."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from coterie.http2.limits import STREAM_WINDOW_BYTES
from coterie.http2.messages import Assembly
from coterie.http2.requests import Head

HASTY: Final = 10_000_000
"""Nanoseconds: a call with a shorter timeout is opened for nothing."""


class Stream(msgspec.Struct, gc=False):
    """A call under way. RFC 9113's states (section 5.1): open, half-closed (remote) once `ended`; half-closed (local)
    is never kept, as a server that has answered wants to hear no more; closed streams are forgotten."""

    number: int
    head: Head
    opened: int
    """Nanoseconds: when."""
    window: int
    """Bytes that the client takes on this stream now; below 0 after it has lowered its initial window."""
    simple: bool = True
    """Whether no DATA has come that had to be looked at twice."""

    # What comes in.
    told: bool = False
    """Whether the application knows of the call."""
    first: bytes | None = None
    """The first message, while the application does not know of the call."""
    ended: bool = False
    """Whether the client has said everything."""
    data_bytes: int = 0
    """DATA so far, for `content-length`; not counted where none was said."""
    assembly: Assembly | None = None
    receivable: int = STREAM_WINDOW_BYTES
    """Bytes that the client may still send; looked after by `credit`, as all that follows."""
    granted: int = 0
    """Bytes of them that were set aside for the message under way, and have not come."""
    extra: int = 0
    """Bytes beyond the usual window that were granted for the message under way."""
    owed: int = 0
    """Bytes that the client may be told to send more."""
    held: int = 0
    """Bytes received and not read, and granted: this stream's part of what the connection holds."""
    unread: deque[tuple[int, int]] | None = None
    """For each message that the application has and has not read: its size, and how much window its reading frees."""
    progressed: int = 0
    """Nanoseconds: when bytes came, or could leave."""
    deadline: int | None = None

    # What goes out.
    answered: bool = False
    """Whether the fields before the first message are out."""
    pending: deque[bytes] | None = None
    """Messages with prefixes, which wait for window."""
    offset: int = 0
    """Bytes of the first of them that are out."""
    unsent: int = 0
    """Bytes that wait."""
    high: bool = False
    """Whether that was above the high water."""
    trailers: bytes | None = None
    """The block to send when nothing waits any more."""

    @property
    def hasty(self) -> bool:
        """Whether its timeout was too short for any answer."""
        return self.deadline is not None and self.deadline - self.opened < HASTY

    def out_of_time(self, now: int) -> bool:
        """Whether a client may give up because its own clock says that the deadline has come."""
        if self.deadline is None or self.hasty:
            return False
        return now >= self.deadline - (self.deadline - self.opened) // 8
