"""A primary with backups that acknowledges early: as soon as its own disk has the write.

The shape of asynchronous replication with automatic fail-over (Alsberg and Day, "A Principle for Resilient Sharing of
Distributed Resources", ICSE 1976, is its elder brother that waits for a backup; here `waits_for` says for how many).
The primary numbers the writes of its period and ships them to the backups, a little later; a backup that hears nothing
for a time-out takes over, the next in the ring first, with what it has.

It gives up acknowledged writes: those that the primary had not shipped when it failed. And in a partition two members
lead: nobody asks a majority.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.errors import ConfigurationError
from coterie.core.types import MemberId, Nanos
from coterie.lab.references.replica import PATIENCE_MS, Ports, Reference, Replica, Ticket

PERIOD: Final = "period"
"""The record that holds the newest period; those of keys begin with `KEY`."""
KEY: Final = "/"
LOST: Final[Nanos] = PATIENCE_MS * MILLISECOND
"""A request that was passed on and not answered by then: nobody knows."""


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How early it acknowledges, and how soon a primary is given up. Times in ns. Raises `ConfigurationError`."""

    waits_for: int = 0
    """Backups that must have a write before it is acknowledged; 0: early."""
    ships_every: Nanos = 10 * MILLISECOND
    """Writes that gathered for so long are shipped together."""
    beat: Nanos = 100 * MILLISECOND
    timeout: Nanos = 1000 * MILLISECOND
    """The next in the ring takes over after this silence, each after it half as much later."""

    def __post_init__(self) -> None:
        for name, low in (("waits_for", 0), ("ships_every", 1), ("beat", 1), ("timeout", 2 * self.beat)):
            if getattr(self, name) < low:
                raise ConfigurationError(f"{name} is {getattr(self, name)}: it must be at least {low}")


class Pass(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A backup passes its client's request to the primary; `value` None: a read."""

    operation: int
    key: str
    value: str | None


class Passed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers a `Pass`; not `done`: the receiver does not lead."""

    operation: int
    done: bool
    value: str | None


class Ship(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The writes from number `first` on of a period; or none: 'I lead'."""

    period: int
    first: int
    writes: tuple[tuple[str, str], ...]


class Shipped(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Every write of the period up to `number` is durable at a backup."""

    period: int
    number: int


class Lack(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A backup has a gap, or another period's data."""

    period: int


class Whole(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Answers a `Lack`: everything, up to write `number`."""

    period: int
    number: int
    cells: dict[str, str]


Message: TypeAlias = Pass | Passed | Ship | Shipped | Lack | Whole


class _Waiting(msgspec.Struct):
    number: int
    """Of the write in the period."""
    client: Ticket | tuple[MemberId, int]
    """Its own client, or the backup that passed it on and that one's number."""
    key: str
    copies: set[MemberId]
    """Where it is durable."""


class PrimaryBackup(Replica):
    """Period p is led by member p modulo their number. Who restarts leads nothing until it takes over anew."""

    def __init__(self, ports: Ports, habits: Habits) -> None:
        self._ports = ports
        self._habits = habits
        self._rank = ports.members.index(ports.own)
        self._cells: dict[str, str] = {name[1:]: value for name, value in ports.durable.items() if name.startswith(KEY)}
        first = ports.boot == 1
        # All begin in a period that the first of them leads, and with nothing.
        self._period: int = ports.durable.get(PERIOD, len(ports.members))
        self._number = 0
        """Of the period's last write that it has taken in."""
        self._leads = first and not self._rank
        self._whole = first
        """It has everything of this period up to `_number`."""
        self._unshipped: list[tuple[str, str]] = []
        self._waiting: list[_Waiting] = []
        self._passed: dict[int, tuple[Ticket, str, bool]] = {}
        self._next = ports.boot << 32
        self._heard: Nanos = ports.now()
        self._beaten: Nanos = 0
        if self._leads:
            ports.after(habits.ships_every, partial(self._ship, self._period))
        ports.after(habits.beat, self._look)

    @property
    def reign(self) -> int:
        """See `Replica`."""
        return self._period if self._leads else 0

    @property
    def _primary(self) -> MemberId:
        return self._ports.members[self._period % len(self._ports.members)]

    # -- who leads -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Now and then: is the primary still there?"""
        self._ports.after(self._habits.beat, self._look)
        if self._leads:
            self._tell(Ship(self._period, self._number + 1 - len(self._unshipped), ()))
            return
        count = len(self._ports.members)
        steps = (self._rank - self._period) % count or count
        silence = self._habits.timeout * (1 + steps) // 2
        if self._ports.now() - self._heard >= silence:
            self._take_over(self._period + steps)

    def _take_over(self, period: int) -> None:
        # Durable first, or it could lead the same period twice, with other writes.
        self._ports.store({PERIOD: period}, partial(self._lead, period))

    def _lead(self, period: int) -> None:
        if self._period >= period:
            return
        self._period, self._number, self._leads, self._whole = period, 0, True, True
        self._unshipped, self._waiting = [], []
        self._tell(Ship(period, 1, ()))
        self._ports.after(self._habits.ships_every, partial(self._ship, period))

    def _follow(self, period: int) -> None:
        """Somebody leads a newer period: what only this member has is given up, acknowledged or not."""
        if self._leads:
            for waiting in self._waiting:
                self._tell_client(waiting, happened=None)
        self._period, self._number, self._leads, self._whole = period, 0, False, False
        self._unshipped, self._waiting = [], []
        self._ports.store({PERIOD: period})

    def _tell(self, message: Message) -> None:
        for member in self._ports.members:
            if member != self._ports.own:
                self._ports.send(member, message)

    # -- what members say ------------------------------------------------------------------------

    def receive(self, sender: MemberId, message: Any) -> None:
        """See `Replica`."""
        match message:
            case Pass(operation, key, value):
                self._take_passed(sender, operation, key, value)
            case Passed():
                self._hear_passed(message)
            case Ship() | Whole():
                if message.period > self._period:
                    self._follow(message.period)
                if message.period == self._period and not self._leads:
                    self._heard = self._ports.now()
                    self._take_shipped(sender, message)
            case Shipped(period, number):
                self._hear_shipped(sender, period, number)
            case Lack(period):
                if self._leads and period == self._period:
                    # Its own cells hold what it has not shipped yet, too: that comes twice, and does no harm.
                    number = self._number - len(self._unshipped)
                    self._ports.send(sender, Whole(period, number, dict(self._cells)))

    def _take_shipped(self, sender: MemberId, message: Ship | Whole) -> None:
        done = partial(self._ports.send, sender, Shipped(self._period, 0))
        if isinstance(message, Whole):
            gone = {KEY + key: None for key in self._cells if key not in message.cells}
            self._cells, self._number, self._whole = dict(message.cells), message.number, True
            done = partial(self._ports.send, sender, Shipped(self._period, self._number))
            self._ports.store({KEY + key: value for key, value in message.cells.items()} | gone, done)
            return
        if not self._whole or message.first > self._number + 1:
            self._ports.send(sender, Lack(self._period))
            return
        new = message.writes[self._number + 1 - message.first :]
        if new:
            self._cells.update(new)
            self._number += len(new)
            done = partial(self._ports.send, sender, Shipped(self._period, self._number))
            self._ports.store({KEY + key: value for key, value in new}, done)

    # -- the primary -----------------------------------------------------------------------------

    def _lead_write(self, client: Ticket | tuple[MemberId, int], key: str, value: str) -> None:
        self._number += 1
        self._cells[key] = value
        self._unshipped.append((key, value))
        self._waiting.append(_Waiting(self._number, client, key, set()))
        done = partial(self._hear_shipped, self._ports.own, self._period, self._number)
        self._ports.store({KEY + key: value}, done)

    def _ship(self, period: int) -> None:
        if not self._leads or period != self._period:
            return
        if self._unshipped:
            first = self._number + 1 - len(self._unshipped)
            self._tell(Ship(period, first, tuple(self._unshipped)))
            self._unshipped = []
        self._ports.after(self._habits.ships_every, partial(self._ship, period))

    def _hear_shipped(self, member: MemberId, period: int, number: int) -> None:
        """All writes up to a number are durable there."""
        if not self._leads or period != self._period:
            return
        for waiting in self._waiting:
            if waiting.number <= number:
                waiting.copies.add(member)
        enough, own = 1 + self._habits.waits_for, self._ports.own
        done = [each for each in self._waiting if own in each.copies and len(each.copies) >= enough]
        self._waiting = [each for each in self._waiting if each not in done]
        for waiting in done:
            self._tell_client(waiting, happened=True)

    def _tell_client(self, waiting: _Waiting, *, happened: bool | None) -> None:
        if not isinstance(waiting.client, Ticket):
            member, operation = waiting.client
            if happened:
                self._ports.send(member, Passed(operation, True, None))
        elif happened:
            self._ports.answer(waiting.client, waiting.key, None, read=False)
        else:
            self._ports.fail(waiting.client, "another member leads now", happened=happened)

    # -- what clients ask ------------------------------------------------------------------------

    def write(self, ticket: Ticket, key: str, value: str) -> None:
        """See `Replica`."""
        if self._leads:
            self._lead_write(ticket, key, value)
        else:
            self._pass_on(ticket, key, value)

    def read(self, ticket: Ticket, key: str, *, stale: bool) -> None:
        """See `Replica`. The primary's answer is the newest, as far as it knows; a stale one is this member's own."""
        if self._leads or stale:
            self._ports.answer(ticket, key, self._cells.get(key), read=True, age=0 if self._leads else -1)
        else:
            self._pass_on(ticket, key, None)

    def _pass_on(self, ticket: Ticket, key: str, value: str | None) -> None:
        if self._primary == self._ports.own:
            self._ports.fail(ticket, "nobody leads", happened=False)
            return
        self._next += 1
        number = self._next
        self._passed[number] = ticket, key, value is None
        self._ports.send(self._primary, Pass(number, key, value))
        self._ports.after(LOST, lambda: self._give_up(number))

    def _give_up(self, number: int) -> None:
        found = self._passed.pop(number, None)
        if found is not None:
            self._ports.fail(found[0], "the primary did not answer", happened=False if found[2] else None)

    def _take_passed(self, sender: MemberId, operation: int, key: str, value: str | None) -> None:
        if not self._leads:
            self._ports.send(sender, Passed(operation, False, None))
        elif value is None:
            self._ports.send(sender, Passed(operation, True, self._cells.get(key)))
        else:
            self._lead_write((sender, operation), key, value)

    def _hear_passed(self, message: Passed) -> None:
        found = self._passed.pop(message.operation, None)
        if found is None:
            return
        ticket, key, read = found
        if message.done:
            self._ports.answer(ticket, key, message.value, read=read)
        else:
            self._ports.fail(ticket, "the member that was asked does not lead", happened=False)


def primary_backup(habits: Habits | None = None) -> Reference:
    """The store by name."""
    chosen = habits if habits is not None else Habits()
    early = f"waits for {chosen.waits_for} backups" if chosen.waits_for else "acknowledges early"
    return Reference(
        "primary-backup",
        f"primary-backup ({early})",
        lambda ports: PrimaryBackup(ports, chosen),
        msgspec.msgpack.Decoder(Message),
        led=True,
    )
