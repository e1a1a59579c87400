"""A key-value store on N, R and W, of which the last writer wins.

DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store" (SOSP 2007), 4.5 and 4.6, with timestamps instead
of vector clocks, as Cassandra has it: each write carries its coordinator's wall clock, and the highest wins. Sloppy
quorums take the first members that answer, whoever they are; those beside a key's home hand over what they keep later.

It gives up linearizability even with R + W > N: a write whose coordinator's clock is slow is acknowledged and lost, a
read beside an unfinished write may find it and the next one not, and sloppy quorums need not meet.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.lab.references.replica import PATIENCE_MS, Ports, Reference, Replica, Ticket

SUBSTITUTE_AFTER: Final[Nanos] = 100 * MILLISECOND
"""A home that has not answered by then is stood in for, if quorums are sloppy."""
HANDOFF_INTERVAL: Final[Nanos] = 500 * MILLISECOND
"""How often a stand-in offers what it keeps to whom it belongs."""


class Version(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The higher wins."""

    wall: int
    """Microseconds of the coordinator's wall clock."""
    member: MemberId
    operation: int


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """A key's value at one member."""

    version: Version
    value: str | None


EMPTY: Final = Cell(Version(0, 0, 0), None)


class Place(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """'Keep this, unless you have a higher version.'"""

    operation: int
    """0: nobody counts the answer."""
    key: str
    cell: Cell
    home: MemberId = NOBODY
    """Whom the receiver stands in for, if it does."""


class Placed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers a `Place`: it is durable."""

    operation: int
    key: str
    version: Version


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """'What do you have?'"""

    operation: int
    key: str


class Fetched(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Answers a `Fetch`."""

    operation: int
    cell: Cell


Message: TypeAlias = Place | Placed | Fetch | Fetched


class Replication(msgspec.Struct, frozen=True, kw_only=True):
    """N, R and W. Raises `ConfigurationError`."""

    n: int = 3
    """Members that are a key's home; fewer where there are fewer."""
    r: int = 2
    w: int = 2
    sloppy: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigurationError(f"n is {self.n}: it must be at least 1")
        for name, value in (("r", self.r), ("w", self.w)):
            if not 1 <= value <= self.n:
                raise ConfigurationError(f"{name} is {value}: it must be 1 to n, which is {self.n}")

    def __str__(self) -> str:
        return f"N={self.n} R={self.r} W={self.w}{' sloppy' if self.sloppy else ''}"


class _Operation(msgspec.Struct):
    ticket: Ticket
    key: str
    cell: Cell | None
    """What is written; None of a read."""
    placed: set[MemberId]
    fetched: dict[MemberId, Cell]
    answered: bool = False


class Dynamo(Replica):
    """Any member coordinates for its clients."""

    def __init__(self, ports: Ports, replication: Replication) -> None:
        self._ports = ports
        self._replication = replication
        self._copies = min(replication.n, len(ports.members))
        if max(replication.r, replication.w) > self._copies:
            raise ConfigurationError(f"{replication} needs more members than the {len(ports.members)} that there are")
        self._operations: dict[int, _Operation] = {}
        self._next = ports.boot << 32
        self._newest: dict[str, Version] = {name: cell.version for name, cell in ports.durable.items()}
        if replication.sloppy:
            ports.after(HANDOFF_INTERVAL, self._hand_off)

    def _ring(self, key: str) -> list[MemberId]:
        """All members in the key's order; the first N are its home."""
        members = self._ports.members
        start = crc32(key.encode()) % len(members)
        return [*members[start:], *members[:start]]

    def _home(self, key: str) -> list[MemberId]:
        return self._ring(key)[: self._copies]

    # -- its own copy ----------------------------------------------------------------------------

    def receive(self, sender: MemberId, message: Any) -> None:
        """See `Replica`."""
        match message:
            case Place():
                self._place(message, partial(self._ports.send, sender, _placed(message)))
            case Placed():
                self._hear_placed(sender, message)
            case Fetch(operation, key):
                self._ports.send(sender, Fetched(operation, self._cell(key)))
            case Fetched(operation, cell):
                self._hear_fetched(sender, operation, cell)

    def _cell(self, key: str) -> Cell:
        """The highest version that it has, for itself or for another."""
        homes = (NOBODY, *self._ports.members)
        held: list[Cell] = [self._ports.durable.get(_name(key, home), EMPTY) for home in homes]
        return max(held, key=lambda cell: cell.version)

    def _place(self, place: Place, then: partial[None]) -> None:
        name = _name(place.key, place.home)
        newer = place.cell.version > self._newest.get(name, EMPTY.version)
        if newer:
            self._newest[name] = place.cell.version
        self._ports.store({name: place.cell} if newer else {}, then)

    # -- writes ----------------------------------------------------------------------------------

    def write(self, ticket: Ticket, key: str, value: str) -> None:
        """See `Replica`."""
        number = self._take_number()
        cell = Cell(Version(self._ports.wall(), self._ports.own, number), value)
        self._operations[number] = _Operation(ticket, key, cell, set(), {})
        for member in self._home(key):
            self._give(member, Place(number, key, cell))
        self._set_timers(number)

    def _give(self, member: MemberId, place: Place) -> None:
        if member == self._ports.own:
            self._place(place, partial(self._hear_placed, member, _placed(place)))
        else:
            self._ports.send(member, place)

    def _hear_placed(self, sender: MemberId, placed: Placed) -> None:
        if not placed.operation:
            self._handed_over(sender, placed)
            return
        operation = self._operations.get(placed.operation)
        if operation is None:
            return
        operation.placed.add(sender)
        if len(operation.placed) >= self._replication.w and not operation.answered:
            operation.answered = True
            self._ports.answer(operation.ticket, operation.key, None, read=False)
        if len(operation.placed) >= self._copies:
            del self._operations[placed.operation]

    # -- reads -----------------------------------------------------------------------------------

    def read(self, ticket: Ticket, key: str, *, stale: bool) -> None:
        """See `Replica`. A stale read answers from this member's copy."""
        if stale:
            self._ports.answer(ticket, key, self._cell(key).value, read=True, age=-1)
            return
        number = self._take_number()
        self._operations[number] = _Operation(ticket, key, None, set(), {})
        for member in self._home(key):
            self._fetch(member, number, key)
        self._set_timers(number)

    def _fetch(self, member: MemberId, number: int, key: str) -> None:
        if member == self._ports.own:
            self._hear_fetched(member, number, self._cell(key))
        else:
            self._ports.send(member, Fetch(number, key))

    def _hear_fetched(self, sender: MemberId, number: int, cell: Cell) -> None:
        operation = self._operations.get(number)
        if operation is None:
            return
        operation.fetched[sender] = cell
        if len(operation.fetched) >= self._replication.r and not operation.answered:
            operation.answered = True
            found = max(operation.fetched.values(), key=lambda each: each.version)
            self._ports.answer(operation.ticket, operation.key, found.value, read=True)
        if len(operation.fetched) >= self._copies:
            self._repair(self._operations.pop(number))

    def _repair(self, operation: _Operation) -> None:
        """Read repair (Dynamo, 5): who answered with less is given the highest."""
        newest = max(operation.fetched.values(), key=lambda each: each.version)
        home = self._home(operation.key)
        for member, cell in operation.fetched.items():
            if cell.version < newest.version and member in home:
                self._give(member, Place(0, operation.key, newest))

    # -- who does not answer ---------------------------------------------------------------------

    def _take_number(self) -> int:
        self._next += 1
        return self._next

    def _set_timers(self, number: int) -> None:
        if self._replication.sloppy:
            self._ports.after(SUBSTITUTE_AFTER, lambda: self._stand_in(number))
        self._ports.after(PATIENCE_MS * MILLISECOND, lambda: self._give_up(number))

    def _stand_in(self, number: int) -> None:
        """Sloppy quorums (4.6): members beside the home take the places of those that do not answer."""
        operation = self._operations.get(number)
        if operation is None:
            return
        key, home = operation.key, self._home(operation.key)
        heard = operation.placed if operation.cell is not None else set(operation.fetched)
        absent = [member for member in home if member not in heard]
        others = [member for member in self._ring(key) if member not in home and member not in heard]
        for member, stand_in in zip(absent, others, strict=False):
            if operation.cell is not None:
                self._give(stand_in, Place(number, key, operation.cell, member))
            else:
                self._fetch(stand_in, number, key)

    def _give_up(self, number: int) -> None:
        operation = self._operations.pop(number, None)
        if operation is not None and not operation.answered:
            wanted = self._replication.w if operation.cell is not None else self._replication.r
            unknown = None if operation.cell is not None else False
            self._ports.fail(operation.ticket, f"fewer than {wanted} members answered", happened=unknown)
        elif operation is not None and operation.fetched:
            self._repair(operation)

    def _hand_off(self) -> None:
        """Hinted handoff (4.6)."""
        for name, cell in list(self._ports.durable.items()):
            key, home = _parse(name)
            if home != NOBODY:
                self._ports.send(home, Place(0, key, cell))
        self._ports.after(HANDOFF_INTERVAL, self._hand_off)

    def _handed_over(self, home: MemberId, placed: Placed) -> None:
        name = _name(placed.key, home)
        cell: Cell = self._ports.durable.get(name, EMPTY)
        if EMPTY.version < cell.version <= placed.version:
            self._ports.store({name: None})


def _placed(place: Place) -> Placed:
    return Placed(place.operation, place.key, place.cell.version)


def _name(key: str, home: MemberId) -> str:
    return f"{home}/{key}"


def _parse(name: str) -> tuple[str, MemberId]:
    home, _, key = name.partition("/")
    return key, int(home)


def dynamo(replication: Replication | None = None) -> Reference:
    """The store by name."""
    chosen = replication if replication is not None else Replication()
    title = f"N/R/W, last writer wins ({chosen})"
    return Reference("dynamo", title, lambda ports: Dynamo(ports, chosen), msgspec.msgpack.Decoder(Message))
