"""Commands, questions and replies of the key-value machine: the shape that the etcd v3 API needs.

Commands forbid unknown fields: to skip one, the decoder follows it as deep as it is nested, and
where it gives up depends on the stack that is left, which differs from member to member.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key as of some revision (etcd's KeyValue)."""

    key: bytes
    value: bytes
    create: int
    """Revision of the key's creation."""
    mod: int
    """Revision of its last change."""
    version: int
    """Number of changes since its creation, the creation included."""


class Put(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1, gc=False):
    """Set a key. `want_previous`: the reply carries the item that was there."""

    key: bytes
    value: bytes
    want_previous: bool = False


class DeleteRange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2, gc=False):
    """Delete `key`, or every key in [key, end) if `end` is not empty; end b"\\0" means 'to the last key'."""

    key: bytes
    end: bytes = b""
    want_previous: bool = False


class Range(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3, gc=False):
    """Read `key`, or [key, end) as in `DeleteRange`, as of `revision` (0: now), at most `limit` (0: all).

    An answer above `reading.MAX_ANSWER_BYTES` is refused. A revision that is not there yet, or not
    any more, is refused with etcd's words.
    """

    key: bytes
    end: bytes = b""
    revision: int = 0
    limit: int = 0
    keys_only: bool = False
    count_only: bool = False


class Target(IntEnum):
    """What a comparison looks at. A missing key has version, create and mod 0, and no value."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3


class Relation(IntEnum):
    """How `Compare.target` of the key must relate to the operand."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class Compare(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A transaction's condition. A VALUE comparison of a missing key is false, whatever the relation."""

    key: bytes
    target: Target
    relation: Relation
    number: int = 0
    value: bytes = b""


class Txn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """If every comparison holds, run `then`, else `otherwise`; atomically, at one revision."""

    compares: tuple[Compare, ...]
    then: tuple[Put | DeleteRange | Range, ...]
    otherwise: tuple[Put | DeleteRange | Range, ...] = ()


class Compact(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Forget what was superseded at or before `revision`; reads below it are refused from now on.

    It makes no revision of its own. A revision above the present one, or at or below the last
    compaction's, is refused.
    """

    revision: int


Command: TypeAlias = Put | DeleteRange | Txn | Compact
Question: TypeAlias = Range
"""Sent alone; more kinds of question may join."""


class PutReply(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The key is set. `previous` only if it was asked for."""

    revision: int
    previous: Item | None = None


class DeleteReply(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """`deleted` keys are gone (possibly none). `previous` only if it was asked for."""

    revision: int
    deleted: int
    previous: tuple[Item, ...] = ()


class RangeReply(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """What is in the range, in the order of the keys."""

    revision: int
    """The store's revision at the time of reading, not the one asked for."""
    items: tuple[Item, ...]
    more: bool
    """True if `limit` cut the answer short."""
    count: int
    """Keys in the range, whatever the limit."""


class TxnReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """`succeeded`: the comparisons held and `then` ran; one reply for each operation that ran."""

    revision: int
    succeeded: bool
    replies: tuple[PutReply | DeleteReply | RangeReply, ...]


class CompactReply(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The store's revision at the time; it is not changed by a compaction."""

    revision: int


Reply: TypeAlias = PutReply | DeleteReply | RangeReply | TxnReply | CompactReply

encoder = msgspec.msgpack.Encoder()
command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
question_decoder: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
