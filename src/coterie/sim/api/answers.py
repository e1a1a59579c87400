"""Answers of the KV service about keys that only callers of the API use, against what was applied."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.machine.kv import protocol as kv
from coterie.sim.api.judge import ApiHistory
from coterie.sim.verdict import Violation


def check_range(
    judge: ApiHistory, request: kv.Range, floor: int, revision: int, items: Sequence[kv.Item], count: int, more: bool
) -> None:
    """A range was answered with this revision in the header. `floor`: what it must not be older than."""
    judge.saw(floor, revision, request)
    if request.revision > revision:
        raise Violation("read-true", f"{request} was answered at {revision}")
    all_items = judge.model.range(request.key, request.end, request.revision or revision)
    wanted = all_items[: request.limit] if request.limit else all_items
    if tuple(items) != wanted or count != len(all_items) or more != (len(wanted) < len(all_items)):
        raise Violation(
            "read-true", f"{request} got {items} of {count} at {revision}; there is {wanted} of {len(all_items)}"
        )


def check_refused_range(judge: ApiHistory, request: kv.Range, floor: int, text: str) -> None:
    """A linearizable range was refused."""
    if "compacted" in text and request.revision >= judge.model.compacted:
        raise Violation("read-true", f"{request} is said to be compacted; that was {judge.model.compacted}")
    if "future" in text and request.revision <= floor:
        raise Violation("read-fresh", f"{request} is said to be in the future; {floor} was acknowledged before")


def check_previous(judge: ApiHistory, key: bytes, revision: int, found: kv.Item | None) -> None:
    """A write at this revision was answered with what had been there."""
    wanted = judge.model.item(key, revision - 1)
    if found != wanted:
        raise Violation("write-true", f"before revision {revision} {key!r} is said to be {found}; it was {wanted}")


def check_deletion(
    judge: ApiHistory, request: kv.DeleteRange, floor: int, revision: int, deleted: int, previous: Sequence[kv.Item]
) -> None:
    """A deletion was answered with this revision in the header."""
    judge.saw(floor + (deleted > 0), revision, request)
    model = judge.model
    before = model.range(request.key, request.end, revision - (deleted > 0))
    if deleted != len(before) or (request.want_previous and tuple(previous) != before):
        raise Violation("write-true", f"{request} says {deleted} {previous} at {revision}; there was {before}")
    if deleted and [change.item.key for change in model.events[revision]] != [item.key for item in before]:
        raise Violation(
            "write-true", f"{request} says {deleted} at {revision}, where there was {model.events[revision]}"
        )
