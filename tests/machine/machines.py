"""Small machines and log entries for the tests of the host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from coterie.core.messages import AnyCommand, Command, Segment, encode_segments
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.machine.interface import Batch, Rejected, StateMachine

SECOND = 1_000_000_000
A, B = 11, 22
"""Two members."""


class Recorder(StateMachine):
    """Remembers every command that it ran; replies with its running number; rejects b"no"."""

    def __init__(self) -> None:
        self.ran: list[bytes] = []
        self.batches: list[Batch] = []

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        self.batches.append(batch)
        replies: list[bytes | Rejected] = []
        for command in batch.commands:
            if command == b"no":
                replies.append(Rejected("no"))
            else:
                self.ran.append(command)
                replies.append(b"%d:%s" % (len(self.ran), command))
        return replies

    def query(self, question: bytes) -> bytes | Rejected:
        if question == b"raise":
            raise KeyError("question")
        return b"%d" % len(self.ran)

    def snapshot(self) -> Iterator[bytes]:
        yield from self.ran

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.ran = list(chunks)

    def digest(self) -> bytes:
        return hashlib.sha256(repr(self.ran).encode()).digest()


class Scripted(Recorder):
    """Gives the replies that it is told to."""

    def __init__(self, replies: Sequence[bytes]) -> None:
        super().__init__()
        self.replies = replies

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        return self.replies


class Broken(Recorder):
    """Breaks the contract in the way it is told to."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        if self.way == "raises":
            raise ZeroDivisionError("boom")
        if self.way == "too few":
            return []
        return [bytearray(b"x") for _ in batch.commands]  # type: ignore[misc]  # the wrong type is the point


def entry(index: int, *segments: Segment, elapsed: int = 0) -> Entry:
    """A COMMANDS entry with these segments."""
    return Entry(index, Epoch(1, 0), EntryKind.COMMANDS, elapsed, encode_segments(list(segments)))


def noop(index: int, elapsed: int = 0) -> Entry:
    return Entry(index, Epoch(1, 0), EntryKind.NOOP, elapsed, b"")


def segment(first: int, *commands: AnyCommand, origin: int = A, boot: int = 1) -> Segment:
    return Segment(origin, boot, first, commands)


def plain(body: bytes) -> Command:
    """A command without a session."""
    return Command(0, 0, 0, body)
