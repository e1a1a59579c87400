"""One replica, driven by hand: what it says and stores is looked at before anything is done about it."""

from __future__ import annotations

import random

import msgspec

from coterie.core.config import ReplicaConfig
from coterie.core.messages import Append, InstallSnapshot, Message
from coterie.core.raft.replica import Raft
from coterie.core.records import Recovered, SaveHardState
from coterie.core.replica import Effects
from coterie.core.settings import Settings
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Index,
    Member,
    MemberId,
    Membership,
    Repair,
    SnapshotMeta,
)

MEMBERS = tuple(Member(i, f"n{i}", f"n{i}:1", f"n{i}:2") for i in range(1, 5))
THREE = Membership(MEMBERS[:3], (1, 2, 3))
JOINT = Membership(MEMBERS, (1, 2, 4), outgoing=(1, 2, 3), learners=(3,))
EMPTY = SnapshotMeta(0, NO_EPOCH, Membership((), ()))
ONE, TWO, THREE_, FOUR = (Epoch(round_number, 0) for round_number in (1, 2, 3, 4))
DATA = b"abcdef"
BYTES = len(DATA)
KEEP_NONE = Settings(snapshot_keep_entries=0)


def first(membership: Membership = THREE) -> Entry:
    return Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))


def commands(start: Index, count: int, epoch: Epoch = ONE) -> tuple[Entry, ...]:
    return tuple(Entry(start + i, epoch, EntryKind.COMMANDS, 0, b"x") for i in range(count))


class OneMember:
    """Member 3 of three, or another, with what its disk held at the start."""

    def __init__(
        self,
        entries: tuple[Entry, ...] = (),
        *,
        base: SnapshotMeta = EMPTY,
        applied: Index = 0,
        epoch: Epoch = ONE,
        own: MemberId = 3,
        repair: Repair | None = None,
    ) -> None:
        self.now = 0
        self.on_disk = {entry.index: entry for entry in entries}
        runs: list[tuple[Index, Epoch]] = []
        for entry in entries:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        self.replica = Raft(
            own=own,
            config=ReplicaConfig(),
            recovered=Recovered(
                hard_state=HardState(epoch, repair=repair),
                base=base,
                last_index=entries[-1].index if entries else base.index,
                epochs=tuple(runs),
                memberships=tuple(e for e in entries if e.kind is EntryKind.MEMBERSHIP),
                settings=tuple(e for e in entries if e.kind is EntryKind.SETTINGS),
            ),
            reader=self,
            snapshots=self,
            applied=applied,
            rng=random.Random(1),
            now=0,
        )

    def entries(self, first: Index, last: Index, limit_bytes: int) -> list[Entry]:
        return [self.on_disk[index] for index in range(first, last + 1)]

    def chunk(self, index: Index, offset: int, limit_bytes: int) -> bytes:
        return DATA[offset : offset + limit_bytes]

    def drain(self) -> Effects:
        effects = self.replica.drain(self.now)
        if effects.store is not None:
            self.mark = effects.store.mark
        return effects

    def lead(self) -> None:
        """Until member 3 has won an election, by its own vote."""
        while self.replica.leader != 3:
            self.now = self.drain().deadline
            self.replica.wake(self.now)
            self.drain()
            self.stored()
        self.stored()

    def stored(self) -> Effects:
        self.replica.stored(self.now, self.mark)
        return self.drain()

    def receive(self, message: Message, sender: MemberId = 1) -> Effects:
        """What comes of a message, on a disk that keeps every chunk at once."""
        effects = self.hear(message, sender)
        for chunk in effects.chunks:
            self.replica.snapshot_kept(self.now, chunk.meta, chunk.offset + len(chunk.data))
            effects.send += self.drain().send
        return effects

    def hear(self, message: Message, sender: MemberId = 1) -> Effects:
        """The same, on one that is slow: nothing is kept yet, but a new epoch."""
        self.replica.receive(self.now, sender, message)
        effects = self.drain()
        if effects.store is not None and all(isinstance(record, SaveHardState) for record in effects.store.records):
            self.replica.stored(self.now, self.mark)
            effects.send += [(to, said) for mark, to, said in effects.send_after if mark <= self.mark]
            effects.send += self.drain().send
        return effects

    def append(
        self, entries: tuple[Entry, ...], prev: tuple[Index, Epoch], commit: Index, epoch: Epoch = ONE
    ) -> Effects:
        return self.receive(Append(epoch, *prev, entries, commit, 1, 0, -1))

    def offer(self, meta: SnapshotMeta, epoch: Epoch = ONE, sender: MemberId = 1, offset: int = 0) -> Effects:
        """A chunk with all bytes from `offset` on."""
        return self.receive(InstallSnapshot(epoch, meta, BYTES, offset, DATA[offset:], 1), sender)

    def install(self, meta: SnapshotMeta, epoch: Epoch = ONE, sender: MemberId = 1) -> Effects:
        """All of the snapshot comes, and is durable; the log's reset is on its way."""
        assert self.offer(meta, epoch, sender).chunks[0].data == DATA
        self.replica.snapshot_received(self.now, meta)
        return self.drain()


def snapshot(
    index: Index, epoch: Epoch = ONE, membership: Membership = THREE, settings: Settings = KEEP_NONE
) -> SnapshotMeta:
    return SnapshotMeta(index, epoch, membership, settings)


def reply(effects: Effects) -> Message:
    """The one message that may leave at once."""
    ((_, message),) = effects.send
    return message
