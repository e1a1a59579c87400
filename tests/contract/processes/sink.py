"""A machine that keeps next to nothing: what a node's memory holds beside it is the node's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from coterie.machine.interface import Batch, Rejected, StateMachine


class Sink(StateMachine):
    """Counts commands and bytes, and keeps a hash over all of them, in order."""

    def __init__(self) -> None:
        self.commands = 0
        self.bytes = 0
        self.seen = bytes(32)

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        for command in batch.commands:
            self.commands += 1
            self.bytes += len(command)
            self.seen = hashlib.sha256(self.seen + command).digest()
        return [b""] * len(batch.commands)

    def query(self, question: bytes) -> bytes | Rejected:
        return b"%d %d %s" % (self.commands, self.bytes, self.seen.hex().encode())

    def snapshot(self) -> Iterator[bytes]:
        yield b"%d %d %s" % (self.commands, self.bytes, self.seen.hex().encode())

    def restore(self, chunks: Iterable[bytes]) -> None:
        commands, size, seen = b"".join(chunks).split()
        self.commands, self.bytes, self.seen = int(commands), int(size), bytes.fromhex(seen.decode())

    def digest(self) -> bytes:
        return self.seen
