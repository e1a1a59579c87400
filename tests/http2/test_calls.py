"""Calls of every shape: what the application is told, and what the client hears."""

from __future__ import annotations

import gzip

import pytest
from tests.http2.talk import SECOND, Frame, Talk, called, packed, split

from coterie.http2 import Cancelled, Ended, Limits, LimitsError, Received, Status
from coterie.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame


def test_a_unary_call_in_one_read_is_one_event() -> None:
    talk = Talk()
    for message in (b"", b"first", b"second" * 1000):
        (event,) = talk.say(talk.call(message))
        assert called(event).stream == talk.number
        assert called(event).path == "/test/Echo"
        assert called(event).metadata == ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
        assert called(event).message == message
        assert called(event).ended


def test_calls_in_one_read_are_one_event_each_however_their_frames_are_mixed() -> None:
    talk = Talk()
    talk.say(talk.call())
    heads = talk.headers() + talk.headers() + talk.headers()
    datas = b"".join(talk.data(packed(b"%d" % n), n, ended=True) for n in (7, 3, 5))
    assert [(called(e).stream, called(e).message) for e in talk.say(heads + datas)] == [(7, b"7"), (3, b"3"), (5, b"5")]


def test_a_unary_answer_is_headers_a_message_and_trailers_in_one_write() -> None:
    talk = Talk()
    talk.say(talk.call(b"hello"))
    talk.http.respond(1, b"answer")
    opening, data, end = split(talk.http.take_output())
    assert (opening.kind, opening.flags, opening.stream) == (HEADERS, END_HEADERS, 1)
    assert talk.fields(opening.payload) == {":status": "200", "content-type": "application/grpc"}
    assert data == Frame(DATA, 0, 1, packed(b"answer"))
    assert (end.kind, end.flags, end.stream) == (HEADERS, END_HEADERS | END_STREAM, 1)
    assert talk.fields(end.payload) == {"grpc-status": "0"}
    assert not talk.http.streams


def test_a_call_whose_message_comes_later_is_told_at_once() -> None:
    talk = Talk()
    number = talk.opened()
    assert talk.say(talk.data(packed(b"one"))) == [Received(number, b"one")]
    both = talk.say(talk.data(packed(b"two") + packed(b"three")))
    assert both == [Received(number, b"two"), Received(number, b"three")]
    assert talk.say(talk.data(packed(b"four"), ended=True)) == [Received(number, b"four"), Ended(number)]


def test_the_first_message_comes_with_the_call_if_it_is_there() -> None:
    talk = Talk()
    first, second = talk.say(talk.headers() + talk.data(packed(b"one") + packed(b"two")))
    assert (called(first).message, called(first).ended) == (b"one", False)
    assert second == Received(1, b"two")


def test_a_call_without_any_message_is_told() -> None:
    talk = Talk()
    (event,) = talk.say(talk.headers(flags=END_HEADERS | END_STREAM))
    assert (called(event).message, called(event).ended) == (None, True)
    (event,) = talk.say(talk.headers() + talk.data(b"", ended=True))
    assert (called(event).message, called(event).ended) == (None, True)


def test_a_server_answers_before_the_client_has_said_everything() -> None:
    talk = Talk()
    number = talk.opened()
    talk.http.finish(number, Status.NOT_FOUND, "none")
    opening, end = talk.heard()
    assert talk.fields(opening.payload)["grpc-status"] == "5"
    assert end == Frame(RST_STREAM, 0, number, bytes(4))
    # What the client sent before it heard so is ignored.
    assert talk.say(talk.data(packed(b"late")) + talk.data(b"", ended=True)) == []
    assert talk.heard() == []
    talk.goes_on()


def test_a_streaming_answer_goes_on_after_the_client_has_said_everything() -> None:
    talk = Talk()
    talk.say(talk.call(b"watch"))
    for n in range(3):
        talk.http.send(1, b"%d" % n)
    kinds = [(f.kind, f.payload) for f in talk.heard()[1:]]
    assert kinds == [(DATA, packed(b"0")), (DATA, packed(b"1")), (DATA, packed(b"2"))]
    talk.http.finish(1)
    assert talk.answered_with(1) == {"grpc-status": "0"}


def test_what_is_said_of_a_stream_that_is_over_is_dropped() -> None:
    talk = Talk()
    number = talk.opened()
    assert talk.say(talk.reset(number)) == [Cancelled(number, "the client reset the stream")]
    talk.http.send(number, b"late")
    talk.http.respond(number, b"late")
    talk.http.finish(number)
    talk.http.read(number)
    assert talk.http.unsent(number) == 0
    assert talk.heard() == []


@pytest.mark.parametrize("then", ["message", "end", "reset", "stall", "lost"])
def test_nothing_is_told_of_a_call_after_its_status_was_said(then: str) -> None:
    talk = Talk()
    number = talk.opened()
    talk.http.send(number, bytes(100_000))
    talk.http.finish(number)
    talk.heard()
    assert talk.http.unsent(number) > 0
    if then == "message":
        assert talk.say(talk.data(packed(b"late"))) == []
    elif then == "end":
        assert talk.say(talk.data(packed(b"late"), ended=True)) == []
    elif then == "reset":
        assert talk.say(talk.reset(number)) == []
    elif then == "stall":
        assert talk.after(40 * SECOND) == []
    else:
        assert talk.http.lost() == []


def test_a_deadline_is_kept_by_the_connection() -> None:
    talk = Talk()
    (event,) = talk.say(talk.call(b"", ("grpc-timeout", "1500m")))
    assert called(event).deadline == talk.now + 3 * SECOND // 2
    assert talk.http.deadline == called(event).deadline
    assert talk.after(3 * SECOND // 2 - 1) == []
    assert talk.after(1) == [Cancelled(1, "the call's deadline passed")]
    assert talk.answered_with(1) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "4",
        "grpc-message": "context deadline exceeded",
    }


def test_a_deadline_that_was_kept_is_forgotten() -> None:
    talk = Talk()
    for _ in range(1000):
        talk.say(talk.call(b"", ("grpc-timeout", "1S")))
        talk.http.respond(talk.number, b"")
    assert len(talk.http._streams.timeouts) <= 65
    assert talk.after(5 * SECOND) == []


@pytest.mark.parametrize(("value", "nanoseconds"), [("1H", 3600 * SECOND), ("2M", 120 * SECOND), ("3S", 3 * SECOND)])
def test_units_of_timeouts(value: str, nanoseconds: int) -> None:
    talk = Talk()
    (event,) = talk.say(talk.call(b"", ("grpc-timeout", value)))
    assert called(event).deadline == talk.now + nanoseconds


def test_a_compressed_call_is_answered_compressed() -> None:
    talk = Talk()
    message = b"again and " * 1000
    data = packed(gzip.compress(message), 1)
    (event,) = talk.say(talk.headers(("grpc-encoding", "gzip")) + talk.data(data, ended=True))
    assert called(event).message == message
    talk.http.respond(1, message)
    opening, answer, _ = talk.heard()
    assert talk.fields(opening.payload)["grpc-encoding"] == "gzip"
    assert answer.payload[0] == 1
    assert gzip.decompress(answer.payload[5:]) == message


def test_a_padded_frame_is_read_without_its_padding() -> None:
    talk = Talk()
    data = frame(DATA, END_STREAM | 0x8, 1, b"\x03" + packed(b"hello") + bytes(3))
    (event,) = talk.say(talk.headers() + data)
    assert called(event).message == b"hello"


def test_trailers_of_the_client_end_its_side() -> None:
    talk = Talk()
    number = talk.opened()
    block = frame(HEADERS, END_HEADERS | END_STREAM, number, talk.block([("checksum", "1")]))
    assert talk.say(talk.data(packed(b"one")) + block) == [Received(number, b"one"), Ended(number)]


def test_all_open_calls_are_cancelled_once_when_the_connection_is_lost() -> None:
    talk = Talk()
    numbers = [talk.opened() for _ in range(3)]
    assert talk.http.lost() == [Cancelled(number, "the connection closed") for number in numbers]
    assert talk.http.lost() == []
    assert talk.http.closed
    assert talk.http.deadline is None


def test_a_block_that_is_known_is_known_no_more_once_the_table_has_changed() -> None:
    talk = Talk()
    request = b"\x83\x86\x04\x0a/test/Echo\x0f\x10\x10application/grpc"

    def token(block: bytes) -> bytes:
        talk.number += 2
        (event,) = talk.say(frame(HEADERS, END_HEADERS | END_STREAM, talk.number, block))
        return dict(called(event).metadata)[b"token"]

    assert token(request + b"\x40\x05token\x05first") == b"first"
    newest = request + b"\xbe"
    for _ in range(3):
        assert token(newest) == b"first"
    assert token(request + b"\x40\x05token\x06second") == b"second"
    for _ in range(3):
        assert token(newest) == b"second"
    # Trailers and requests that are refused change the table as well.
    talk.say(talk.headers())
    talk.say(frame(HEADERS, END_HEADERS | END_STREAM, talk.number, b"\x40\x05token\x05third"))
    assert token(newest) == b"third"
    talk.number += 2
    talk.say(frame(HEADERS, END_HEADERS | END_STREAM, talk.number, b"\x82\x40\x05token\x06fourth"))
    assert talk.http._streams.live.get(talk.number) is None
    assert token(newest) == b"fourth"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_frame_bytes": 16_383}, "max_frame_bytes is 16383: it must be between 16384 and 16777215"),
        ({"max_streams": 0}, "max_streams is 0: it must be a whole number above 0"),
        ({"max_received_bytes": 4_325_373}, "max_received_bytes is 4325373: it must be at least 4325374"),
        ({"low_water_bytes": 262_145}, "low_water_bytes is 262145: it must be between 1 and 262144"),
        ({"connection_window_bytes": 65_534}, "connection_window_bytes is 65534: it must be between 65535 and"),
    ],
)
def test_a_limit_that_breaks_its_rule_is_named(changes: dict[str, int], problem: str) -> None:
    with pytest.raises(LimitsError, match=problem):
        Limits(**changes)
