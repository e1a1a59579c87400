"""The codec: what goes in comes out, and what is not a message is a DecodeError, nothing else."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.core.messages import (
    Append,
    AppendReply,
    Command,
    Forward,
    ForwardRefused,
    Message,
    PreVote,
    PreVoteReply,
    Pull,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    Segment,
    SessionClose,
    SessionKeep,
    SessionOpen,
    Suffix,
    VoteReply,
    decode,
    decode_segments,
    encode,
    encode_segments,
)
from coterie.core.types import Entry, EntryKind, Epoch

numbers = st.integers(0, 2**64 - 1)
nanos = st.integers(-(2**62), 2**62)
epochs = st.builds(Epoch, numbers, numbers)
kinds = st.sampled_from(EntryKind)
entries = st.lists(st.builds(Entry, numbers, epochs, kinds, nanos, st.binary(max_size=40)), max_size=4).map(tuple)
commands = st.one_of(
    st.builds(Command, numbers, numbers, numbers, st.binary(max_size=40)),
    st.builds(SessionOpen, nanos),
    st.builds(SessionClose, numbers),
    st.builds(SessionKeep, numbers, numbers),
)
segments = st.builds(Segment, numbers, numbers, numbers, st.lists(commands, max_size=4).map(tuple))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(PreVote, epochs, numbers, epochs),
    st.builds(PreVoteReply, epochs, epochs, st.booleans(), st.booleans(), numbers, epochs),
    st.builds(RequestVote, epochs, numbers, epochs, st.booleans()),
    st.builds(VoteReply, epochs, st.booleans()),
    st.builds(Append, epochs, numbers, epochs, entries, numbers, numbers, nanos, nanos),
    st.builds(AppendReply, epochs, st.booleans(), numbers, numbers, epochs, numbers, nanos),
    st.builds(ReadIndex, epochs, numbers),
    st.builds(ReadIndexReply, epochs, numbers, numbers),
    st.builds(Pull, epochs, numbers, numbers, epochs),
    st.builds(Suffix, epochs, numbers, numbers, epochs, entries, numbers, epochs),
    st.builds(Forward, segments),
    st.builds(ForwardRefused, numbers, numbers, numbers, numbers, numbers),
)


def decodes_or_refuses(data: bytes) -> Message | None:
    try:
        return decode(data)
    except msgspec.DecodeError:
        return None


@given(messages)
def test_what_goes_in_comes_out(message: Message) -> None:
    data = encode(message)
    assert decode(data) == message
    assert decode(memoryview(data)) == message


def test_a_refusal_that_does_not_say_whether_it_is_for_the_log_alone_is_taken_for_one_that_is_not() -> None:
    older = msgspec.msgpack.encode([2, [3, 0], [4, 0], False])
    assert decode(older) == PreVoteReply(Epoch(3, 0), Epoch(4, 0), False, behind=False)


@given(st.lists(segments, max_size=4))
def test_segments_come_out_as_they_went_in(some: list[Segment]) -> None:
    assert decode_segments(encode_segments(some)) == some


@given(messages, st.data())
def test_a_truncated_message_is_refused(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    assert decodes_or_refuses(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@given(messages, st.binary(min_size=1, max_size=8))
def test_a_message_with_something_after_it_is_refused(message: Message, more: bytes) -> None:
    assert decodes_or_refuses(encode(message) + more) is None


@given(messages, st.data())
def test_a_changed_byte_gives_a_message_or_a_refusal(message: Message, data: st.DataObject) -> None:
    changed = bytearray(encode(message))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    result = decodes_or_refuses(bytes(changed))
    assert result is None or isinstance(result, get_args(Message))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_a_message(data: bytes) -> None:
    result = decodes_or_refuses(data)
    assert result is None or isinstance(result, get_args(Message))
    try:
        found = decode_segments(data)
    except msgspec.DecodeError:
        return
    assert all(type(segment) is Segment for segment in found)


@pytest.mark.parametrize("length", [b"\xdd\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff"])
def test_a_length_that_is_a_lie_allocates_nothing(length: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        decode(b"\x99\x05\x92\x01\x00\x00\x92\x00\x00" + length)
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        decode_segments(length)


def test_nesting_without_end_is_refused() -> None:
    endless = b"\x91" * 200_000
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decode(b"\x94\x04\x92\x01\x00\xc3" + endless)
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decode_segments(b"\x91\x95\x01\x01\x01\x90" + endless)
