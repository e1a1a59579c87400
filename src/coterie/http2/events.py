"""What a connection tells the application."""

from __future__ import annotations

import msgspec

Metadata = tuple[tuple[bytes, bytes], ...]
"""Names in small letters, and values as they came (those of names that end in `-bin` are base64), in order."""


class Called(msgspec.Struct, gc=False):
    """A call began. Told once for a stream, before anything else of it."""

    stream: int
    path: str
    """`/package.Service/Method`, as it came: whether there is such a method is the application's to say."""
    metadata: Metadata
    """Every header field but the pseudo-header fields and `grpc-timeout`."""
    deadline: int | None
    """Nanoseconds on the connection's clock; by then the connection itself answers DEADLINE_EXCEEDED."""
    message: bytes | None
    """The first message, if it came whole in the same read."""
    ended: bool
    """Whether the client has said everything."""


class Received(msgspec.Struct, gc=False):
    """One more message of the client's."""

    stream: int
    message: bytes


class Ended(msgspec.Struct, gc=False):
    """The client has said everything; it still listens."""

    stream: int


class Cancelled(msgspec.Struct, gc=False):
    """Nobody waits for an answer any more: the client reset the stream, or its deadline passed, or what it sent was
    wrong, or the connection ended. The last event of a stream; what is sent on it from now on is dropped."""

    stream: int
    reason: str


class Drained(msgspec.Struct, gc=False):
    """What waited to be sent on the stream was above the high water, and is below the low water now."""

    stream: int


Event = Called | Received | Ended | Cancelled | Drained
