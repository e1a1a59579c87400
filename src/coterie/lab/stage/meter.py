"""What an experiment measures of the members: messages, bytes, who led when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from coterie.core.messages import Message, encode
from coterie.core.replica import Replica
from coterie.core.types import Epoch, Index, MemberId, Nanos, Role
from coterie.sim.witness import Witness


class Reign(msgspec.Struct):
    """A member led from `start` until `end` (None: it still does)."""

    member: MemberId
    epoch: Epoch
    last: Index
    """The end of its log when it began: once that is committed, it can serve."""
    start: Nanos
    end: Nanos | None = None


class Traffic:
    """What members sent each other."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        """How often each kind of message was sent."""
        self.bytes: Counter[str] = Counter()
        """Bytes of each kind, encoded, without what a transport adds."""
        self.arrived_at: Counter[tuple[MemberId, MemberId]] = Counter()
        """How many messages of the first member came to the second."""

    def count(self, kind: str, size: int) -> None:
        """One more message of so many bytes."""
        self.messages[kind] += 1
        self.bytes[kind] += size

    def reset(self) -> None:
        """Count from here."""
        self.messages.clear()
        self.bytes.clear()
        self.arrived_at.clear()


class Meter(Traffic, Witness):
    """Counts what is sent, and keeps who led."""

    def __init__(self) -> None:
        super().__init__()
        self.reigns: list[Reign] = []
        self._leading: dict[MemberId, Reign] = {}
        self._under_way: dict[int, tuple[MemberId, MemberId]] = {}

    def sent(self, at: Nanos, number: int, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Witness`."""
        self.count(type(message).__name__, len(encode(message)))
        self._under_way[number] = source, to

    def arrived(self, at: Nanos, number: int) -> None:
        """See `Witness`."""
        if (pair := self._under_way.pop(number, None)) is not None:
            self._came(*pair)

    def _came(self, source: MemberId, to: MemberId) -> None:
        self.arrived_at[source, to] += 1

    def lost(self, at: Nanos, number: int) -> None:
        """See `Witness`."""
        self._under_way.pop(number, None)

    def stepped(self, at: Nanos, member: MemberId, replica: Replica) -> None:
        """See `Witness`."""
        reign = self._leading.get(member)
        leads = replica.role is Role.LEADER
        if reign is not None and (not leads or reign.epoch != replica.epoch):
            reign.end = at
            del self._leading[member]
            reign = None
        if leads and reign is None:
            self._leading[member] = Reign(member, replica.epoch, replica.last_index, at)
            self.reigns.append(self._leading[member])

    def ended(self, at: Nanos, member: MemberId) -> None:
        """See `Witness`."""
        if (reign := self._leading.pop(member, None)) is not None:
            reign.end = at

    def reign(self, member: MemberId) -> Reign | None:
        """The reign of who leads now."""
        return self._leading.get(member)

    def leaders_at(self, at: Nanos) -> Iterator[Reign]:
        """Who believed to lead at that time; more than one only while a deposed one does not know it."""
        return (r for r in self.reigns if r.start <= at and (r.end is None or r.end > at))
