"""The lab's time: what is to happen when, and what has happened."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from coterie.core.config import MILLISECOND
from coterie.core.types import Nanos
from coterie.lab.recording import Event, Kind


class Clockwork:
    """An agenda and a journal. Time passes only from one thing on the agenda to the next."""

    def __init__(self) -> None:
        self.now: Nanos = 0
        self.events: list[Event] = []
        self._agenda: list[tuple[Nanos, int, Callable[[], None]]] = []
        self._order = count()
        self._began: Nanos | None = None
        self._messages = count(1)

    def record(self) -> None:
        """What happens from now on is written down; the present is time 0. Nothing is under way."""
        self._began = self.now
        self._messages = count(1)

    def number(self) -> int:
        """A message's."""
        return next(self._messages)

    def later(self, delay: Nanos, act: Callable[[], None]) -> None:
        """Put something on the agenda. What is due at the same time happens in the order in which it was put there."""
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), act))

    @property
    def next_due(self) -> Nanos | None:
        """When the next thing on the agenda is due; None if there is none."""
        return self._agenda[0][0] if self._agenda else None

    def do_next(self) -> None:
        """Go to the next thing on the agenda, and do it."""
        self.now, _, act = heapq.heappop(self._agenda)
        act()

    def ms(self, time: Nanos | None = None) -> float:
        """A time as the journal has it; the present, if none is given."""
        return round(((self.now if time is None else time) - (self._began or 0)) / MILLISECOND, 1)

    def write(self, event: Event) -> None:
        """Keep the event, if what happens is written down."""
        if self._began is not None:
            self.events.append(event)

    def note(self, kind: Kind, who: str, text: str, to: str = "") -> None:
        """Keep what happened to a member just now."""
        self.write(Event(at_ms=self.ms(), kind=kind, source=who, to=to, text=text))
