"""Commands, questions and replies of the key-value machine: the shape that the etcd v3 API needs.

Commands forbid unknown fields: to skip one, the decoder follows it as deep as it is nested, and
where it gives up depends on the stack that is left, which differs from member to member.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from coterie.machine.kv.auth.protocol import AnyAuthReply, AuthCommand, Authorised, AuthorisedQuestion, AuthQuestion


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
    lease: int = 0
    """The lease that the key is attached to; 0: none."""

    def without_value(self) -> Item:
        """All but the value."""
        return Item(self.key, b"", self.create, self.mod, self.version, self.lease)


class Put(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1, gc=False):
    """Set a key, and attach it to `lease` (0: to none; an attachment that there was ends).

    `want_previous`: the reply carries the item that was there. `ignore_value`, `ignore_lease`: keep the value, the
    lease, that the key has; refused with etcd's words if the key does not exist.
    """

    key: bytes
    value: bytes
    want_previous: bool = False
    lease: int = 0
    ignore_value: bool = False
    ignore_lease: bool = False


class DeleteRange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2, gc=False):
    """Delete `key`, or every key in [key, end) if `end` is not empty; end b"\\0" means 'to the last key'."""

    key: bytes
    end: bytes = b""
    want_previous: bool = False


class Order(IntEnum):
    """Which way an answer is sorted."""

    NONE = 0
    """By key, ascending, as the store has it; with a target other than `KEY`: ascending."""
    ASCEND = 1
    DESCEND = 2


class SortTarget(IntEnum):
    """What an answer is sorted by."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class Selection(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What of a range is wanted, and in which order. `count` of the answer ignores the bounds, as etcd's does; the
    limit cuts after the sort (before it, if there is neither order nor bound: see `selecting`). A bound of 0 is none.
    """

    order: Order = Order.NONE
    target: SortTarget = SortTarget.KEY
    min_mod: int = 0
    max_mod: int = 0
    min_create: int = 0
    max_create: int = 0


class Range(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3, gc=False):
    """Read `key`, or [key, end) as in `DeleteRange`, as of `revision` (0: now), at most `limit` (0: all).

    An answer above `sizes.MAX_ANSWER_BYTES` is refused. A revision that is not there yet, or not
    any more, is refused with etcd's words.
    """

    key: bytes
    end: bytes = b""
    revision: int = 0
    limit: int = 0
    keys_only: bool = False
    count_only: bool = False
    selection: Selection | None = None
    """None: all of it, by key."""


class Target(IntEnum):
    """What a comparison looks at. A missing key has version, create, mod and lease 0, and no value."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class Relation(IntEnum):
    """How `Compare.target` of the key must relate to the operand."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class Compare(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A transaction's condition. A VALUE comparison of a missing key is false, whatever the relation.

    With `end` it must hold for every key in [key, end) (as in `DeleteRange`); of an empty range, it must hold for a
    missing key.
    """

    key: bytes
    target: Target
    relation: Relation
    number: int = 0
    value: bytes = b""
    end: bytes = b""


class Nested(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """A transaction within a transaction: an encoded `Txn`. In bytes of its own, so that how deep a decoder can
    follow is counted (`txn.MAX_NESTING`) and does not depend on the stack that a member has left."""

    txn: bytes


class Txn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """If every comparison holds, run `then`, else `otherwise`; atomically, at one revision. The comparisons of nested
    transactions, too, are all evaluated on the state before any write."""

    compares: tuple[Compare, ...]
    then: tuple[Put | DeleteRange | Range | Nested, ...]
    otherwise: tuple[Put | DeleteRange | Range | Nested, ...] = ()


class Compact(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Forget what was superseded at or before `revision`; reads below it are refused from now on.

    It makes no revision of its own. A revision above the present one, or at or below the last
    compaction's, is refused.
    """

    revision: int


# Leases: their time is cluster time, so they end alike at every member and never early.


class Grant(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """Make a lease that ends `ttl` seconds of cluster time after its last `KeepAlive`, and deletes the keys that are
    attached to it. `lease` 0: its id is made from the log. A `ttl` below `leases.MIN_TTL_S` is raised to it."""

    lease: int
    ttl: int


class Revoke(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=11):
    """End the lease now: its keys are deleted at one revision."""

    lease: int


class KeepAlive(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=12):
    """The lease's time begins anew. The reply's `ttl` is 0 if there is no such lease: no refusal, as in etcd."""

    lease: int


class TimeToLive(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=13):
    """How long the lease has left. A command, not a question: only the log tells the time. It changes nothing."""

    lease: int
    keys: bool = False
    """Whether the reply names the attached keys."""


class Leases(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=14):
    """Question: the ids of all leases, ascending."""


# Alarms


class AlarmKind(IntEnum):
    """What is wrong. With NOSPACE, what needs space is refused; with CORRUPT, everything."""

    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


class SetAlarm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=15):
    """Raise (`on`) or clear a member's alarm. Clearing with `kind` NONE clears all kinds; with `member` 0, of all
    members. The reply names what was changed."""

    member: int
    kind: AlarmKind
    on: bool


class AskAlarms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=16):
    """Question: which alarms are on. Answered with `AlarmReply`."""

    kind: AlarmKind = AlarmKind.NONE
    """NONE: of every kind."""


class AskHash(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=17):
    """Question: a hash over all items up to `revision` (0: now) that compaction has left, the same at every member
    that has the same data at the same compaction (etcd's HashKV)."""

    revision: int = 0


Command: TypeAlias = (
    Put | DeleteRange | Txn | Compact | Grant | Revoke | KeepAlive | TimeToLive | SetAlarm | AuthCommand | Authorised
)
Question: TypeAlias = Range | Leases | AskAlarms | AskHash | AuthQuestion | AuthorisedQuestion


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
    replies: tuple[PutReply | DeleteReply | RangeReply | TxnReply, ...]


class CompactReply(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The store's revision at the time; it is not changed by a compaction."""

    revision: int


class LeaseReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Answers the commands about leases."""

    revision: int
    lease: int
    ttl: int
    """Seconds left, cut to whole ones as etcd cuts them; 0 of `KeepAlive`, -1 of `TimeToLive`: there is no such
    lease."""
    granted: int = 0
    """Seconds of its whole life."""
    keys: tuple[bytes, ...] = ()


class LeasesReply(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """All leases."""

    revision: int
    leases: tuple[int, ...]


class AlarmReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Alarms, as (member, kind), in order."""

    revision: int
    alarms: tuple[tuple[int, AlarmKind], ...]


class HashReply(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The hash, of 32 bits, and what it was made over."""

    revision: int
    hash: int
    compacted: int
    """The compaction's revision; -1: never."""


Reply: TypeAlias = (
    PutReply
    | DeleteReply
    | RangeReply
    | TxnReply
    | CompactReply
    | LeaseReply
    | LeasesReply
    | AlarmReply
    | HashReply
    | AnyAuthReply
)

encoder = msgspec.msgpack.Encoder()
command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
question_decoder: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
reply_decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
