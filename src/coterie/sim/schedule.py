"""One heap of events, and the hash of all that happened."""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TypeAlias

from coterie.core.types import Nanos

Action: TypeAlias = Callable[[], None]

MANY = 512
"""Pieces of the trace that are hashed together."""
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
        self._said: list[bytes] = []
        """What goes into the hash next: many pieces at once cost less than each by itself."""

    def at(self, when: Nanos, label: str, action: Action) -> None:
        """Run `action` at `when`, or now if that is past. `label` goes into the trace."""
        self._made += 1
        heappush(self._heap, (max(when, self.now), self._made, label, action))

    def after(self, delay: Nanos, label: str, action: Action) -> None:
        """Run `action` this many nanoseconds from now."""
        self.at(self.now + delay, label, action)

    def record(self, what: bytes) -> None:
        """Add to the trace something that an event did."""
        self._said.append(what)

    def step(self) -> bool:
        """Run the next event. False if there is none."""
        if not self._heap:
            return False
        self._next()
        return True

    def run_until(self, when: Nanos) -> None:
        """Run events until this time has come, or none is left."""
        heap, run = self._heap, self._next
        while heap and self.now < when:
            run()

    def _next(self) -> None:
        self.now, made, label, action = heappop(self._heap)
        self.events += 1
        said = self._said
        said.append(_pack(self.now, made))
        said.append(label.encode())
        if len(said) > MANY:
            self._hash_said()
        action()

    def _hash_said(self) -> None:
        self._hash.update(b"".join(self._said))
        self._said.clear()

    def trace(self) -> str:
        """Hash of everything so far, in hexadecimal."""
        self._hash_said()
        return self._hash.hexdigest()
