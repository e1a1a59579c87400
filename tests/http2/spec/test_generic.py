"""h2spec's generic cases: what every server must take. Named after its sections."""

from __future__ import annotations

import pytest
from tests.http2.talk import FIELDS, Frame, Talk, called, packed, settings

from coterie.http2 import PREFACE, Called, Cancelled, Ended, Received
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
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

WHOLE = END_HEADERS | END_STREAM


def get(talk: Talk) -> bytes:
    """A request that is none of gRPC's."""
    talk.number += 2
    return frame(HEADERS, WHOLE, talk.number, talk.block([(":method", "GET"), *FIELDS[1:]]))


def test_1_1_the_client_connection_preface() -> None:
    talk = Talk(greeted=False)
    assert talk.greeting[0].kind == SETTINGS
    talk.say(PREFACE + settings())
    assert Frame(SETTINGS, ACK, 0, b"") in talk.heard()


def test_2_1_priority_on_an_idle_stream_and_then_a_call_on_a_lower_one() -> None:
    talk = Talk()
    talk.say(frame(PRIORITY, 0, 9, b"\x00\x00\x00\x00\x10"))
    talk.goes_on()


def test_2_2_window_update_on_a_half_closed_stream() -> None:
    talk = Talk()
    talk.say(talk.call())
    assert talk.say(talk.window(1, 100)) == []
    talk.http.respond(1, b"")
    assert talk.answered_with(1)["grpc-status"] == "0"


def test_2_3_priority_on_a_half_closed_stream() -> None:
    talk = Talk()
    talk.say(talk.call())
    assert talk.say(frame(PRIORITY, 0, 1, b"\x00\x00\x00\x00\x10")) == []
    talk.http.respond(1, b"")
    assert talk.answered_with(1)["grpc-status"] == "0"


def test_2_4_rst_stream_on_a_half_closed_stream() -> None:
    talk = Talk()
    talk.say(talk.call())
    assert talk.say(talk.reset(1)) == [Cancelled(1, "the client reset the stream")]
    talk.goes_on()


@pytest.mark.parametrize("late", ["window", "priority", "reset"])
def test_2_5_late_frames_on_a_closed_stream(late: str) -> None:
    talk = Talk()
    talk.say(talk.call())
    talk.http.respond(1, b"")
    talk.heard()
    data = {"window": talk.window(1, 1), "priority": frame(PRIORITY, 0, 1, bytes(4) + b"\x10"), "reset": talk.reset(1)}
    assert talk.say(data[late]) == []
    assert talk.heard() == []
    talk.goes_on()


def test_3_1_data() -> None:
    talk = Talk()
    number = talk.opened()
    assert talk.say(talk.data(packed(b"test"))) == [Received(number, b"test")]


def test_3_1_several_data() -> None:
    talk = Talk()
    number = talk.opened()
    message = packed(b"a test")
    assert talk.say(talk.data(message[:3])) == talk.say(talk.data(message[3:6])) == []
    assert talk.say(talk.data(message[6:], ended=True)) == [Received(number, b"a test"), Ended(number)]


def test_3_1_data_with_padding() -> None:
    talk = Talk()
    number = talk.opened()
    data = frame(DATA, PADDED, number, b"\x06" + packed(b"test") + bytes(6))
    assert talk.say(data) == [Received(number, b"test")]


def test_3_2_headers() -> None:
    talk = Talk()
    talk.say(get(talk))
    assert talk.answered_with()[":status"] == "405"


@pytest.mark.parametrize("flags", [PADDED, PRIORITY_FLAG, PADDED | PRIORITY_FLAG])
def test_3_2_headers_with_padding_and_priority(flags: int) -> None:
    talk = Talk()
    payload = (b"\x08" if flags & PADDED else b"") + (b"\x00\x00\x00\x00\x10" if flags & PRIORITY_FLAG else b"")
    payload += talk.block() + (bytes(8) if flags & PADDED else b"")
    (event,) = talk.say(frame(HEADERS, WHOLE | flags, 1, payload))
    assert called(event).path == "/test/Echo"


def test_3_2_headers_over_continuations() -> None:
    talk = Talk()
    block = talk.block()
    parts = [frame(HEADERS, END_STREAM, 1, block[:5]), frame(CONTINUATION, 0, 1, block[5:9])]
    (event,) = talk.say(b"".join(parts) + frame(CONTINUATION, END_HEADERS, 1, block[9:]))
    assert (called(event).path, called(event).ended) == ("/test/Echo", True)


@pytest.mark.parametrize("priority", [b"\x00\x00\x00\x00\x00", b"\x80\x00\x00\x00\x00", b"\x00\x00\x00\x01\xff"])
def test_3_3_priority(priority: bytes) -> None:
    talk = Talk()
    talk.say(frame(PRIORITY, 0, 3, priority))
    talk.goes_on()


def test_3_4_rst_stream() -> None:
    talk = Talk()
    number = talk.opened()
    assert talk.say(talk.reset(number)) == [Cancelled(number, "the client reset the stream")]
    talk.goes_on()


def test_3_5_settings() -> None:
    talk = Talk()
    talk.say(settings((0x1, 4096), (0x2, 0), (0x3, 100), (0x4, 65535), (0x5, 16384), (0x6, 100)))
    assert talk.heard() == [Frame(SETTINGS, ACK, 0, b"")]


def test_3_7_ping() -> None:
    talk = Talk()
    talk.say(frame(PING, 0, 0, b"h2spec\x00\xff"))
    assert talk.heard() == [Frame(PING, ACK, 0, b"h2spec\x00\xff")]
    talk.goes_on()


def test_3_8_goaway() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.goaway())
    talk.http.finish(number)
    assert talk.answered_with(number)["grpc-status"] == "0"


def test_3_9_window_update() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.window(0, 1) + talk.window(number, 1))
    assert talk.heard() == []
    talk.goes_on()


def test_3_10_continuation_without_anything_in_it() -> None:
    talk = Talk()
    talk.say(frame(HEADERS, END_STREAM, 1, talk.block()) + frame(CONTINUATION, END_HEADERS, 1, b""))
    assert [type(event) for event in talk.events] == [Called]


def test_4_1_a_request_over_many_frames() -> None:
    talk = Talk()
    number = talk.opened()
    message = packed(bytes(100))
    for byte in message[:-1]:
        assert talk.say(talk.data(bytes((byte,)))) == []
    assert talk.say(talk.data(message[-1:])) == [Received(number, bytes(100))]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
def test_4_2_other_methods_are_answered(method: str) -> None:
    talk = Talk()
    talk.number += 2
    talk.say(frame(HEADERS, WHOLE, talk.number, talk.block([(":method", method), *FIELDS[1:]])))
    fields = talk.answered_with()
    assert (fields[":status"], fields["grpc-status"]) == ("405", "13")


def test_4_4_a_call_with_trailers() -> None:
    talk = Talk()
    number = talk.opened()
    trailers = frame(HEADERS, WHOLE, number, talk.block([("x-test", "ok")]))
    assert talk.say(talk.data(packed(b"one")) + trailers) == [Received(number, b"one"), Ended(number)]
    talk.http.respond(number, b"")
    assert talk.answered_with(number)["grpc-status"] == "0"


def literal(name: bytes, value: bytes, first: bytes) -> bytes:
    return first + bytes((len(name),)) + name + bytes((len(value),)) + value


REQUEST = b"\x83\x86\x04\x0a/test/Echo" + b"\x0f\x10\x10application/grpc"
HUFFMAN = bytes.fromhex("25a849e95ba97d7f"), bytes.fromhex("25a849e95bb8e8b4bf")


@pytest.mark.parametrize(
    "field",
    [
        b"\x8f",  # 5.1: static, indexed (accept-charset)
        literal(b"custom-key", b"custom-value", b"\x40"),
        b"\x40\x88" + HUFFMAN[0] + b"\x89" + HUFFMAN[1],
        b"\x7a\x04test",  # static name 58 (user-agent), indexed
        literal(b"custom-key", b"custom-value", b"\x00"),
        b"\x00\x88" + HUFFMAN[0] + b"\x89" + HUFFMAN[1],
        b"\x0f\x2b\x04test",
        literal(b"custom-key", b"custom-value", b"\x10"),
        b"\x10\x88" + HUFFMAN[0] + b"\x89" + HUFFMAN[1],
        b"\x1f\x2b\x04test",
        literal(b"custom-key", b"custom-value", b"\x40") + b"\xbe",  # dynamic, indexed
        literal(b"custom-key", b"custom-value", b"\x40") + b"\x7e\x04test",  # dynamic name
    ],
)
def test_5_every_representation_of_a_field(field: bytes) -> None:
    talk = Talk()
    (event,) = talk.say(frame(HEADERS, WHOLE, 1, REQUEST + field))
    name, value = called(event).metadata[-1]
    assert (name, value) in {
        (b"accept-charset", b""),
        (b"custom-key", b"custom-value"),
        (b"user-agent", b"test"),
        (b"custom-key", b"test"),
    }


@pytest.mark.parametrize("updates", [b"\x20", b"\x20\x3f\xe1\x1f", b"\x3f\xe1\x1f"])
def test_5_dynamic_table_size_update(updates: bytes) -> None:
    talk = Talk()
    (event,) = talk.say(frame(HEADERS, WHOLE, 1, updates + REQUEST))
    assert called(event).path == "/test/Echo"


def test_frames_of_unknown_types_are_ignored() -> None:
    talk = Talk()
    talk.say(frame(0x16, 0xFF, 0, b"anything") + frame(0x17, 0, 5, b""))
    talk.goes_on()


def test_kinds_of_the_servers_own_frames() -> None:
    talk = Talk(greeted=False)
    assert [f.kind for f in talk.greeting] == [SETTINGS, WINDOW_UPDATE]
    assert GOAWAY not in {f.kind for f in talk.heard()}
