"""Answering a range as of a revision, within bounds."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.data import Data
from coterie.machine.kv.protocol import DeleteReply, Item, PutReply, Range, RangeReply

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Keys and values in one reply. More is refused, never cut short behind the reader's back."""
ITEM_BYTES = 32
"""What an item counts for beyond its key and value."""

EMPTY_KEY = Rejected("key is not provided")
FUTURE = Rejected("mvcc: required revision is a future revision")
COMPACTED = Rejected("mvcc: required revision has been compacted")
TOO_LARGE = Rejected(
    f"the answer is larger than {MAX_ANSWER_BYTES} bytes: ask for less (limit, keys_only, a smaller range)"
)


def refuse_range(store: Data, question: Range) -> Rejected | None:
    """Why the range can't be read from the store, or None."""
    if not question.key:
        return EMPTY_KEY
    if question.revision > store.revision:
        return FUTURE
    if 0 < question.revision < store.compacted:
        return COMPACTED
    return None


def read_range(store: Data, question: Range, revision: int) -> RangeReply | Rejected:
    """The items asked for; `revision` goes into the reply. `refuse_range` has found nothing.

    A revision below 1 means 'now', as in etcd, with the writes of the transaction so far.
    """
    key, end, limit = question.key, question.end, question.limit
    at = max(question.revision, 0)
    if question.count_only:
        count = sum(1 for _ in store.range(key, end, at, values=False)) if at else store.count(key, end)
        return RangeReply(revision, (), False, count)
    items: list[Item] = []
    count = size = 0
    for item in store.range(key, end, at, values=not question.keys_only):
        count += 1
        if limit > 0 and count > limit:
            # of a past revision only a visit tells how many there were
            count = sum(1 for _ in store.range(key, end, at, values=False)) if at else store.count(key, end)
            break
        if question.keys_only:
            item = Item(item.key, b"", item.create, item.mod, item.version)
        size += item_size(item)
        if size > MAX_ANSWER_BYTES:
            return TOO_LARGE
        items.append(item)
    return RangeReply(revision, tuple(items), count > len(items), count)


def reply_size(reply: PutReply | DeleteReply | RangeReply) -> int:
    """Bytes that the items in a reply count for."""
    if isinstance(reply, PutReply):
        return 0 if reply.previous is None else item_size(reply.previous)
    return sum(map(item_size, reply.previous if isinstance(reply, DeleteReply) else reply.items))


def item_size(item: Item) -> int:
    """Bytes that an item counts for in an answer."""
    return len(item.key) + len(item.value) + ITEM_BYTES
