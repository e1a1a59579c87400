"""What costs the client little and the server much: so much is taken, and one more ends the connection."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.http2.talk import FIELDS, SECOND, Talk, packed, settings

from coterie.http2 import Cancelled, ErrorCode, Limits
from coterie.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    frame,
    reset,
    window_update,
)
from coterie.http2.patience import RESET_COST, SETTINGS_COST

CALM = ErrorCode.ENHANCE_YOUR_CALM
BURST = 500
LEFT = BURST - SETTINGS_COST
"""After the client's first SETTINGS."""
LIMITS = Limits(patience_burst=BURST, patience_per_second=10)

Flood = Callable[[Talk], bytes]


def opened_and_reset(talk: Talk) -> bytes:
    return talk.headers() + talk.reset(talk.number)


def called_and_reset(talk: Talk) -> bytes:
    return talk.call() + talk.reset(talk.number)


def made_to_reset(talk: Talk) -> bytes:
    return talk.call() + window_update(talk.number, 0)


def made_to_break_off(talk: Talk) -> bytes:
    return talk.headers() + talk.data(packed(b"", 9))


def malformed(talk: Talk) -> bytes:
    return talk.headers(("connection", "close"))


FLOODS: list[tuple[str, Flood, int]] = [
    ("pings", lambda talk: frame(PING, 0, 0, bytes(8)), 1),
    ("acknowledgements of pings", lambda talk: frame(PING, ACK, 0, bytes(8)), 1),
    ("settings", lambda talk: settings(), SETTINGS_COST),
    ("acknowledgements of settings", lambda talk: frame(SETTINGS, ACK, 0), 1),
    ("priorities", lambda talk: frame(PRIORITY, 0, 3, bytes(4) + b"\x10"), 1),
    ("window updates", lambda talk: window_update(0, 1), 1),
    ("window updates of a stream", lambda talk: window_update(1, 1), 1),
    ("empty data", lambda talk: frame(DATA, 0, 1, b""), 1),
    ("data that are nothing but padding", lambda talk: frame(DATA, 8, 1, b"\x04" + bytes(4)), 1),
    ("unknown frames", lambda talk: frame(0x42, 0, 0, b""), 1),
    ("goaways", lambda talk: talk.goaway(), 1),
    ("resets of a closed stream", lambda talk: reset(3, ErrorCode.CANCEL), 1),
    ("streams opened and reset (CVE-2023-44487)", opened_and_reset, RESET_COST),
    ("calls made and reset", called_and_reset, RESET_COST),
    ("calls that we are made to reset (CVE-2025-8671)", made_to_reset, RESET_COST + 1),
    ("calls that we are made to break off", made_to_break_off, RESET_COST),
    ("malformed requests", malformed, RESET_COST),
    ("data on a stream that we have ended", lambda talk: frame(DATA, 0, 5, b"x"), 1),
    ("headers on a stream that we have ended", lambda talk: frame(HEADERS, END_HEADERS, 5, b"\x83"), 1),
]


@pytest.mark.parametrize(("flood", "cost"), [pytest.param(flood, cost, id=name) for name, flood, cost in FLOODS])
def test_a_flood_ends_the_connection_at_its_limit_and_not_before(flood: Flood, cost: int) -> None:
    talk = Talk(LIMITS)
    talk.opened()  # Stream 1 is open,
    talk.say(talk.headers() + talk.reset(talk.number))  # 3 is closed,
    talk.say(talk.headers(("connection", "close")))  # and 5 is, too, while the client may not know yet.
    for _ in range((LEFT - 2 * RESET_COST) // cost):
        talk.say(flood(talk))
        assert not talk.http.closed
        talk.heard()
    talk.say(flood(talk))
    assert talk.closed_with() == CALM
    assert talk.http.reason.startswith("too many ")


def test_all_floods_in_one_read_end_at_the_same_limit() -> None:
    talk = Talk(LIMITS)
    assert talk.say(frame(PING, 0, 0, bytes(8)) * (LEFT + 1)) == []
    assert len(talk.http._sender.out) <= LEFT + 2
    assert talk.closed_with() == CALM


def test_patience_grows_with_time() -> None:
    talk = Talk(LIMITS)
    talk.say(frame(PING, 0, 0, bytes(8)) * LEFT)
    assert not talk.http.closed
    talk.now += SECOND
    talk.say(frame(PING, 0, 0, bytes(8)) * 10)
    assert not talk.http.closed
    talk.say(frame(PING, 0, 0, bytes(8)))
    assert talk.closed_with() == CALM


def test_patience_never_grows_above_its_limit() -> None:
    talk = Talk(LIMITS)
    talk.now += 3600 * SECOND
    talk.say(frame(PING, 0, 0, bytes(8)) * BURST)
    assert not talk.http.closed
    talk.say(frame(PING, 0, 0, bytes(8)))
    assert talk.closed_with() == CALM


def test_a_client_that_is_served_may_go_on_for_ever() -> None:
    talk = Talk(LIMITS)
    for n in range(10 * BURST):
        talk.say(talk.call())
        talk.http.respond(talk.number, b"")
        talk.say(frame(PING, 0, 0, bytes(8)) + window_update(0, 14))
        if n % 4 == 0:
            talk.say(talk.headers() + talk.reset(talk.number))
        talk.http.take_output()
        assert not talk.http.closed, n


def test_a_reset_of_a_call_that_has_grown_old_costs_no_more_than_its_frame() -> None:
    talk = Talk(LIMITS)
    numbers = [talk.opened() for _ in range(LEFT)]
    talk.now += SECOND
    events = talk.say(b"".join(talk.reset(number) for number in numbers))
    assert events == [Cancelled(number, "the client reset the stream") for number in numbers]
    assert not talk.http.closed


def test_in_an_outage_all_calls_of_a_client_may_run_out_of_time() -> None:
    talk = Talk(LIMITS)
    numbers = []
    for _ in range(LEFT):
        talk.say(talk.call(b"", ("grpc-timeout", "100m")))
        numbers.append(talk.number)
    talk.now += SECOND * 9 // 100
    talk.say(b"".join(talk.reset(number) for number in numbers[: LEFT // 2]))
    talk.after(SECOND // 10)
    assert not talk.http.closed
    assert len([event for event in talk.events if isinstance(event, Cancelled)]) == LEFT


def test_calls_whose_timeout_leaves_no_time_for_an_answer_are_calls_opened_and_reset() -> None:
    talk = Talk(LIMITS)
    for _ in range(LEFT // RESET_COST):
        talk.say(talk.call(b"", ("grpc-timeout", "1n")))
        talk.after(1)
        assert not talk.http.closed
    talk.say(talk.call(b"", ("grpc-timeout", "1n")))
    talk.after(1)
    assert talk.closed_with() == CALM


# Header blocks


def test_a_flood_of_continuations() -> None:
    talk = Talk()
    block = talk.block()
    talk.say(frame(HEADERS, END_STREAM, 1, block[:1]))
    for n in range(16):
        talk.say(frame(CONTINUATION, 0, 1, block[n + 1 : n + 2]))
    assert not talk.http.closed
    talk.say(frame(CONTINUATION, 0, 1, b""))
    assert talk.closed_with() == CALM


def test_a_header_block_that_has_no_end() -> None:
    talk = Talk(Limits(max_continuations=1000))
    talk.say(frame(HEADERS, END_STREAM, 1, b""))
    for _ in range(16):
        talk.say(frame(CONTINUATION, 0, 1, bytes(16_384)))
    assert not talk.http.closed
    talk.say(frame(CONTINUATION, 0, 1, b"x"))
    assert talk.closed_with() == CALM


def test_a_header_list_one_byte_too_large_is_refused_and_the_table_stays_right() -> None:
    talk = Talk(Limits(max_header_list_bytes=1000))
    size = 1000 - sum(len(n) + len(v) + 32 for n, v in [*FIELDS, ("x-large", "")])
    (event,) = talk.say(talk.call(b"", ("x-large", "x" * size)))
    assert talk.say(talk.call(b"", ("x-large", "x" * (size + 1)))) == []
    answer = talk.answered_with()
    assert (answer["grpc-status"], answer["grpc-message"]) == ("8", "received metadata larger than max (1001 vs. 1000)")
    assert event.stream == 1


def test_an_hpack_bomb_ends_the_connection_while_it_is_small() -> None:
    talk = Talk()
    bomb = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 16_000
    data = frame(HEADERS, END_STREAM, 1, bomb[:16_384]) + frame(CONTINUATION, END_HEADERS, 1, bomb[16_384:])
    assert talk.say(data) == []
    assert talk.closed_with() == CALM
    assert talk.http.reason == f"header fields of more than {4 * 64 * 1024} bytes"


def test_what_is_kept_of_header_blocks_is_bounded() -> None:
    talk = Talk()
    for n in range(1000):
        block = b"\x83\x86\x04\x0a/test/Echo\x0f\x10\x10application/grpc\x00\x01x\x04%04d" % n
        talk.number += 2
        talk.say(frame(HEADERS, END_HEADERS | END_STREAM, talk.number, block))
        talk.http.respond(talk.number, b"")
        talk.http.take_output()
    receiver = talk.http._receiver
    assert len(receiver._known) <= 64
    assert len(receiver._heads._known) <= 64


def test_what_is_kept_of_closed_streams_is_bounded() -> None:
    talk = Talk(Limits(patience_burst=1 << 40))
    for _ in range(3000):
        talk.number += 2  # Left out
        talk.say(talk.headers())
        talk.http.finish(talk.number, 5)
        talk.http.take_output()
    assert len(talk.http._streams._left) <= 1024
    assert len(talk.http._streams._gaps) <= 64
