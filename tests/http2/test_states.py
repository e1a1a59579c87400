"""A stream that the client resets, in every state that it can be in: nothing is left of it, and others are unharmed."""

from __future__ import annotations

import pytest
from tests.http2.talk import Talk, packed

from coterie.http2 import Cancelled
from coterie.http2.frames import END_HEADERS, END_STREAM, HEADERS, RST_STREAM

GONE = "the client reset the stream"


def opened(talk: Talk) -> None:
    talk.say(talk.headers())


def half_a_prefix(talk: Talk) -> None:
    talk.say(talk.headers() + talk.data(packed(b"hello")[:3]))


def half_a_message(talk: Talk) -> None:
    talk.say(talk.headers() + talk.data(packed(bytes(1000))[:500]))


def half_a_large_message_that_was_granted(talk: Talk) -> None:
    talk.say(talk.headers() + talk.data(packed(bytes(1 << 20))[:10_000]))


def messages_that_are_not_read(talk: Talk) -> None:
    talk.say(talk.headers() + talk.data(packed(bytes(1000)) * 10))


def half_closed(talk: Talk) -> None:
    talk.say(talk.call(b"hello"))


def with_a_deadline(talk: Talk) -> None:
    talk.say(talk.call(b"hello", ("grpc-timeout", "1S")))


def answered_in_part(talk: Talk) -> None:
    talk.say(talk.headers())
    talk.http.send(talk.number, b"first")


def answer_that_waits_for_the_streams_window(talk: Talk) -> None:
    talk.say(talk.call() + talk.window(0, 1 << 20))
    talk.http.send(talk.number, bytes(100_000))
    talk.http.take_output()


def answer_that_waits_for_the_connections_window(talk: Talk) -> None:
    talk.say(talk.call() + talk.window(talk.number, 1 << 20))
    talk.http.send(talk.number, bytes(100_000))
    talk.http.take_output()


def answer_that_waits_for_nothing(talk: Talk) -> None:
    talk.say(talk.call())
    talk.http.send(talk.number, bytes(60_000))


TOLD = [
    opened,
    half_a_prefix,
    half_a_message,
    half_a_large_message_that_was_granted,
    messages_that_are_not_read,
    half_closed,
    with_a_deadline,
    answered_in_part,
    answer_that_waits_for_the_streams_window,
    answer_that_waits_for_the_connections_window,
    answer_that_waits_for_nothing,
]


def nothing_is_left(talk: Talk) -> None:
    http = talk.http
    assert not http.closed, http.reason
    assert http.streams == 0
    assert http._credit.held == http._credit._grants == http._sender.unsent == 0
    assert not http._sender.able
    assert not http._sender.stuck
    assert not http._streams.slow
    assert http._streams.timeouts.first() is None
    talk.say(talk.window(0, 1 << 20))
    talk.heard()
    talk.goes_on()


@pytest.mark.parametrize("state", TOLD)
def test_reset(state: object) -> None:
    assert callable(state)
    talk = Talk()
    state(talk)
    assert talk.say(talk.reset(talk.number)) == [Cancelled(talk.number, GONE)]
    nothing_is_left(talk)


@pytest.mark.parametrize("state", TOLD)
def test_reset_by_what_the_client_did_wrong(state: object) -> None:
    assert callable(state)
    talk = Talk()
    state(talk)
    (event,) = talk.say(talk.window(talk.number, 0))
    assert event == Cancelled(talk.number, "a WINDOW_UPDATE by nothing")
    (reset,) = [f for f in talk.heard() if f.kind == RST_STREAM]
    assert reset.stream == talk.number
    nothing_is_left(talk)


@pytest.mark.parametrize("message", [False, True])
def test_reset_in_the_read_that_opened_it(message: bool) -> None:
    talk = Talk()
    data = talk.headers() + (talk.data(packed(b"half")[:7]) if message else b"")
    assert talk.say(data + talk.reset(talk.number)) == []
    nothing_is_left(talk)


def test_reset_when_the_status_waits() -> None:
    talk = Talk()
    answer_that_waits_for_the_streams_window(talk)
    talk.http.finish(talk.number)
    assert talk.say(talk.reset(talk.number)) == []
    assert not [f for f in talk.heard() if f.kind == HEADERS and f.flags == END_HEADERS | END_STREAM]
    nothing_is_left(talk)


def test_reset_when_it_is_over() -> None:
    talk = Talk()
    half_closed(talk)
    talk.http.respond(talk.number, b"")
    assert talk.say(talk.reset(talk.number)) == []
    nothing_is_left(talk)
