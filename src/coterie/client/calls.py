"""The client's vocabulary, written once: each function describes a request and how to read its answer.

The blocking and the asyncio client turn each of these into a method (see `describe`), so that both
offer the same operations with the same types. Keys and values are `str` (as UTF-8) or `bytes`.
Every one can raise the errors of `coterie.client.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeAlias, TypeVar

import msgspec

from coterie.client.config import DEFAULT_TIMEOUT_SECONDS
from coterie.client.errors import RequestError
from coterie.core.errors import Effect
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, NodeStatus, ReadMode
from coterie.machine.kv.protocol import (
    Command,
    Compact,
    CompactReply,
    Compare,
    DeleteRange,
    DeleteReply,
    Item,
    Put,
    PutReply,
    Range,
    RangeReply,
    Relation,
    Target,
    Txn,
    TxnReply,
    encoder,
    reply_decoder,
)

T = TypeVar("T")
Text: TypeAlias = str | bytes

NANOS_PER_MILLISECOND = 1_000_000
TO_THE_LAST_KEY = b"\0"
"""As the end of a range: every key from the first on."""

_encode = encoder.encode
_decode_status = msgspec.msgpack.Decoder(NodeStatus).decode


class MalformedReply(RequestError):
    """The answer is not what this request is answered with: the cluster runs another machine."""

    effect = Effect.YES
    advice = "see `coterie status`: which machine does the cluster run? Use submit() and query() for your own"


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request: what to send, how, and what its answer means."""

    payload: bytes
    decode: Callable[[Answer], T]
    command: bool
    timeout: float
    """Seconds."""
    mode: ReadMode = ReadMode.LINEARIZABLE
    at_least: int | None = 0
    """Queries: the revision that the answer must have reached; None: the newest this client has seen."""
    exactly_once: bool = True
    """Commands: run in the client's session."""
    status: bool = False
    """Neither: ask the member what it is."""
    admin: AdminRequest | None = None
    """Neither: what is asked of the leader; `payload` is empty."""


class Reading(msgspec.Struct, frozen=True):
    """What a read returned."""

    items: tuple[Item, ...]
    revision: int
    """The state's revision at the time of reading."""
    age_ms: float | None
    """Everything that was acknowledged this long ago is included: 0 for a linearizable read, None if no
    bound is known."""
    more: bool
    """The limit cut the answer short."""
    count: int
    """Keys in the range, whatever the limit."""


class CasReply(msgspec.Struct, frozen=True):
    """What a compare-and-set did."""

    succeeded: bool
    revision: int
    current: Item | None
    """If it failed: the item that is there instead of the expected one."""


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _reply(answer: Answer, kind: type[T]) -> T:
    try:
        reply = reply_decoder.decode(answer.body)
    except msgspec.MsgspecError as problem:
        raise MalformedReply(f"the answer is not a key-value reply ({problem})") from problem
    if not isinstance(reply, kind):
        raise MalformedReply(f"the answer is a {type(reply).__name__}, not a {kind.__name__}")
    return reply


def _put_reply(answer: Answer) -> PutReply:
    return _reply(answer, PutReply)


def _delete_reply(answer: Answer) -> DeleteReply:
    return _reply(answer, DeleteReply)


def _txn_reply(answer: Answer) -> TxnReply:
    return _reply(answer, TxnReply)


def _compact_reply(answer: Answer) -> CompactReply:
    return _reply(answer, CompactReply)


def _reading(answer: Answer) -> Reading:
    reply = _reply(answer, RangeReply)
    age_ms = None if answer.age < 0 else answer.age / NANOS_PER_MILLISECOND
    return Reading(reply.items, reply.revision, age_ms, reply.more, reply.count)


def _first(answer: Answer) -> Item | None:
    items = _reply(answer, RangeReply).items
    return items[0] if items else None


def _cas_reply(answer: Answer) -> CasReply:
    reply = _reply(answer, TxnReply)
    current = None
    if not reply.succeeded and reply.replies and isinstance(reply.replies[0], RangeReply):
        items = reply.replies[0].items
        current = items[0] if items else None
    return CasReply(reply.succeeded, reply.revision, current)


def _body(answer: Answer) -> bytes:
    return answer.body


def _status(answer: Answer) -> NodeStatus:
    try:
        return _decode_status(answer.body)
    except msgspec.MsgspecError as problem:
        raise MalformedReply(f"the answer is not a node's status ({problem})", effect=Effect.NO) from problem


def _command(command: Command, decode: Callable[[Answer], T], session: bool, timeout: float) -> Call[T]:
    return Call(_encode(command), decode, True, timeout, exactly_once=session)


def _read(
    question: Range,
    decode: Callable[[Answer], T],
    stale: bool,
    session: bool,
    at_least: int | None,
    timeout: float,
) -> Call[T]:
    if stale + (session or at_least is not None) > 1:
        raise ValueError("a read is either stale, or in the session (at_least), or linearizable")
    mode = ReadMode.STALE if stale else ReadMode.LINEARIZABLE
    if session or at_least is not None:
        mode = ReadMode.SESSION
    return Call(_encode(question), decode, False, timeout, mode, at_least if mode is ReadMode.SESSION else 0)


def put(
    key: Text,
    value: Text,
    *,
    want_previous: bool = False,
    session: bool = True,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[PutReply]:
    """Set a key. With `session` (the default) it takes effect exactly once, however often it must be sent.

    `want_previous`: the reply carries the item that was there. `timeout`: seconds, over all attempts.
    """
    return _command(Put(_bytes(key), _bytes(value), want_previous), _put_reply, session, timeout)


def delete(
    key: Text,
    end: Text = b"",
    *,
    want_previous: bool = False,
    session: bool = True,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[DeleteReply]:
    """Delete a key, or every key in [key, end); `deleted` in the reply says how many there were."""
    return _command(DeleteRange(_bytes(key), _bytes(end), want_previous), _delete_reply, session, timeout)


def cas(
    key: Text, old: Text | None, new: Text, *, session: bool = True, timeout: float = DEFAULT_TIMEOUT_SECONDS
) -> Call[CasReply]:
    """Set `key` to `new` if its value is `old` (None: if there is no such key); atomically."""
    name = _bytes(key)
    if old is None:
        compare = Compare(name, Target.VERSION, Relation.EQUAL, 0)
    else:
        compare = Compare(name, Target.VALUE, Relation.EQUAL, 0, _bytes(old))
    return _command(Txn((compare,), (Put(name, _bytes(new)),), (Range(name),)), _cas_reply, session, timeout)


def txn(
    compares: Iterable[Compare],
    then: Iterable[Put | DeleteRange | Range],
    otherwise: Iterable[Put | DeleteRange | Range] = (),
    *,
    session: bool = True,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[TxnReply]:
    """If every comparison holds run `then`, else `otherwise`; atomically, at one revision."""
    return _command(Txn(tuple(compares), tuple(then), tuple(otherwise)), _txn_reply, session, timeout)


def compact(revision: int, *, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[CompactReply]:
    """Forget what was superseded at or before `revision`."""
    return _command(Compact(revision), _compact_reply, True, timeout)


def get(
    key: Text,
    *,
    stale: bool = False,
    session: bool = False,
    at_least: int | None = None,
    revision: int = 0,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[Item | None]:
    """The item under a key, or None. Linearizable, unless

    - `session`: from any member that has reached what this client has seen or written, or `at_least`
      (a revision): never older than that, and cheaper;
    - `stale`: from one member's state as it is (`read` says how old that can be).

    `revision`: as it was then, until that is compacted (0: now).
    """
    return _read(Range(_bytes(key), b"", revision), _first, stale, session, at_least, timeout)


def read(
    key: Text,
    *,
    stale: bool = False,
    session: bool = False,
    at_least: int | None = None,
    revision: int = 0,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[Reading]:
    """As `get`, with the revision and the age of the state that it was read from."""
    return _read(Range(_bytes(key), b"", revision), _reading, stale, session, at_least, timeout)


def scan(
    key: Text,
    end: Text,
    *,
    limit: int = 0,
    keys_only: bool = False,
    count_only: bool = False,
    stale: bool = False,
    session: bool = False,
    at_least: int | None = None,
    revision: int = 0,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[Reading]:
    """The items in [key, end), in the order of keys, at most `limit` (0: all); `end` of a single zero
    byte: to the last key. Freshness as for `get`."""
    question = Range(_bytes(key), _bytes(end), revision, limit, keys_only, count_only)
    return _read(question, _reading, stale, session, at_least, timeout)


def submit(command: bytes, *, session: bool = True, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[bytes]:
    """Run a command of the cluster's own machine; returns its reply."""
    return Call(command, _body, True, timeout, exactly_once=session)


def query(
    question: bytes,
    *,
    stale: bool = False,
    session: bool = False,
    at_least: int | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[bytes]:
    """Ask the cluster's own machine a question; returns its answer. Freshness as for `get`."""
    call = _read(Range(b""), _body, stale, session, at_least, timeout)
    return msgspec.structs.replace(call, payload=question)


def status(*, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Call[NodeStatus]:
    """What the member that this client talks to says of itself and of the cluster."""
    return Call(b"", _status, False, timeout, status=True)
