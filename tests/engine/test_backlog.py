"""What waits to be applied comes back in order, once, in pieces of bounded size."""

from __future__ import annotations

from coterie.core.config import ReplicaConfig
from coterie.core.types import Entry, EntryKind, Epoch
from coterie.engine.backlog import Backlog


def entries(first: int, sizes: list[int]) -> list[Entry]:
    return [Entry(first + n, Epoch(1, 0), EntryKind.COMMANDS, 0, bytes(size)) for n, size in enumerate(sizes)]


def indexes(backlog: Backlog) -> list[list[int]]:
    pieces = []
    while backlog.entries:
        pieces.append([entry.index for entry in backlog.take()])
    return pieces


def test_a_piece_has_no_more_entries_and_no_more_bytes_than_the_limits_say() -> None:
    backlog = Backlog(ReplicaConfig(max_committed_entries=3, max_committed_bytes=10))
    backlog.add(entries(1, [1, 1, 1, 1]))
    backlog.add(entries(5, [6, 4, 1, 20, 1]))
    assert indexes(backlog) == [[1, 2, 3], [4, 5], [6, 7], [8], [9]]


def test_what_a_snapshot_holds_is_not_applied_again() -> None:
    backlog = Backlog(ReplicaConfig())
    backlog.add(entries(1, [1, 1, 1, 1]))
    backlog.forget(3)
    assert indexes(backlog) == [[4]]
    backlog.forget(9)
    assert not backlog.entries
    assert backlog.take() == []
