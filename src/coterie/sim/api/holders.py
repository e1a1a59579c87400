"""Whose turn it is in a queue of keys: what locks and elections promise."""

from __future__ import annotations

from typing import Final, NamedTuple

from coterie.core.types import Nanos
from coterie.machine.kv import protocol as kv
from coterie.sim.api.model import Model
from coterie.sim.verdict import Violation

LOCK: Final = b"lock"
ELECTION: Final = b"elect"
FENCED: Final = b"fence/"
"""Before a queue's name: the key that its holder alone writes, in a transaction that compares its place there."""


class Turn(NamedTuple):
    """From then on, until the next turn begins, this key is the oldest of its queue; b"": nobody's."""

    since: Nanos
    key: bytes
    created: int
    """The key's create revision, which is the fencing token."""


class HolderLaws:
    """The queues' turns, as the first replica to apply them made them."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._turns: dict[bytes, list[Turn]] = {name: [Turn(0, b"", 0)] for name in (LOCK, ELECTION)}
        self._fences: dict[bytes, int] = {}
        """The newest token with which each queue's fenced key was written."""

    def moved(self, first: int, now: Nanos) -> None:
        """Revisions from `first` on are new."""
        for name, turns in self._turns.items():
            start, end = name + b"/", name + b"0"
            if self._model.changes(start, end, first, self._model.revision):
                oldest = min(self._model.range(start, end), key=lambda item: item.create, default=None)
                turn = Turn(now, oldest.key, oldest.create) if oldest is not None else Turn(now, b"", 0)
                if turn[1:] != turns[-1][1:]:
                    turns.append(turn)

    def told(self, name: bytes, key: bytes, created: int, began: Nanos, now: Nanos) -> None:
        """Who called at `began` is told that its key has the turn. `created`: 0 if that was not said."""
        turns = self._turns[name]
        ends = [turn.since for turn in turns[1:]] + [now]
        for turn, end in zip(turns, ends, strict=True):
            if turn.key == key and created in (0, turn.created) and end >= began:
                return
        raise Violation(
            "one-holder",
            f"{key!r} (created at {created}) is said to hold {name!r} at {now}; since {began}: {turns[-3:]}",
        )

    def observed(self, name: bytes, key: bytes, created: int, first: int) -> int:
        """Who observes the queue is told who has the turn; the turn's number, `first` for the next time: turns are
        told in their order."""
        turns = self._turns[name]
        for number in range(first, len(turns)):
            if (turns[number].key, turns[number].created) == (key, created):
                return number
        raise Violation(
            "one-holder", f"an observer of {name!r} is told of {key!r} ({created}) after {turns[first:][:3]}"
        )

    def wrote(self, txn: kv.Txn) -> None:
        """A transaction has just succeeded."""
        for part in txn.then:
            if isinstance(part, kv.Put) and part.key.startswith(FENCED):
                name, place = part.key[len(FENCED) :], txn.compares[0].key
                turn = self._turns[name][-1]
                if turn.key != place or turn.created < self._fences.get(name, 0):
                    raise Violation(
                        "one-holder", f"{place!r} writes as the holder of {name!r}; {turn} is, after {self._fences}"
                    )
                self._fences[name] = turn.created
