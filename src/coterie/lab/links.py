"""The links between the lab's members: each has its delay, and may be cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.lab.clockwork import Clockwork
from coterie.lab.recording import CLIENT, Event, Kind

DELAY_TENTHS = (80, 160)
"""Range of a link's delay one way, in tenths of a millisecond. It stays, and is the same in both directions."""
CLIENT_DELAY: Nanos = 5 * MILLISECOND


class Links:
    """Carries messages, and writes down when each left and what became of it."""

    def __init__(self, clockwork: Clockwork, members: Sequence[str], rng: random.Random) -> None:
        self._clockwork = clockwork
        self._cut: set[frozenset[str]] = set()
        self._unlucky: set[tuple[str, str]] = set()
        self._delays = {
            frozenset(pair): rng.randrange(*DELAY_TENTHS) * MILLISECOND // 10 for pair in combinations(members, 2)
        }
        self.flying = 0
        """Messages under way."""

    def cut(self, one: str, other: str) -> None:
        """Nothing passes any more, in either direction; what is under way is lost."""
        self._cut.add(frozenset((one, other)))
        self._clockwork.note(Kind.CUT, one, "the link is cut", other)

    def heal(self, one: str, other: str) -> None:
        """Everything passes again."""
        self._cut.discard(frozenset((one, other)))
        self._clockwork.note(Kind.HEAL, one, "the link is back", other)

    def lose_next(self, source: str, to: str) -> None:
        """The next message from one to the other is lost."""
        self._unlucky.add((source, to))

    def passes(self, one: str, other: str) -> bool:
        """Whether messages pass at present."""
        return frozenset((one, other)) not in self._cut

    def delay(self, one: str, other: str) -> Nanos:
        """How long a message takes."""
        return CLIENT_DELAY if CLIENT in (one, other) else self._delays[frozenset((one, other))]

    def send(self, event: Event, arrive: Callable[[], bool]) -> None:
        """Put the message that `event` describes on its way. `arrive` hands it over; False says that nobody is there.

        One that is lost on the way gets half way."""
        clockwork, source, to = self._clockwork, event.source, event.to
        sent = msgspec.structs.replace(event, at_ms=clockwork.ms(), kind=Kind.SENT, message=clockwork.number())
        clockwork.write(sent)
        self.flying += 1
        delay = self.delay(source, to)
        unlucky = (source, to) in self._unlucky
        self._unlucky.discard((source, to))

        def come() -> None:
            self.flying -= 1
            came = msgspec.structs.replace(sent, at_ms=clockwork.ms(), kind=Kind.RECEIVED, mark=0)
            # Written down before it has consequences, which take no time.
            place = len(clockwork.events)
            clockwork.write(came)
            if (unlucky or not (self.passes(source, to) and arrive())) and len(clockwork.events) > place:
                clockwork.events[place] = msgspec.structs.replace(came, kind=Kind.LOST)

        clockwork.later(delay // 2 if unlucky or not self.passes(source, to) else delay, come)
