"""Committed entries that wait to be applied: those that were handed out while the machine's state was replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from coterie.core.config import ReplicaConfig
from coterie.core.types import Entry, Index


class Backlog:
    """In order, and taken in pieces: no more at once than a replica hands out, so that messages come in between."""

    def __init__(self, limits: ReplicaConfig) -> None:
        self._limits = limits
        self.entries: deque[Entry] = deque()
        """Those that wait."""

    def add(self, entries: Iterable[Entry]) -> None:
        """These are next, after all that wait."""
        self.entries.extend(entries)

    def forget(self, through: Index) -> None:
        """What entries up to this index did is in a snapshot."""
        while self.entries and self.entries[0].index <= through:
            self.entries.popleft()

    def take(self) -> list[Entry]:
        """The next ones, to be applied now."""
        taken: list[Entry] = []
        room = self._limits.max_committed_bytes
        while self.entries and len(taken) < self._limits.max_committed_entries:
            room -= len(self.entries[0].payload)
            if taken and room < 0:
                break
            taken.append(self.entries.popleft())
        return taken
