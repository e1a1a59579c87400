"""A box office, replicated: a state machine with a bug. Find it.

Seats are booked, every booking has a number of its own, and a booking can be cancelled. The program looks right, and
every test that one would write by hand passes. Run it in the simulated world, from the directory that holds
`examples/`:

    python -m examples.box_office

A cluster of members crashes, loses messages, takes snapshots and restores them; what clients are told is held against
the same machine run alone. The message says which law was broken, shows the fewest commands that break it, and draws
them. The mended machine is in `examples/box_office_mended.py`; look there last. `tests/examples/test_box_office.py`
is what a test of your own machine would look like.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from coterie import Batch, Rejected, StateMachine
from coterie.sim import Operation, Query, SimulationFailed, simulate

SEATS = 60
MAX_SEATS = 6
"""In one booking."""
MAX_NAME_CHARACTERS = 64
BOOKINGS_PER_CHUNK = 1000


class Book(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="book"):
    """Book seats; the reply is the booking's number."""

    name: str
    seats: int


class Cancel(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="cancel"):
    """Give the seats of a booking back; the reply is how many."""

    number: int


class Free(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="free"):
    """How many seats are free? The only question."""


Command: TypeAlias = Book | Cancel


class Booking(msgspec.Struct, frozen=True, array_like=True):
    """Who has how many seats."""

    number: int
    name: str
    seats: int


class BoxOffice(StateMachine):
    """The state: the bookings that stand, by number, and the number of the next one."""

    def __init__(self) -> None:
        self.bookings: dict[int, Booking] = {}
        self.next_number = 1

    def free(self) -> int:
        """Seats that nobody has."""
        return SEATS - sum(booking.seats for booking in self.bookings.values())

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply the commands in order; one reply for each."""
        return [self._apply_one(command) for command in batch.commands]

    def _apply_one(self, data: bytes) -> bytes | Rejected:
        try:
            command = _command_decoder.decode(data)
        except ValueError as error:
            return Rejected(f"not a command of the box office: {error}")
        if isinstance(command, Cancel):
            return self._cancel(command.number)
        return self._book(command.name, command.seats)

    def _book(self, name: str, seats: int) -> bytes | Rejected:
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            return Rejected(f"a name has 1 to {MAX_NAME_CHARACTERS} characters")
        if not 1 <= seats <= MAX_SEATS:
            return Rejected(f"a booking is for 1 to {MAX_SEATS} seats")
        if seats > self.free():
            return Rejected(f"{self.free()} seats are free, not {seats}")
        number = self.next_number
        self.bookings[number] = Booking(number, name, seats)
        self.next_number += 1
        return _encoder.encode(number)

    def _cancel(self, number: int) -> bytes | Rejected:
        booking = self.bookings.pop(number, None)
        if booking is None:
            return Rejected(f"there is no booking {number}")
        return _encoder.encode(booking.seats)

    def query(self, question: bytes) -> bytes | Rejected:
        """Answer `Free`."""
        try:
            _question_decoder.decode(question)
        except ValueError as error:
            return Rejected(f"not a question to the box office: {error}")
        return _encoder.encode(self.free())

    def snapshot(self) -> Iterator[bytes]:
        """The bookings, in the order of their numbers."""
        bookings = [self.bookings[number] for number in sorted(self.bookings)]
        for start in range(0, len(bookings), BOOKINGS_PER_CHUNK):
            yield _encoder.encode(bookings[start : start + BOOKINGS_PER_CHUNK])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Become what a snapshot was taken of."""
        self.bookings = {booking.number: booking for chunk in chunks for booking in _bookings_decoder.decode(chunk)}
        self.next_number = max(self.bookings, default=0) + 1

    def digest(self) -> bytes:
        """Of all that a snapshot holds."""
        state = hashlib.sha256()
        for chunk in self.snapshot():
            state.update(chunk)
        return state.digest()


_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_question_decoder: msgspec.msgpack.Decoder[Free] = msgspec.msgpack.Decoder(Free)
_bookings_decoder: msgspec.msgpack.Decoder[list[Booking]] = msgspec.msgpack.Decoder(list[Booking])
_number_decoder: msgspec.msgpack.Decoder[int] = msgspec.msgpack.Decoder(int)


# For clients: commands and questions to bytes.


def book(name: str, seats: int) -> bytes:
    """A command: book seats."""
    return _encoder.encode(Book(name, seats))


def cancel(number: int) -> bytes:
    """A command: cancel a booking."""
    return _encoder.encode(Cancel(number))


def free() -> bytes:
    """A question: seats that nobody has."""
    return _encoder.encode(Free())


# For the simulated world: what clients send, and what must hold.


def evening(rng: random.Random) -> bytes | Query:
    """One operation of a client at the box office."""
    draw = rng.randrange(10)
    if draw < 5:
        return book(rng.choice(("ann", "bob", "cyd")), rng.randrange(1, MAX_SEATS + 2))
    if draw < 8:
        return cancel(rng.randrange(1, 30))
    return Query(free())


def no_seat_is_sold_twice(office: BoxOffice) -> None:
    """An invariant: it is looked at after every command."""
    assert office.free() >= 0, f"{-office.free()} seats are sold twice"


def no_number_is_given_twice(history: Sequence[Operation]) -> None:
    """A check of what clients were told: it is made when a run is over."""
    numbers = [
        _number_decoder.decode(each.reply)
        for each in history
        if each.outcome == "ok" and isinstance(each.reply, bytes) and each.write and isinstance(read(each.body), Book)
    ]
    assert len(numbers) == len(set(numbers)), "two bookings have one number"


def read(command: bytes) -> Command | Free:
    """A command or a question in words, for messages."""
    return _any_decoder.decode(command)


_any_decoder: msgspec.msgpack.Decoder[Command | Free] = msgspec.msgpack.Decoder(Command | Free)


def main() -> None:
    try:
        report = simulate(
            BoxOffice,
            evening,
            seeds=range(20),
            invariant=no_seat_is_sold_twice,
            check=no_number_is_given_twice,
            describe=read,
        )
    except SimulationFailed as failed:
        print(failed)
    else:
        print(report)


if __name__ == "__main__":
    main()
