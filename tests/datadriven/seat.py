"""One member of a conversation."""

from __future__ import annotations

import msgspec
from tests.datadriven.disk import Disk

from coterie.core.messages import Message
from coterie.core.replica import Replica
from coterie.core.settings import Settings
from coterie.core.types import Entry, EntryKind, Membership, SnapshotMeta


class Seat:
    """One member as the conversation holds it: its process, if one runs, its disk and its clock."""

    def __init__(self, first: tuple[Entry, ...], base: SnapshotMeta) -> None:
        self.replica: Replica | None = None
        self.disk = Disk(first, base)
        self.asleep = False
        """Its process does not run: messages wait in its sockets, its timers wait too."""
        self.ahead = 0
        """How much this member's clock is ahead of the others', in nanoseconds."""
        self.drift = 0
        """By how many thousandths it runs faster than true time."""
        self.deadline = 0
        self.stored_mark = 0
        self.held: list[tuple[int, int, Message]] = []
        self.applied = base
        """What a snapshot of the machine would be of."""
        self.machine = b""
        """The commands that it has applied, with a space between them."""
        self.cluster_time = 0

    def apply(self, entry: Entry) -> None:
        assert entry.index == self.applied.index + 1, "committed entries are handed out once, in order"
        membership, settings = self.applied.membership, self.applied.settings
        if entry.kind is EntryKind.MEMBERSHIP:
            membership = msgspec.msgpack.decode(entry.payload, type=Membership)
        elif entry.kind is EntryKind.SETTINGS:
            settings = msgspec.msgpack.decode(entry.payload, type=Settings)
        elif entry.kind is EntryKind.COMMANDS:
            self.machine += (b" " if self.machine else b"") + entry.payload
        self.applied = SnapshotMeta(entry.index, entry.epoch, membership, settings)
        self.cluster_time += entry.elapsed

    def restore(self, snapshot: tuple[SnapshotMeta, bytes]) -> None:
        self.applied, self.machine = snapshot

    @property
    def due(self) -> int:
        """When, in true time, its clock shows the deadline."""
        return -((self.ahead - self.deadline) * 1000 // (1000 + self.drift))

    @property
    def running(self) -> Replica:
        assert self.replica is not None, "the member is down"
        return self.replica
