"""How large an answer may be, and what counts."""

from __future__ import annotations

from coterie.machine.interface import Rejected
from coterie.machine.kv.protocol import DeleteReply, Item, PutReply, RangeReply

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Keys and values in one reply. More is refused, never cut short behind the reader's back."""
ITEM_BYTES = 32
"""What an item counts for beyond its key and value."""

TOO_LARGE = Rejected(
    f"the answer is larger than {MAX_ANSWER_BYTES} bytes: ask for less (limit, keys_only, a smaller range)"
)


def reply_size(reply: PutReply | DeleteReply | RangeReply) -> int:
    """Bytes that the items in a reply count for."""
    if isinstance(reply, PutReply):
        return 0 if reply.previous is None else item_size(reply.previous)
    return sum(map(item_size, reply.previous if isinstance(reply, DeleteReply) else reply.items))


def item_size(item: Item) -> int:
    """Bytes that an item counts for in an answer."""
    return len(item.key) + len(item.value) + ITEM_BYTES
