"""What a member's log should hold, according to the records that it was given."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, Truncate
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Epoch, HardState, Index, Membership

_memberships: msgspec.msgpack.Decoder[Membership] = msgspec.msgpack.Decoder(Membership)
NO_MEMBERSHIP = Membership((), ())
"""Of an empty log: it does not say who belongs to the group."""


class Slot(NamedTuple):
    """An entry without its payload: equal slots are equal entries."""

    epoch: Epoch
    digest: bytes


def slot_of(entry: Entry) -> Slot:
    """The slot that an entry fills."""
    digest = blake2b(entry.payload, digest_size=8, key=b"%d %d" % (entry.kind, entry.elapsed)).digest()
    return Slot(entry.epoch, digest)


def _index_of(point: tuple[Index, Membership]) -> Index:
    return point[0]


def membership_of(entry: Entry) -> Membership | None:
    """The membership that an entry carries, if it carries one."""
    return _memberships.decode(entry.payload) if entry.kind is EntryKind.MEMBERSHIP else None


class ShadowLog:
    """A log as records describe it: no gap; a slot is overwritten only with a higher epoch (never in Raft, whose
    laws see to that), and all the others stay."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base: Index = 0
        self.base_epoch: Epoch = NO_EPOCH
        self.slots: list[Slot] = []
        self.memberships: list[tuple[Index, Membership]] = [(0, NO_MEMBERSHIP)]
        """The one in force at the base, and those of the entries after it, each with its index."""

    @property
    def last_index(self) -> Index:
        return self.base + len(self.slots)

    @property
    def membership(self) -> Membership:
        """The one in force: see `membership_before`."""
        return self.membership_before(self.last_index + 1)[1]

    def slot(self, index: Index) -> Slot | None:
        """The slot at `index`, or None if the log does not hold it."""
        position = index - self.base - 1
        return self.slots[position] if 0 <= position < len(self.slots) else None

    def epoch_at(self, index: Index) -> Epoch | None:
        """The epoch of the entry at `index`; the base's own for the base."""
        if index == self.base:
            return self.base_epoch
        found = self.slot(index)
        return found.epoch if found is not None else None

    def membership_before(self, index: Index) -> tuple[Index, Membership]:
        """The newest membership before the entry at `index`, and where it stands (4.1). What does not follow on what
        is before it is none: an older ballot left it there, which never chose what it was made from (Multi-Paxos)."""
        found = self.memberships[0]
        for position, membership in self.memberships[1:]:
            if position < index and (not found[1].members or membership.serial == found[1].serial + 1):
                found = position, membership
        return found

    def covers(self, index: Index, slot: Slot) -> bool:
        """Whether the log holds this entry, or begins after it: then what it did is in a durable state."""
        return index <= self.base or self.slot(index) == slot

    def copy(self) -> ShadowLog:
        """An independent copy."""
        other = ShadowLog()
        other.hard_state, other.base, other.base_epoch = self.hard_state, self.base, self.base_epoch
        other.slots, other.memberships = self.slots.copy(), self.memberships.copy()
        return other

    def same(self, other: ShadowLog) -> bool:
        """Whether both describe one log."""
        return (self.hard_state, self.base, self.base_epoch, self.slots) == (
            other.hard_state,
            other.base,
            other.base_epoch,
            other.slots,
        )

    def put(self, index: Index, slot: Slot, membership: Membership | None = None) -> None:
        """Put one slot at the end, or in the place of another. Raises `ValueError` where it does not follow the last
        one, is not in the log any more, or holds an epoch that is not lower."""
        held = self.slot(index)
        if held is not None and held.epoch < slot.epoch:
            self.slots[index - self.base - 1] = slot
            self.memberships = [each for each in self.memberships if each[0] != index]
        elif index == self.last_index + 1:
            self.slots.append(slot)
        else:
            what = (
                f"entry {index} of epoch {slot.epoch} replaces one of epoch {held.epoch}" if held else f"entry {index}"
            )
            raise ValueError(f"{what}: it does not follow {self.last_index}")
        if membership is not None:
            insort(self.memberships, (index, membership), key=_index_of)

    def apply(self, record: Record) -> None:
        """Follow one record."""
        for _ in self.steps(record):
            pass

    def steps(self, record: Record) -> Iterator[None]:
        """Follow one record, stopping after each part that a crash may leave as the last one."""
        match record:
            case Put(entries):
                for entry in entries:
                    self.put(entry.index, slot_of(entry), membership_of(entry))
                    yield
            case Truncate(first):
                del self.slots[max(0, first - self.base - 1) :]
                while len(self.memberships) > 1 and self.memberships[-1][0] >= first:
                    self.memberships.pop()
                yield
            case SaveHardState(state):
                self.hard_state = state
                yield
            case Compact(base):
                del self.slots[: base.index - self.base]
                self.base, self.base_epoch = base.index, base.epoch
                later = [(i, m) for i, m in self.memberships if i > base.index]
                self.memberships = [(base.index, base.membership), *later]
                yield
            case Reset(base):
                self.slots.clear()
                self.base, self.base_epoch = base.index, base.epoch
                self.memberships = [(base.index, base.membership)]
                yield
