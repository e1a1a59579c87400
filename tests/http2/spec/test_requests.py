"""h2spec's cases of RFC 9113 (7540), section 8: malformed requests reset their stream; and requests that are none of
gRPC's, which are answered."""

from __future__ import annotations

import pytest
from tests.http2.talk import FIELDS, Talk, called, packed

from coterie.http2 import ErrorCode
from coterie.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame

WHOLE = END_HEADERS | END_STREAM
EXTRA = ("x-test", "ok")


def without(name: str) -> list[tuple[str, str]]:
    return [field for field in FIELDS if field[0] != name]


def with_value(name: str, value: str) -> list[tuple[str, str]]:
    return [(key, value if key == name else old) for key, old in FIELDS]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([*FIELDS, ("X-TEST", "ok")], id="8.1.2 capital letters"),
        pytest.param([*FIELDS, ("", "ok")], id="8.2.1 no name"),
        pytest.param([*FIELDS, ("x test", "ok")], id="8.2.1 a space in a name"),
        pytest.param([*FIELDS, ("x\x7f", "ok")], id="8.2.1 DEL in a name"),
        pytest.param([*FIELDS, ("x-test", "a\r\nb")], id="8.2.1 a line's end in a value"),
        pytest.param([*FIELDS, ("x-test", "a\x00b")], id="8.2.1 NUL in a value"),
        pytest.param([*FIELDS, ("x-test", " ok")], id="8.2.1 a value that begins with a space"),
        pytest.param([*FIELDS, ("x-test", "ok\t")], id="8.2.1 a value that ends with a tab"),
        pytest.param([(":test", "ok"), *FIELDS], id="8.1.2.1 an unknown pseudo-header field"),
        pytest.param([(":status", "200"), *FIELDS], id="8.1.2.1 a response's pseudo-header field"),
        pytest.param([EXTRA, *FIELDS], id="8.1.2.1 a pseudo-header field after another"),
        pytest.param([*FIELDS, ("connection", "keep-alive")], id="8.1.2.2 connection"),
        pytest.param([*FIELDS, ("keep-alive", "1")], id="8.1.2.2 keep-alive"),
        pytest.param([*FIELDS, ("proxy-connection", "1")], id="8.1.2.2 proxy-connection"),
        pytest.param([*FIELDS, ("transfer-encoding", "chunked")], id="8.1.2.2 transfer-encoding"),
        pytest.param([*FIELDS, ("upgrade", "h2c")], id="8.1.2.2 upgrade"),
        pytest.param([*without("te"), ("te", "trailers, deflate")], id="8.1.2.2 te"),
        pytest.param(with_value(":path", ""), id="8.1.2.3 an empty path"),
        pytest.param(without(":method"), id="8.1.2.3 no method"),
        pytest.param(without(":scheme"), id="8.1.2.3 no scheme"),
        pytest.param(without(":path"), id="8.1.2.3 no path"),
        pytest.param([(":method", "POST"), *FIELDS], id="8.1.2.3 two methods"),
        pytest.param([(":scheme", "http"), *FIELDS], id="8.1.2.3 two schemes"),
        pytest.param([(":path", "/"), *FIELDS], id="8.1.2.3 two paths"),
        pytest.param([(":authority", "x"), *FIELDS], id="8.1.2.3 two authorities"),
        pytest.param([*FIELDS, ("content-length", "x")], id="8.1.2.6 a length that is no number"),
        pytest.param([*FIELDS, ("content-length", "-1")], id="8.1.2.6 a length below 0"),
        pytest.param([*FIELDS, ("content-length", "1"), ("content-length", "2")], id="8.1.2.6 two lengths"),
        pytest.param([*FIELDS, ("content-length", "1")], id="8.1.2.6 a length where there is nothing"),
    ],
)
def test_malformed_fields(fields: list[tuple[str, str]]) -> None:
    talk = Talk()
    talk.number = 1
    assert talk.say(frame(HEADERS, WHOLE, 1, talk.block(fields))) == []
    assert talk.reset_with(1) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("said", ["1", "8", "10", "100"])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_8_1_2_6_a_length_that_is_not_that_of_the_data(said: str, frames: int) -> None:
    for known in (False, True):
        talk = Talk()
        if known:  # The short way, too
            talk.say(talk.headers(("content-length", said)))
            talk.say(talk.reset(1))
        data = packed(b"test")
        talk.say(talk.headers(("content-length", said)))
        cut = len(data) // frames
        talk.say(b"".join(frame(DATA, 0, talk.number, data[n * cut : (n + 1) * cut]) for n in range(frames - 1)))
        if not talk.http.streams:
            assert said == "1"
        else:
            talk.say(frame(DATA, END_STREAM, talk.number, data[(frames - 1) * cut :]))
        assert talk.reset_with() == ErrorCode.PROTOCOL_ERROR


def test_8_1_2_6_a_length_that_is_true() -> None:
    talk = Talk()
    for _ in range(3):
        (event,) = talk.say(talk.call(b"test", ("content-length", "9")))
        assert called(event).message == b"test"


def test_8_1_2_1_a_pseudo_header_field_in_trailers() -> None:
    talk = Talk()
    number = talk.opened()
    talk.say(frame(HEADERS, WHOLE, number, talk.block([(":method", "POST")])))
    assert talk.reset_with(number) == ErrorCode.PROTOCOL_ERROR


def test_te_may_be_left_out() -> None:
    talk = Talk()
    (event,) = talk.say(frame(HEADERS, WHOLE, 1, talk.block(without("te"))))
    assert called(event).path == "/test/Echo"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "application/grpcx", "application/grp"])
def test_another_content_type_is_answered_with_415(kind: str) -> None:
    talk = Talk()
    fields = with_value("content-type", kind) if kind else without("content-type")
    talk.number = 1
    assert talk.say(frame(HEADERS, END_HEADERS, 1, talk.block(fields)) + frame(DATA, END_STREAM, 1, b"{}")) == []
    answer = talk.answered_with(1)
    assert (answer[":status"], answer["grpc-status"]) == ("415", "3")
    assert answer["grpc-message"] == f'invalid gRPC request content-type "{kind}"'


@pytest.mark.parametrize("kind", ["application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+json"])
def test_content_types_that_begin_as_grpcs_are_taken(kind: str) -> None:
    talk = Talk()
    (event,) = talk.say(frame(HEADERS, WHOLE, 1, talk.block(with_value("content-type", kind))))
    assert (b"content-type", kind.encode()) in called(event).metadata


@pytest.mark.parametrize("timeout", ["1", "S", "-1S", "123456789S", "1s", "1.5S"])
@pytest.mark.parametrize("last", [True, False])
def test_a_timeout_that_is_none(timeout: str, last: bool) -> None:
    talk = Talk()
    extra = [("grpc-timeout", timeout)] + ([] if last else [EXTRA])
    assert talk.say(talk.call(b"", *extra)) == []
    answer = talk.answered_with()
    assert (answer[":status"], answer["grpc-status"]) == ("400", "13")
    text = f'malformed grpc-timeout: transport: timeout string "{timeout}" is not recognized'
    assert answer["grpc-message"] == text


def test_an_encoding_that_is_not_spoken() -> None:
    talk = Talk()
    assert talk.say(talk.call(b"", ("grpc-encoding", "snappy"))) == []
    answer = talk.answered_with()
    assert (answer["grpc-status"], answer["grpc-accept-encoding"]) == ("12", "identity,gzip")
    assert answer["grpc-message"] == 'grpc: Decompressor is not installed for grpc-encoding "snappy"'


def test_a_path_of_any_bytes_is_handed_on() -> None:
    talk = Talk()
    fields = [(b":path", b"\xff\x80"), *((n.encode(), v.encode()) for n, v in without(":path"))]
    (event,) = talk.say(frame(HEADERS, WHOLE, 1, talk.encoder.encode(fields)))
    assert called(event).path == "\ufffd\ufffd"
