"""One heap of events, and the hash of all that happened."""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TypeAlias

from coterie.core.types import Nanos

Action: TypeAlias = Callable[[], None]

_pack = struct.Struct("<QQ").pack


class Schedule:
    """Simulated time: it stands still while an event runs and jumps to the next one.

    Events of the same instant run in the order in which they were made, so a run does not depend on
    anything but its seed.
    """

    def __init__(self) -> None:
        self.now: Nanos = 0
        """True time since the world began; nodes see it through their own clocks."""
        self.events = 0
        self._heap: list[tuple[Nanos, int, str, Action]] = []
        self._made = 0
        self._hash = blake2b(digest_size=16)

    def at(self, when: Nanos, label: str, action: Action) -> None:
        """Run `action` at `when`, or now if that is past. `label` goes into the trace."""
        self._made += 1
        heappush(self._heap, (max(when, self.now), self._made, label, action))

    def after(self, delay: Nanos, label: str, action: Action) -> None:
        """Run `action` this many nanoseconds from now."""
        self.at(self.now + delay, label, action)

    def record(self, what: bytes) -> None:
        """Add to the trace something that an event did."""
        self._hash.update(what)

    def step(self) -> bool:
        """Run the next event. False if there is none."""
        if not self._heap:
            return False
        self.now, made, label, action = heappop(self._heap)
        self.events += 1
        self._hash.update(_pack(self.now, made))
        self._hash.update(label.encode())
        action()
        return True

    def trace(self) -> str:
        """Hash of everything so far, in hexadecimal."""
        return self._hash.hexdigest()
