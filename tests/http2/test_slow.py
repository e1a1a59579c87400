"""Clients that wait: streams and connections without progress are cut off, others are unharmed, and nothing grows."""

from __future__ import annotations

import gzip

import pytest
from tests.http2.talk import SECOND, Talk, packed, settings

from coterie.http2 import PREFACE, Cancelled, Drained, ErrorCode, Limits, Received
from coterie.http2.frames import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, frame
from coterie.http2.limits import KIB, MIB

CALM = ErrorCode.ENHANCE_YOUR_CALM
STALL = Limits().stall_timeout


def lives_through(talk: Talk, nanoseconds: int) -> None:
    """Time passes in steps, as timers run out; nothing happens."""
    end = talk.now + nanoseconds
    while talk.now < end:
        deadline = talk.http.deadline
        assert deadline is not None
        assert deadline > talk.now
        assert talk.after(min(deadline, end) - talk.now) == []
        assert not talk.http.closed


# The client's frames


def test_settings_that_do_not_come() -> None:
    talk = Talk(greeted=False)
    talk.say(PREFACE)
    lives_through(talk, 10 * SECOND - 1)
    talk.after(1)
    assert talk.closed_with() == ErrorCode.SETTINGS_TIMEOUT


def test_settings_that_are_not_acknowledged() -> None:
    talk = Talk(greeted=False)
    talk.say(PREFACE + settings() + talk.call())
    talk.http.respond(1, b"")
    lives_through(talk, 10 * SECOND - 1)
    talk.after(1)
    assert talk.closed_with() == ErrorCode.SETTINGS_TIMEOUT


@pytest.mark.parametrize("half", [b"\x00", frame(DATA, 0, 1, bytes(100))[:50], frame(HEADERS, 0, 3, b"\x83")])
def test_half_a_frame_or_header_block(half: bytes) -> None:
    talk = Talk()
    talk.opened()
    talk.say(talk.data(packed(b"")))
    talk.say(half)
    lives_through(talk, STALL - 1)
    assert talk.after(1)[0] == Cancelled(1, talk.http.reason)
    assert talk.closed_with() == CALM


def test_half_a_frame_that_comes_byte_by_byte_has_no_more_time() -> None:
    talk = Talk()
    data = frame(PING, 0, 0, bytes(8))
    for byte in data[:10]:
        talk.say(bytes((byte,)))
        talk.after(STALL // 10 - 1)
        assert not talk.http.closed
    talk.after(10)
    assert talk.closed_with() == CALM


def test_a_header_block_that_comes_frame_by_frame_has_no_more_time() -> None:
    talk = Talk()
    talk.say(frame(HEADERS, 0, 1, b"\x83"))
    for _ in range(5):
        talk.after(STALL // 5 - 1)
        talk.say(frame(CONTINUATION, 0, 1, b"\x83"))
        assert not talk.http.closed
    talk.after(5)
    assert talk.closed_with() == CALM


def test_whole_frames_one_after_the_other_may_take_as_long_as_they_like() -> None:
    talk = Talk()
    for _ in range(10):
        data = frame(PING, 0, 0, bytes(8))
        talk.say(data[:5])
        lives_through(talk, STALL - 1)
        talk.say(data[5:] + data[:3])
        lives_through(talk, STALL - 1)
        talk.say(data[3:])


# The client's messages


def test_a_call_without_its_first_message() -> None:
    talk = Talk()
    number = talk.opened()
    lives_through(talk, STALL - 1)
    (event,) = talk.after(2 * SECOND)
    assert isinstance(event, Cancelled)
    assert talk.answered_with(number)["grpc-status"] == "4"


def test_half_a_message() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.data(packed(bytes(1000))[:500]))
    lives_through(talk, STALL - 1)
    talk.say(talk.data(b"x"))
    lives_through(talk, STALL - 1)
    assert [type(event) for event in talk.after(2 * SECOND)] == [Cancelled]
    assert talk.answered_with(number)["grpc-status"] == "4"


def test_a_stream_whose_messages_are_whole_may_be_silent_for_ever() -> None:
    talk = Talk(Limits(keepalive_interval=10**6 * SECOND))
    number = talk.opened()
    talk.say(talk.data(packed(b"watch")))
    lives_through(talk, 10**5 * SECOND)
    talk.http.send(number, b"event")
    assert [f.payload for f in talk.heard() if f.kind == DATA] == [packed(b"event")]


def test_a_message_that_is_said_to_be_a_gibibyte_is_refused_before_anything_is_kept() -> None:
    talk = Talk()
    number = talk.opened()
    assert [type(e) for e in talk.say(talk.data(b"\x00\x40\x00\x00\x00"))] == [Cancelled]
    answer = talk.answered_with(number)
    text = "grpc: received message larger than max (1073741824 vs. 2097152)"
    assert (answer["grpc-status"], answer["grpc-message"]) == ("8", text)
    assert talk.http._credit.held == 0


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        (2, "grpc: received unexpected payload format 2"),
        (1, "grpc: compressed flag set with identity or empty encoding"),
    ],
)
def test_a_message_with_a_wrong_flag(flag: int, text: str) -> None:
    talk = Talk()
    assert talk.say(talk.headers() + talk.data(packed(b"x", flag), ended=True)) == []
    answer = talk.answered_with()
    assert (answer["grpc-status"], answer["grpc-message"]) == ("13", text)


@pytest.mark.parametrize("by", ["data", "trailers"])
@pytest.mark.parametrize("size", [1, 4, 5, 9])
def test_a_client_that_ends_in_the_middle_of_a_message(by: str, size: int) -> None:
    talk = Talk()
    number = talk.opened()
    half = packed(b"hello")[:size]
    if by == "data":
        events = talk.say(talk.data(half, ended=True))
    else:
        trailers = frame(HEADERS, END_HEADERS | END_STREAM, number, talk.block([("x", "y")]))
        events = talk.say(talk.data(half) + trailers)
    assert events == [Cancelled(number, "unexpected EOF")]
    answer = talk.answered_with(number)
    assert (answer["grpc-status"], answer["grpc-message"]) == ("13", "unexpected EOF")


def zipped(data: bytes) -> Talk:
    talk = Talk()
    assert talk.say(talk.headers(("grpc-encoding", "gzip")) + talk.data(packed(data, 1), ended=True)) == []
    return talk


def test_a_gzip_bomb() -> None:
    talk = zipped(gzip.compress(bytes(2 * MIB + 1)))
    assert talk.answered_with()["grpc-status"] == "8"


def test_a_gzip_stream_of_too_many_members() -> None:
    talk = Talk()
    member = gzip.compress(b"x", mtime=0)
    (event,) = talk.say(talk.headers(("grpc-encoding", "gzip")) + talk.data(packed(member * 16, 1), ended=True))
    assert getattr(event, "message", None) == b"x" * 16
    talk = zipped(member * 17)
    assert talk.answered_with()["grpc-status"] == "13"


@pytest.mark.parametrize(
    "data", [b"", b"none", gzip.compress(b"whole", mtime=0)[:-1], gzip.compress(b"whole", mtime=0)[:12]]
)
def test_what_is_no_gzip(data: bytes) -> None:
    answer = zipped(data).answered_with()
    assert answer["grpc-status"] == "13"
    assert answer["grpc-message"].startswith("grpc: failed to decompress the received message: ")


# What the application does not read


def test_who_is_not_read_is_stopped_and_goes_on_when_read() -> None:
    talk = Talk()
    number = talk.opened()
    message = bytes(10_000)
    for _ in range(6):
        talk.say(talk.data(packed(message)))
    updates = [f for f in talk.heard() if f.stream == number]
    assert updates == []
    for _ in range(6):
        talk.http.read(number)
    granted = sum(int.from_bytes(f.payload) for f in talk.heard() if f.stream == number)
    assert granted >= 32_768
    assert talk.http._credit.held == 0


def test_one_byte_above_the_streams_window_resets_the_stream() -> None:
    talk = Talk()
    number = talk.opened()
    message = packed(bytes(16_379))
    for _ in range(3):
        talk.say(talk.data(message))
    talk.say(talk.data(message[:16_383]))
    talk.heard()
    talk.say(talk.data(b"x"))
    assert talk.reset_with(number) == ErrorCode.FLOW_CONTROL_ERROR
    assert talk.http._credit.held == 0


def test_one_byte_above_the_connections_window_ends_the_connection() -> None:
    talk = Talk(Limits(connection_window_bytes=65_535))
    numbers = [talk.opened() for _ in range(6)]
    talk.http._credit._full = 0  # Nothing is given back any more.
    for number in numbers[:4]:
        talk.say(talk.data(packed(bytes(16_379))[: 16_384 - (number == numbers[3])], number))
    assert not talk.http.closed
    talk.say(talk.data(b"x", numbers[4]))
    assert talk.closed_with() == ErrorCode.FLOW_CONTROL_ERROR


def test_the_connections_window_is_given_back_whether_or_not_streams_are_read() -> None:
    talk = Talk()
    for _ in range(200):
        talk.opened()
        for _ in range(3):
            talk.say(talk.data(packed(bytes(16_000))))
    assert not talk.http.closed
    given = sum(int.from_bytes(f.payload) for f in talk.heard() if f.stream == 0)
    assert given >= 200 * 3 * 16_005 - 4 * MIB


def test_a_stream_that_would_hold_more_than_all_may_is_refused() -> None:
    limits = Limits(max_message_bytes=64 * KIB, max_received_bytes=300_000)
    talk = Talk(limits)
    numbers = [talk.opened() for _ in range(19)]
    for number in numbers:
        talk.say(talk.data(packed(bytes(60_000))[:16_000], number))
    assert talk.http._credit.held > 300_000 - 16_000
    assert [e for e in talk.events if isinstance(e, Cancelled)] == [
        Cancelled(numbers[-1], "the messages under way on this connection take more than 300000 bytes")
    ]
    assert talk.answered_with(numbers[-1])["grpc-status"] == "8"


def test_a_large_message_is_granted_its_rest_at_once_and_others_wait_for_their_turn() -> None:
    limits = Limits(max_message_bytes=MIB, max_received_bytes=2 * (MIB + 65_535))
    talk = Talk(limits)
    first, second = talk.opened(), talk.opened()
    message = packed(bytes(MIB))
    talk.say(talk.data(message[:16_384], first) + talk.data(message[:16_384], second))
    (grant,) = [f for f in talk.heard() if f.stream]
    assert (grant.stream, int.from_bytes(grant.payload)) == (first, len(message) - 65_535)
    for start in range(16_384, len(message), 16_384):
        talk.say(talk.data(message[start : start + 16_384], first))
    assert talk.events[-1] == Received(first, bytes(MIB))
    (grant,) = [f for f in talk.heard() if f.stream]
    assert (grant.stream, int.from_bytes(grant.payload)) == (second, len(message) - 65_535)


def test_a_message_is_granted_nothing_while_the_one_before_it_is_not_read() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(talk.data(packed(b"one") + packed(bytes(MIB))[:1000]))
    assert [f for f in talk.heard() if f.stream] == []
    talk.http.read(number)
    assert [f.stream for f in talk.heard()] == [number]


# The reader


def stuck(talk: Talk, size: int = MIB) -> int:
    """A call whose answer waits for the client."""
    talk.say(talk.call(b"watch"))
    talk.http.send(talk.number, bytes(size))
    talk.heard()
    assert talk.http.unsent(talk.number) == size + 5 - 65_535
    return talk.number


def test_a_watcher_that_never_reads_is_cut_off_and_others_are_not() -> None:
    talk = Talk()
    talk.say(talk.window(0, 1 << 30))
    number = stuck(talk)
    for _ in range(30):
        assert talk.after(SECOND - 1) == []
        talk.goes_on()
    assert talk.after(2 * SECOND) == [Cancelled(number, "the client reads nothing")]
    assert talk.reset_with(number) == CALM
    assert talk.http._sender.unsent == 0


def test_a_watcher_that_reads_slowly_is_not_cut_off() -> None:
    talk = Talk()
    talk.say(talk.window(0, 1 << 30))
    number = stuck(talk)
    for _ in range(20):
        lives_through(talk, STALL - SECOND)
        talk.say(talk.window(number, 1000))
        assert sum(len(f.payload) for f in talk.heard() if f.kind == DATA) == 1000
    assert talk.http.streams == 1


def test_a_client_that_opens_no_window_of_the_connection_loses_its_streams() -> None:
    talk = Talk()
    talk.say(settings((0x4, 1 << 30)))
    numbers = []
    for _ in range(3):
        talk.say(talk.call(b"watch"))
        numbers.append(talk.number)
        talk.http.send(talk.number, bytes(MIB))
        talk.heard()
    lives_through(talk, STALL - 1)
    assert sorted(event.stream for event in talk.after(2 * SECOND)) == numbers


def test_one_message_may_wait_whatever_its_size_and_the_next_is_one_too_many() -> None:
    talk = Talk(Limits(max_unsent_stream_bytes=MIB))
    number = stuck(talk, 2 * MIB)
    assert talk.http.streams == 1
    talk.http.send(number, b"x")
    assert talk.http.deadline == 0
    assert [type(event) for event in talk.after(0)] == [Cancelled]
    talk.say(talk.window(0, MIB))
    assert talk.reset_with(number) == CALM
    assert talk.http._sender.unsent == 0


def test_the_limit_of_a_stream_is_met_to_the_byte() -> None:
    talk = Talk(Limits(max_unsent_stream_bytes=MIB))
    number = stuck(talk, 65_535)
    waiting = talk.http.unsent(number)
    talk.http.send(number, bytes(MIB - waiting - 5))
    assert talk.http.unsent(number) == MIB
    talk.http.send(number, b"")
    assert talk.http.unsent(number) == 0
    assert not talk.http.streams


def test_all_streams_together_have_a_limit_that_ends_the_connection() -> None:
    talk = Talk(Limits(max_unsent_bytes=MIB))
    numbers = []
    for _ in range(4):
        talk.say(talk.call(b"watch"))
        numbers.append(talk.number)
    talk.heard()
    for number in numbers[:3]:
        talk.http.send(number, bytes(300_000))
    assert talk.http.streams == 4
    talk.http.send(numbers[3], bytes(300_000))
    assert talk.http.deadline == 0
    assert [event.stream for event in talk.after(0)] == numbers
    assert talk.closed_with() == CALM


def test_the_application_hears_when_a_stream_has_drained() -> None:
    talk = Talk()
    talk.say(talk.window(0, 1 << 30))
    number = stuck(talk)
    waits = talk.http.unsent(number)
    talk.say(talk.window(number, waits - 64 * KIB - 1))
    talk.heard()
    assert talk.http.deadline != 0
    talk.say(talk.window(number, 1))
    talk.heard()
    assert talk.http.deadline == 0
    assert talk.after(0) == [Drained(number)]
    talk.say(talk.window(number, 64 * KIB))
    talk.heard()
    assert talk.http.unsent(number) == 0
    assert talk.after(0) == []


# The connection


def test_a_silent_client_is_asked_whether_it_is_there_and_closed_if_it_is_not() -> None:
    talk = Talk()
    lives_through(talk, 7200 * SECOND - 1)
    assert talk.heard() == []
    talk.after(1)
    (ping,) = talk.heard()
    assert (ping.kind, ping.flags) == (PING, 0)
    lives_through(talk, 20 * SECOND - 1)
    talk.after(1)
    assert talk.closed_with() == ErrorCode.NO_ERROR


def test_a_silent_client_that_is_there_is_asked_again_later() -> None:
    talk = Talk()
    for _ in range(3):
        talk.after(7200 * SECOND)
        (ping,) = talk.heard()
        talk.say(frame(PING, ACK, 0, ping.payload))
        lives_through(talk, 7200 * SECOND - 1)


def test_draining_serves_what_was_sent_before_the_client_heard_of_it_and_nothing_more() -> None:
    talk = Talk()
    first = talk.opened()
    talk.http.drain(talk.now)
    goaway, ping = talk.heard()
    assert int.from_bytes(goaway.payload[:4]) == 2**31 - 1
    second = talk.opened()
    talk.say(frame(PING, ACK, 0, ping.payload))
    (goaway,) = talk.heard()
    assert int.from_bytes(goaway.payload[:4]) == second
    assert talk.say(talk.call()) == []
    talk.http.finish(first)
    talk.heard()
    assert not talk.http.closed
    talk.http.finish(second)
    assert talk.heard()[-1].stream == second
    assert (talk.http.closed, talk.http.reason) == (True, "drained")


def test_draining_an_idle_connection_closes_it() -> None:
    talk = Talk()
    talk.http.drain(talk.now)
    ping = talk.heard()[-1]
    talk.say(frame(PING, ACK, 0, ping.payload))
    assert talk.http.closed


def test_settings_may_be_acknowledged_late_by_a_client_that_speaks() -> None:
    talk = Talk(greeted=False)
    talk.say(PREFACE + settings())
    talk.after(9 * SECOND)
    talk.say(frame(SETTINGS, ACK, 0))
    lives_through(talk, 60 * SECOND)
