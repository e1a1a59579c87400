"""A register on quorums: linearizable, no leader, no consensus.

Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems" (JACM 42(1), 1995), with many writers as
Lynch and Shvartsman have it (FTCS 1997): every operation asks a majority for its newest value first. A write then gives
a majority a newer one; a read gives a majority what it is about to answer, so that no later read finds less.

It gives up what needs consensus: compare-and-set, locks, anything that depends on what was there.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.lab.references.replica import PATIENCE_MS, Ports, Reference, Replica, Ticket

RESEND: Final[Nanos] = 250 * MILLISECOND
"""Members that have not answered by then are asked again: messages may be lost."""


class Tag(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Orders the values of a key. Two writes never share one, even if a member begins both from the same number, or
    began one before a crash that nobody heard of: else one value could replace the other under the same tag."""

    number: int
    member: MemberId
    operation: int


NO_TAG: Final = Tag(0, 0, 0)


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """A key's value at one member."""

    tag: Tag
    value: str | None


EMPTY: Final = Cell(NO_TAG, None)


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """'What do you have?'"""

    operation: int
    key: str
    value: bool
    """Not only its tag: a write need not know what was there."""


class Told(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers an `Ask`, with what is durable."""

    operation: int
    cell: Cell


class Keep(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """'Keep this, unless you have a newer one.'"""

    operation: int
    key: str
    cell: Cell


class Kept(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Answers a `Keep`: this or a newer one is durable."""

    operation: int


Message: TypeAlias = Ask | Told | Keep | Kept


class WriteBack(Enum):
    """Whether a read gives a majority what it answers."""

    ALWAYS = "always"
    UNLESS_AGREED = "unless-agreed"
    """Not if a majority has it already: the common case, in one round trip."""
    NEVER = "never"
    """Wrong: then the register is regular, not linearizable. To show what the second round trip is for."""


class _Operation(msgspec.Struct):
    """What this member does for a client."""

    ticket: Ticket
    key: str
    value: str | None
    """What is written; None of a read."""
    write: bool
    message: Message
    """What every member is asked at present."""
    told: dict[MemberId, Cell]
    kept: set[MemberId]
    found: Cell = EMPTY
    """What a read answers."""


class QuorumRegister(Replica):
    """Every member answers for its own copy, and does what its clients ask."""

    def __init__(self, ports: Ports, write_back: WriteBack = WriteBack.ALWAYS) -> None:
        self._ports = ports
        self._write_back = write_back
        self._quorum = len(ports.members) // 2 + 1
        self._operations: dict[int, _Operation] = {}
        self._next = ports.boot << 32
        self._newest: dict[str, Tag] = {key: cell.tag for key, cell in ports.durable.items()}
        """By key, of what was given to the disk."""

    # -- its own copy ----------------------------------------------------------------------------

    def receive(self, sender: MemberId, message: Any) -> None:
        """See `Replica`."""
        match message:
            case Ask(operation, key, value):
                cell = self._cell(key)
                self._ports.send(sender, Told(operation, cell if value else Cell(cell.tag, None)))
            case Keep(operation, key, cell):
                self._keep(key, cell, partial(self._ports.send, sender, Kept(operation)))
            case Told(operation, cell):
                self._told(sender, operation, cell)
            case Kept(operation):
                self._kept(sender, operation)

    def _cell(self, key: str) -> Cell:
        cell: Cell = self._ports.durable.get(key, EMPTY)
        return cell

    def _keep(self, key: str, cell: Cell, then: partial[None]) -> None:
        if self._cell(key).tag >= cell.tag:
            then()
            return
        newer = cell.tag > self._newest.get(key, NO_TAG)
        if newer:
            self._newest[key] = cell.tag
        # If a newer one is on its way to the disk, this is durable when that is.
        self._ports.store({key: cell} if newer else {}, then)

    # -- what clients ask ------------------------------------------------------------------------

    def write(self, ticket: Ticket, key: str, value: str) -> None:
        """See `Replica`."""
        self._begin(ticket, key, value, write=True)

    def read(self, ticket: Ticket, key: str, *, stale: bool) -> None:
        """See `Replica`. A stale read answers from this member's copy."""
        if stale:
            self._ports.answer(ticket, key, self._cell(key).value, read=True, age=-1)
        else:
            self._begin(ticket, key, None, write=False)

    def _begin(self, ticket: Ticket, key: str, value: str | None, *, write: bool) -> None:
        self._next += 1
        number = self._next
        self._operations[number] = _Operation(ticket, key, value, write, Ask(number, key, not write), {}, set())
        self._ask_all(number)
        self._told(self._ports.own, number, self._cell(key))
        self._ports.after(RESEND, lambda: self._ask_again(number))
        self._ports.after(PATIENCE_MS * MILLISECOND, lambda: self._give_up(number))

    def _ask_all(self, number: int) -> None:
        operation = self._operations[number]
        answered = operation.told if isinstance(operation.message, Ask) else operation.kept
        for member in self._ports.members:
            if member != self._ports.own and member not in answered:
                self._ports.send(member, operation.message)

    def _ask_again(self, number: int) -> None:
        if number in self._operations:
            self._ask_all(number)
            self._ports.after(RESEND, lambda: self._ask_again(number))

    def _give_up(self, number: int) -> None:
        operation = self._operations.pop(number, None)
        if operation is not None:
            begun = operation.write and isinstance(operation.message, Keep)
            self._ports.fail(operation.ticket, "no majority answered", happened=None if begun else False)

    def _told(self, sender: MemberId, number: int, cell: Cell) -> None:
        operation = self._operations.get(number)
        if operation is None or not isinstance(operation.message, Ask):
            return
        operation.told[sender] = cell
        if len(operation.told) < self._quorum:
            return
        newest = max(operation.told.values(), key=lambda each: each.tag)
        if operation.write:
            self._spread(number, Cell(Tag(newest.tag.number + 1, self._ports.own, number), operation.value))
            return
        operation.found = newest
        agreed = all(each.tag == newest.tag for each in operation.told.values())
        if self._write_back is WriteBack.NEVER or (agreed and self._write_back is WriteBack.UNLESS_AGREED):
            self._finish(number)
        else:
            self._spread(number, newest)

    def _spread(self, number: int, cell: Cell) -> None:
        """The second round trip."""
        operation = self._operations[number]
        operation.message = Keep(number, operation.key, cell)
        self._ask_all(number)
        self._keep(operation.key, cell, partial(self._kept, self._ports.own, number))

    def _kept(self, sender: MemberId, number: int) -> None:
        operation = self._operations.get(number)
        if operation is not None:
            operation.kept.add(sender)
            if len(operation.kept) >= self._quorum:
                self._finish(number)

    def _finish(self, number: int) -> None:
        operation = self._operations.pop(number)
        self._ports.answer(operation.ticket, operation.key, operation.found.value, read=not operation.write)


def quorum_register(write_back: WriteBack = WriteBack.ALWAYS) -> Reference:
    """The register by name."""
    return Reference(
        "abd",
        "quorum register (ABD)",
        lambda ports: QuorumRegister(ports, write_back),
        msgspec.msgpack.Decoder(Message),
    )
