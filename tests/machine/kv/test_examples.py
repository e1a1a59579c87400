"""What the key-value machine does, by example; etcd's semantics and its words."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.machine.interface import Batch, Rejected
from coterie.machine.kv import KeyValue
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
    Reply,
    Target,
    Txn,
    TxnReply,
    encoder,
    reply_decoder,
)
from coterie.machine.kv.sizes import MAX_ANSWER_BYTES
from coterie.machine.kv.writing import MAX_KEY_BYTES, MAX_VALUE_BYTES


def do(machine: KeyValue, *commands: Command) -> list[Reply | str]:
    """The replies; a rejection as its reason."""
    bodies = [encoder.encode(command) for command in commands]
    replies = machine.apply(Batch(1, 0, range(len(bodies)), bodies))
    return [r.reason if isinstance(r, Rejected) else reply_decoder.decode(r) for r in replies]


def ask(machine: KeyValue, question: Range) -> RangeReply | str:
    answer = machine.query(encoder.encode(question))
    if isinstance(answer, Rejected):
        return answer.reason
    reply = reply_decoder.decode(answer)
    assert isinstance(reply, RangeReply)
    return reply


def test_revisions_versions_and_history() -> None:
    kv = KeyValue()
    assert kv.revision() == 1
    assert do(kv, Put(b"a", b"1"), Put(b"a", b"2", True)) == [PutReply(2), PutReply(3, Item(b"a", b"1", 2, 2, 1))]
    assert do(kv, DeleteRange(b"a", want_previous=True)) == [DeleteReply(4, 1, (Item(b"a", b"2", 2, 3, 2),))]
    assert do(kv, DeleteRange(b"a")) == [DeleteReply(4, 0)], "what deletes nothing makes no revision"
    assert do(kv, Put(b"a", b"3")) == [PutReply(5)]
    expected = {2: [Item(b"a", b"1", 2, 2, 1)], 3: [Item(b"a", b"2", 2, 3, 2)], 4: [], 5: [Item(b"a", b"3", 5, 5, 1)]}
    for revision, items in expected.items():
        assert ask(kv, Range(b"a", revision=revision)) == RangeReply(5, tuple(items), False, len(items))


def test_a_transaction_compares_the_state_before_and_writes_at_one_revision() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"))
    swap = Txn(
        (Compare(b"a", Target.VALUE, Relation.EQUAL, value=b"1"), Compare(b"b", Target.CREATE, Relation.EQUAL, 0)),
        (Put(b"a", b"2"), Range(b"a"), Put(b"b", b"new"), DeleteRange(b"c")),
        (Range(b"a", keys_only=True),),
    )
    assert do(kv, swap, swap) == [
        TxnReply(
            3,
            True,
            (
                PutReply(3),
                RangeReply(3, (Item(b"a", b"2", 2, 3, 2),), False, 1),
                PutReply(3),
                DeleteReply(3, 0),
            ),
        ),
        TxnReply(3, False, (RangeReply(3, (Item(b"a", b"", 2, 3, 2),), False, 1),)),
    ]
    assert [item.key for item in kv.events(3)] == [b"a", b"b"]


def test_inside_a_transaction_now_has_its_writes_and_a_named_revision_has_not() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"old"))
    (reply,) = do(kv, Txn((), (Put(b"a", b"new"), Put(b"b", b""), Range(b"a", b"c"), Range(b"a", b"c", revision=2))))
    assert isinstance(reply, TxnReply)
    now, then = reply.replies[2:]
    assert isinstance(now, RangeReply)
    assert isinstance(then, RangeReply)
    assert [(item.key, item.value) for item in now.items] == [(b"a", b"new"), (b"b", b"")]
    assert [(item.key, item.value) for item in then.items] == [(b"a", b"old")]


def test_refusals_have_etcds_words_and_change_nothing() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"), Put(b"a", b"2"), Put(b"a", b"3"))
    before = kv.digest()
    twice = Txn((), (Put(b"x", b""), Put(b"x", b"")))
    put_and_deleted = Txn((), (Put(b"x", b""), DeleteRange(b"a", b"z")))
    future = Txn((), (Put(b"x", b""), Range(b"a", revision=5)))
    many = Txn((), tuple([Put(b"%d" % i, b"") for i in range(129)]))
    refusals: dict[Command, str] = {
        Put(b"", b"v"): "key is not provided",
        DeleteRange(b"", b"z"): "key is not provided",
        Txn((Compare(b"", Target.MOD, Relation.LESS, 3),), ()): "key is not provided",
        twice: "duplicate key given in txn request",
        put_and_deleted: "duplicate key given in txn request",
        future: "mvcc: required revision is a future revision",
        many: "too many operations in txn request",
        Compact(5): "mvcc: required revision is a future revision",
        Compact(-1): "mvcc: required revision has been compacted",
        Put(b"k" * (MAX_KEY_BYTES + 1), b""): f"the key has {MAX_KEY_BYTES + 1} bytes, the limit is {MAX_KEY_BYTES}",
        Put(
            b"k", bytes(MAX_VALUE_BYTES + 1)
        ): f"the value has {MAX_VALUE_BYTES + 1} bytes, the limit is {MAX_VALUE_BYTES}",
    }
    for command, text in refusals.items():
        assert do(kv, command) == [text]
    assert kv.digest() == before
    assert kv.revision() == 4


def test_reads_below_the_compaction_are_refused_and_at_it_are_not() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"), Put(b"a", b"2"), Put(b"a", b"3"))
    assert do(kv, Compact(3), Compact(3)) == [CompactReply(4), "mvcc: required revision has been compacted"]
    assert ask(kv, Range(b"a", revision=2)) == "mvcc: required revision has been compacted"
    assert ask(kv, Range(b"a", revision=3)) == RangeReply(4, (Item(b"a", b"2", 2, 3, 2),), False, 1)
    assert ask(kv, Range(b"a", revision=5)) == "mvcc: required revision is a future revision"


def test_limit_count_and_keys_only() -> None:
    kv = KeyValue()
    do(kv, *(Put(key, b"v") for key in (b"b", b"a", b"c", b"d")), DeleteRange(b"d"))
    reply = ask(kv, Range(b"a", b"\0", limit=2))
    assert isinstance(reply, RangeReply)
    assert ([item.key for item in reply.items], reply.more, reply.count) == ([b"a", b"b"], True, 3)
    assert ask(kv, Range(b"b", b"d", count_only=True)) == RangeReply(6, (), False, 2)
    assert ask(kv, Range(b"a", b"\0", revision=5, count_only=True)) == RangeReply(6, (), False, 4)
    assert ask(kv, Range(b"c", b"a")) == RangeReply(6, (), False, 0)


def test_an_answer_that_is_too_large_is_refused_and_undone() -> None:
    kv = KeyValue()
    value = bytes(MAX_ANSWER_BYTES // 4)
    do(kv, *(Put(b"%d" % i, value) for i in range(4)))
    before, words = kv.digest(), "the answer is larger than"
    answers = [
        ask(kv, Range(b"0", b"\0")),
        *do(kv, DeleteRange(b"0", b"\0", want_previous=True)),
        *do(kv, Txn((), (Put(b"x", value), DeleteRange(b"0"), Range(b"1", b"2"), Range(b"1", b"\0")))),
        *do(kv, Txn((), (Put(b"9", b""), DeleteRange(b"0", b"2", True), DeleteRange(b"2", b"4", True)))),
    ]
    for answer in answers:
        assert isinstance(answer, str)
        assert answer.startswith(words)
    assert kv.digest() == before
    keys = ask(kv, Range(b"0", b"\0", keys_only=True))
    assert isinstance(keys, RangeReply)
    assert keys.count == 4
    assert do(kv, DeleteRange(b"0", b"\0")) == [DeleteReply(6, 4)]


@given(st.binary(max_size=40))
def test_malformed_bytes_are_rejected_and_change_nothing(data: bytes) -> None:
    kv = KeyValue()
    (reply,) = kv.apply(Batch(1, 0, [0], [data]))
    answer = kv.query(data)
    if isinstance(reply, Rejected):
        assert kv.revision() == 1
    else:
        assert reply_decoder.decode(reply).revision == kv.revision()
    if not isinstance(answer, Rejected):
        assert reply_decoder.decode(answer).revision == kv.revision()


@pytest.mark.parametrize("command", [Put(b"a", b"b"), Compact(1), DeleteRange(b"a"), Txn((), (Put(b"a", b"b"),))])
def test_a_truncated_or_extended_command_is_rejected(command: Command) -> None:
    whole = encoder.encode(command)
    bodies = [whole[:cut] for cut in range(len(whole))] + [whole + b"\0"]
    fields: list[object] = msgspec.msgpack.decode(whole)
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    bodies += [msgspec.msgpack.encode([*fields, *[0] * (9 - len(fields)), extra]) for extra in (0, deep)]
    kv = KeyValue()
    for body, reply in zip(bodies, kv.apply(Batch(1, 0, range(len(bodies)), bodies)), strict=True):
        assert isinstance(reply, Rejected), body
    assert kv.revision() == 1


def test_how_deep_the_stack_is_does_not_change_an_answer() -> None:
    """A decoder that skipped unknown fields would give up sooner on a deeper stack."""
    body = b"\x95\x01\xc4\x01k\xc4\x01v\xc2" + b"\x91" * 100_000 + b"\x01"

    def at(depth: int) -> object:
        return at(depth - 1) if depth else KeyValue().apply(Batch(1, 0, [0], [body]))[0]

    assert at(0) == at(700)
    assert isinstance(at(0), Rejected)


def test_a_damaged_snapshot_is_refused_and_leaves_the_state() -> None:
    kv = KeyValue()
    do(kv, Put(b"a", b"1"), Put(b"b", b"2"), DeleteRange(b"a"), Txn((), (Put(b"c", b""), Put(b"d", b""))))
    whole = b"".join(kv.snapshot())
    before = kv.digest()
    for cut in range(len(whole)):
        with pytest.raises(ValueError, match="snapshot"):
            kv.restore([whole[:cut]])
    with pytest.raises(ValueError, match="snapshot"):
        kv.restore([whole, whole])
    assert kv.digest() == before


SCRIPT = """
from coterie.machine.interface import Batch
from coterie.machine.kv import KeyValue
from coterie.machine.kv.protocol import *
from coterie.machine.host import Host
kv = KeyValue()
commands = [Put(b"key-%d" % (i * 7 % 30), b"%d" % i) for i in range(100)]
commands += [DeleteRange(b"key-1", b"key-2"), Txn((), tuple(Put(b"t%d" % i, b"") for i in range(20))), Compact(50)]
kv.apply(Batch(1, 0, range(len(commands)), [encoder.encode(c) for c in commands]))
print(kv.digest().hex(), Host(kv).digest().hex())
"""


def test_the_digest_does_not_depend_on_pythons_hash_seed() -> None:
    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    first = run("1")
    assert len(first) == 130
    assert run("2") == first
