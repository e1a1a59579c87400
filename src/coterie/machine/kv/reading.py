"""Answering a range as of a revision, within bounds."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.protocol import Item, Range, RangeReply
from coterie.machine.kv.refusals import COMPACTED, EMPTY_KEY, FUTURE
from coterie.machine.kv.selecting import select
from coterie.machine.kv.sizes import MAX_ANSWER_BYTES, TOO_LARGE, item_size


def refuse_range(store: Data, question: Range) -> Rejected | None:
    """Why the range can't be read from the store, or None."""
    if not question.key:
        return EMPTY_KEY
    return refuse_revision(store, question.revision)


def refuse_revision(store: Data, revision: int) -> Rejected | None:
    """Why the revision can't be read, or None."""
    if revision > store.revision:
        return FUTURE
    if 0 < revision < store.compacted:
        return COMPACTED
    return None


def read_range(store: Data, question: Range, revision: int) -> RangeReply | Rejected:
    """The items asked for; `revision` goes into the reply. `refuse_range` has found nothing.

    A revision below 1 means 'now', as in etcd, with the writes of the transaction so far.
    """
    key, end, limit = question.key, question.end, question.limit
    at = max(question.revision, 0)
    if question.count_only:
        return RangeReply(revision, (), False, _count(store, question, at))
    if question.selection is not None:
        return select(store, question, question.selection, revision)
    items: list[Item] = []
    count = size = 0
    for item in store.range(key, end, at, values=not question.keys_only or store.leased):
        count += 1
        if limit > 0 and count > limit:
            count = _count(store, question, at)
            break
        if question.keys_only:
            item = item.without_value()
        size += item_size(item)
        if size > MAX_ANSWER_BYTES:
            return TOO_LARGE
        items.append(item)
    return RangeReply(revision, tuple(items), count > len(items), count)


def _count(store: Data, question: Range, at: int) -> int:
    """Keys in the range: of a past revision only a visit tells how many there were."""
    if at:
        return sum(1 for _ in store.range(question.key, question.end, at, values=False))
    return store.count(question.key, question.end)
