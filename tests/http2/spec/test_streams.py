"""h2spec's cases of RFC 9113 (7540), sections 3 to 5: framing, header blocks, streams and their states."""

from __future__ import annotations

import pytest
from tests.http2.talk import FIELDS, Talk, packed, settings

from coterie.http2 import PREFACE, Called, Cancelled, ErrorCode, Limits
from coterie.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    SETTINGS,
    frame,
)

WHOLE = END_HEADERS | END_STREAM


def dies_of(talk: Talk, data: bytes) -> ErrorCode:
    talk.say(data)
    return talk.closed_with()


# 3.5 (9113: 3.4)


def test_3_5_an_invalid_preface_closes_the_connection() -> None:
    talk = Talk(greeted=False)
    assert dies_of(talk, b"INVALID CONNECTION PREFACE\r\n\r\n") == ErrorCode.PROTOCOL_ERROR
    assert talk.http.deadline is None


def test_3_5_a_preface_may_come_byte_by_byte_and_no_byte_of_it_may_be_wrong() -> None:
    talk = Talk(greeted=False)
    for byte in PREFACE[:-1]:
        assert talk.say(bytes((byte,))) == []
        assert not talk.http.closed
    assert dies_of(talk, b"\r") == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(HEADERS, WHOLE, 1, b"\x83")])
def test_3_5_the_first_frame_is_settings(first: bytes) -> None:
    talk = Talk(greeted=False)
    assert dies_of(talk, PREFACE + first) == ErrorCode.PROTOCOL_ERROR


def test_3_5_an_acknowledgement_is_no_settings() -> None:
    talk = Talk(greeted=False)
    assert dies_of(talk, PREFACE + frame(SETTINGS, 1, 0) + talk.call()) == ErrorCode.PROTOCOL_ERROR


# 4.1, 4.2: frames


def test_4_1_reserved_bits_and_unknown_flags_are_ignored() -> None:
    talk = Talk()
    talk.say(frame(PING, 0xFE & ~1, 0x80000000, bytes(8)))
    assert [f.kind for f in talk.heard()] == [PING]
    talk.goes_on()


def test_4_1_the_reserved_bit_of_a_streams_number_is_ignored() -> None:
    talk = Talk()
    talk.say(talk.call())
    data = frame(DATA, END_STREAM, 3 | 0x80000000, packed(b"x"))
    (event,) = talk.say(frame(HEADERS, END_HEADERS, 3 | 0x80000000, talk.block()) + data)
    assert isinstance(event, Called)
    assert (event.stream, event.message) == (3, b"x")


def test_4_2_a_frame_of_16384_bytes() -> None:
    talk = Talk()
    number = talk.opened()
    message = packed(bytes(20_000))
    talk.say(talk.data(message[:16_384]))
    assert not talk.http.closed
    talk.say(talk.data(message[16_384:]))
    assert talk.events[-1].stream == number


@pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS, 0x20])
def test_4_2_a_frame_one_byte_too_large(kind: int) -> None:
    talk = Talk()
    number = talk.opened()
    # The head alone says so: nobody waits for the rest.
    assert dies_of(talk, frame(kind, 0, number, bytes(16_385))[:9]) == ErrorCode.FRAME_SIZE_ERROR


# 4.3: header blocks


@pytest.mark.parametrize(
    "between",
    [frame(PRIORITY, 0, 1, bytes(4) + b"\x10"), frame(0x20, 0, 1), frame(PING, 0, 0, bytes(8)), frame(DATA, 1, 1, b"")],
)
def test_4_3_nothing_may_come_between_the_frames_of_a_header_block(between: bytes) -> None:
    talk = Talk()
    block = talk.block()
    assert dies_of(talk, frame(HEADERS, END_STREAM, 1, block[:5]) + between) == ErrorCode.PROTOCOL_ERROR


def test_4_3_headers_of_another_stream_between() -> None:
    talk = Talk()
    block = talk.block()
    data = frame(HEADERS, END_STREAM, 1, block[:5]) + frame(HEADERS, WHOLE, 3, block)
    assert dies_of(talk, data) == ErrorCode.PROTOCOL_ERROR


def test_4_3_a_whole_known_request_between_is_no_exception() -> None:
    talk = Talk()
    talk.say(talk.call())
    talk.say(talk.call())
    again = talk.call()
    talk.say(frame(HEADERS, END_STREAM, talk.number + 2, b"\x83"))
    assert dies_of(talk, again) == ErrorCode.PROTOCOL_ERROR


# 5.1: states


@pytest.mark.parametrize("what", ["data", "reset", "window", "continuation"])
def test_5_1_idle(what: str) -> None:
    talk = Talk()
    data = {
        "data": frame(DATA, END_STREAM, 1, b"test"),
        "reset": talk.reset(1),
        "window": talk.window(1, 100),
        "continuation": frame(CONTINUATION, END_HEADERS, 1, b""),
    }
    assert dies_of(talk, data[what]) == ErrorCode.PROTOCOL_ERROR


def test_5_1_half_closed_remote_data() -> None:
    talk = Talk()
    talk.say(talk.call())
    assert talk.say(frame(DATA, END_STREAM, 1, b"test")) == [Cancelled(1, "DATA after the end of the stream")]
    assert talk.reset_with(1) == ErrorCode.STREAM_CLOSED


def test_5_1_half_closed_remote_headers() -> None:
    talk = Talk()
    talk.say(talk.call())
    talk.say(frame(HEADERS, WHOLE, 1, talk.block()))
    assert talk.reset_with(1) == ErrorCode.STREAM_CLOSED


def test_5_1_half_closed_remote_continuation() -> None:
    talk = Talk()
    talk.say(talk.call())
    assert dies_of(talk, frame(CONTINUATION, END_HEADERS, 1, b"")) == ErrorCode.PROTOCOL_ERROR


def ended(how: str) -> Talk:
    """A connection whose stream 1 was closed."""
    talk = Talk()
    talk.opened()
    if how == "reset by the client":
        talk.say(talk.reset(1))
    else:
        talk.say(talk.data(b"", ended=True))
        talk.http.respond(1, b"")
    talk.heard()
    return talk


@pytest.mark.parametrize("how", ["reset by the client", "answered"])
def test_5_1_closed_data(how: str) -> None:
    talk = ended(how)
    talk.say(frame(DATA, END_STREAM, 1, b"test"))
    assert talk.reset_with(1) == ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize("how", ["reset by the client", "answered"])
def test_5_1_closed_headers(how: str) -> None:
    talk = ended(how)
    assert dies_of(talk, frame(HEADERS, WHOLE, 1, talk.block())) == ErrorCode.STREAM_CLOSED


@pytest.mark.parametrize("how", ["reset by the client", "answered"])
def test_5_1_closed_continuation(how: str) -> None:
    talk = ended(how)
    assert dies_of(talk, frame(CONTINUATION, END_HEADERS, 1, b"")) == ErrorCode.PROTOCOL_ERROR


def test_5_1_what_was_under_way_when_we_reset_a_stream_is_ignored() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.window(number, 0))
    assert talk.reset_with(number) == ErrorCode.PROTOCOL_ERROR
    block = frame(HEADERS, WHOLE, number, talk.block([("x", "y")]))
    talk.say(frame(DATA, 0, number, b"late") + talk.window(number, 5) + block)
    assert talk.heard() == []
    talk.goes_on()


# 5.1.1, 5.1.2: numbers


def test_5_1_1_even_numbers_are_not_a_clients() -> None:
    talk = Talk()
    assert dies_of(talk, frame(HEADERS, WHOLE, 2, talk.block())) == ErrorCode.PROTOCOL_ERROR


def test_5_1_1_numbers_only_grow() -> None:
    talk = Talk()
    talk.say(frame(HEADERS, WHOLE, 5, talk.block()))
    assert dies_of(talk, frame(HEADERS, WHOLE, 3, talk.block())) == ErrorCode.PROTOCOL_ERROR


def test_5_1_1_numbers_that_were_left_out_in_the_short_way_count_too() -> None:
    talk = Talk()
    talk.say(talk.call() + talk.call())
    talk.number += 4
    talk.say(talk.call())
    assert dies_of(talk, frame(HEADERS, WHOLE, 7, talk.block())) == ErrorCode.PROTOCOL_ERROR


def test_5_1_2_one_stream_more_than_allowed_is_refused() -> None:
    talk = Talk(Limits(max_streams=3))
    for _ in range(3):
        talk.opened()
    assert talk.say(talk.call()) == []
    refused = talk.number
    talk.say(talk.reset(1))
    assert talk.reset_with(refused) == ErrorCode.REFUSED_STREAM


# 5.3: priorities


def test_5_3_1_headers_that_depend_on_themselves() -> None:
    talk = Talk()
    talk.number = 1
    talk.say(frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, b"\x00\x00\x00\x01\xff" + talk.block()))
    assert talk.reset_with(1) == ErrorCode.PROTOCOL_ERROR


def test_5_3_1_priority_that_depends_on_itself() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(frame(PRIORITY, 0, number, b"\x00\x00\x00\x01\x10"))
    assert talk.reset_with(number) == ErrorCode.PROTOCOL_ERROR


# 5.4.1, 5.5


def test_5_4_1_the_connection_closes_after_a_goaway_that_says_up_to_where() -> None:
    talk = Talk()
    talk.say(talk.call() + talk.call())
    talk.say(frame(PING, 0, 0, bytes(6)))
    last = talk.heard()[-1]
    assert int.from_bytes(last.payload[:4]) == 3
    assert last.payload[8:] == b"a PING frame has 8 bytes, not 6"
    assert talk.say(talk.call()) == []
    assert talk.heard() == []


def test_5_5_unknown_frames_are_ignored_but_not_within_a_header_block() -> None:
    talk = Talk()
    talk.say(frame(0x20, 0x7F, 0, b"unknown"))
    talk.goes_on()
    talk.say(frame(HEADERS, END_STREAM, talk.number + 2, talk.block()[:3]))
    assert dies_of(talk, frame(0x20, 0, 0, b"")) == ErrorCode.PROTOCOL_ERROR


def test_unknown_settings_are_ignored() -> None:
    talk = Talk()
    talk.say(settings((0xFF, 1)))
    assert [f.kind for f in talk.heard()] == [SETTINGS]
    talk.goes_on()


def test_8_2_a_client_pushes_nothing() -> None:
    talk = Talk()
    promise = frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02" + talk.block(FIELDS))
    assert dies_of(talk, promise) == ErrorCode.PROTOCOL_ERROR
