"""h2spec's cases of RFC 9113 (7540), section 6: where each type of frame must not be, and how long."""

from __future__ import annotations

import pytest
from tests.http2.talk import Frame, Talk, packed, settings

from coterie.http2 import ErrorCode
from coterie.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PRIORITY_FLAG,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

WHOLE = END_HEADERS | END_STREAM
PROTOCOL, SIZE, FLOW = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR
MOST = 2**31 - 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(DATA, END_STREAM, 0, b"test"), PROTOCOL, id="6.1 DATA on no stream"),
        pytest.param(frame(DATA, PADDED, 1, b"\x06test"), PROTOCOL, id="6.1 padding longer than the frame"),
        pytest.param(frame(DATA, PADDED, 1, b"\x05test"), PROTOCOL, id="6.1 padding as long as the frame"),
        pytest.param(frame(DATA, PADDED, 1, b""), SIZE, id="6.1 no length of padding"),
        pytest.param(frame(HEADERS, WHOLE, 0, b"\x83"), PROTOCOL, id="6.2 HEADERS on no stream"),
        pytest.param(frame(HEADERS, WHOLE | PADDED, 3, b"\x02\x83"), PROTOCOL, id="6.2 padding longer than the frame"),
        pytest.param(frame(HEADERS, WHOLE | PRIORITY_FLAG, 3, bytes(4)), SIZE, id="6.2 half a priority"),
        pytest.param(frame(PRIORITY, 0, 0, bytes(4) + b"\x10"), PROTOCOL, id="6.3 PRIORITY on no stream"),
        pytest.param(frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL, id="6.4 RST_STREAM on no stream"),
        pytest.param(frame(RST_STREAM, 0, 3, bytes(4)), PROTOCOL, id="6.4 RST_STREAM on an idle stream"),
        pytest.param(frame(RST_STREAM, 0, 1, bytes(3)), SIZE, id="6.4 RST_STREAM of 3 bytes"),
        pytest.param(frame(RST_STREAM, 0, 1, bytes(5)), SIZE, id="6.4 RST_STREAM of 5 bytes"),
        pytest.param(frame(SETTINGS, ACK, 0, bytes(1)), SIZE, id="6.5 an acknowledgement with something in it"),
        pytest.param(frame(SETTINGS, 0, 1, bytes(6)), PROTOCOL, id="6.5 SETTINGS on a stream"),
        pytest.param(frame(SETTINGS, 0, 0, bytes(3)), SIZE, id="6.5 SETTINGS of 3 bytes"),
        pytest.param(settings((0x2, 2)), PROTOCOL, id="6.5.2 ENABLE_PUSH 2"),
        pytest.param(settings((0x4, MOST + 1)), FLOW, id="6.5.2 INITIAL_WINDOW_SIZE one too large"),
        pytest.param(settings((0x5, 16_383)), PROTOCOL, id="6.5.2 MAX_FRAME_SIZE one too small"),
        pytest.param(settings((0x5, 1 << 24)), PROTOCOL, id="6.5.2 MAX_FRAME_SIZE one too large"),
        pytest.param(frame(PING, 0, 1, bytes(8)), PROTOCOL, id="6.7 PING on a stream"),
        pytest.param(frame(PING, 0, 0, bytes(6)), SIZE, id="6.7 PING of 6 bytes"),
        pytest.param(frame(PING, 0, 0, bytes(9)), SIZE, id="6.7 PING of 9 bytes"),
        pytest.param(frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL, id="6.8 GOAWAY on a stream"),
        pytest.param(frame(GOAWAY, 0, 0, bytes(7)), SIZE, id="6.8 GOAWAY of 7 bytes"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, bytes(4)), PROTOCOL, id="6.9 WINDOW_UPDATE by nothing"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE, id="6.9 WINDOW_UPDATE of 3 bytes"),
        pytest.param(frame(WINDOW_UPDATE, 0, 1, bytes(5)), SIZE, id="6.9 WINDOW_UPDATE of 5 bytes"),
        pytest.param(frame(WINDOW_UPDATE, 0, 3, bytes(3) + b"\x01"), PROTOCOL, id="6.9 on an idle stream"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, MOST.to_bytes(4)), FLOW, id="6.9.1 above the largest window"),
        pytest.param(frame(CONTINUATION, END_HEADERS, 0, b""), PROTOCOL, id="6.10 CONTINUATION on no stream"),
        pytest.param(frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL, id="6.10 CONTINUATION after a whole block"),
        pytest.param(frame(DATA, 0, 1, b"x") + frame(CONTINUATION, 4, 1, b""), PROTOCOL, id="6.10 after DATA"),
    ],
)
def test_what_ends_the_connection(data: bytes, code: ErrorCode) -> None:
    talk = Talk()
    talk.opened()
    talk.say(data)
    assert talk.closed_with() == code


def test_6_10_continuation_after_the_last_continuation() -> None:
    talk = Talk()
    block = talk.block()
    data = frame(HEADERS, END_STREAM, 1, block[:5]) + frame(CONTINUATION, END_HEADERS, 1, block[5:])
    talk.say(data + frame(CONTINUATION, END_HEADERS, 1, b""))
    assert talk.closed_with() == PROTOCOL


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(PRIORITY, 0, 1, bytes(4)), SIZE, id="6.3 PRIORITY of 4 bytes"),
        pytest.param(frame(WINDOW_UPDATE, 0, 1, bytes(4)), PROTOCOL, id="6.9 WINDOW_UPDATE by nothing"),
        pytest.param(frame(WINDOW_UPDATE, 0, 1, MOST.to_bytes(4)), FLOW, id="6.9.1 above the largest window"),
        pytest.param(
            frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x01b"), PROTOCOL, id="8.1 a second HEADERS, not the last"
        ),
    ],
)
def test_what_ends_the_stream(data: bytes, code: ErrorCode) -> None:
    talk = Talk()
    talk.opened()
    talk.say(data)
    assert talk.reset_with(1) == code


def test_6_5_3_settings_are_acknowledged_in_order() -> None:
    talk = Talk()
    talk.say(settings((0x4, 1)) + frame(PING, 0, 0, bytes(8)) + settings((0x4, 2)))
    assert [(f.kind, f.flags) for f in talk.heard()] == [(SETTINGS, ACK), (PING, ACK), (SETTINGS, ACK)]


def test_6_5_3_of_a_setting_that_is_there_twice_the_last_counts() -> None:
    talk = Talk()
    talk.say(settings((0x4, 1), (0x4, 7)) + talk.call())
    talk.heard()
    talk.http.respond(1, b"a longer answer")
    assert [f.payload for f in talk.heard() if f.kind == DATA] == [packed(b"a longer answer")[:7]]


def test_6_7_an_acknowledgement_of_a_ping_is_not_answered() -> None:
    talk = Talk()
    talk.say(frame(PING, ACK, 0, bytes(8)))
    assert talk.heard() == []
    talk.goes_on()


def data_of(talk: Talk, number: int = 1) -> list[bytes]:
    return [f.payload for f in talk.heard() if f.kind == DATA and f.stream == number]


def test_6_9_1_no_more_is_sent_than_the_streams_window_allows() -> None:
    talk = Talk()
    talk.say(settings((0x4, 1)) + talk.call())
    talk.heard()
    talk.http.respond(1, b"abc")
    answer = packed(b"abc")
    assert data_of(talk) == [answer[:1]]
    assert talk.http.unsent(1) == 7
    talk.say(talk.window(1, 2) + talk.window(1, 1))
    assert data_of(talk) == [answer[1:4]]
    talk.say(talk.window(1, 100))
    assert talk.heard()[0] == Frame(DATA, 0, 1, answer[4:])
    assert not talk.http.streams


def test_6_9_1_no_more_is_sent_than_the_connections_window_allows() -> None:
    talk = Talk()
    talk.say(settings((0x4, 1 << 20)) + talk.call() + talk.call())
    talk.heard()
    talk.http.respond(1, bytes(65_000))
    talk.http.respond(3, bytes(65_000))
    sent = [(f.stream, len(f.payload)) for f in talk.heard() if f.kind == DATA]
    assert sum(size for _, size in sent) == 65_535
    assert [stream for stream, _ in sent] == [1, 3, 1, 3]
    talk.say(talk.window(0, 1 << 20))
    sent = [(f.stream, len(f.payload)) for f in talk.heard() if f.kind == DATA]
    assert sum(size for _, size in sent) == 2 * 65_005 - 65_535
    assert not talk.http.streams


def test_6_9_2_a_smaller_initial_window_makes_windows_negative() -> None:
    talk = Talk()
    talk.say(settings((0x4, 3)) + talk.call())
    talk.heard()
    talk.http.respond(1, b"abc")
    answer = packed(b"abc")
    assert data_of(talk) == [answer[:3]]
    talk.say(settings((0x4, 2)))
    assert data_of(talk) == []
    talk.say(talk.window(1, 1))
    assert data_of(talk) == []
    talk.say(talk.window(1, 1))
    assert data_of(talk) == [answer[3:4]]


def test_6_9_2_a_larger_initial_window_lets_go_on() -> None:
    talk = Talk()
    talk.say(settings((0x4, 0)) + talk.call())
    talk.heard()
    talk.http.respond(1, b"abc")
    assert data_of(talk) == []
    talk.say(settings((0x4, 100)))
    assert data_of(talk) == [packed(b"abc")]


def test_6_9_2_a_change_that_makes_a_window_too_large_ends_the_connection() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.window(number, MOST - 65_535))
    assert not talk.http.closed
    talk.say(settings((0x4, 65_536)))
    assert talk.closed_with() == FLOW
