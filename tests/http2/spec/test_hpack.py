"""h2spec's cases of HPACK (RFC 7541): a block that cannot be decoded ends the connection."""

from __future__ import annotations

import pytest
from tests.http2.talk import Talk, settings

from coterie.http2 import ErrorCode
from coterie.http2.frames import END_HEADERS, END_STREAM, HEADERS, frame

REQUEST = b"\x83\x86\x04\x0a/test/Echo" + b"\x0f\x10\x10application/grpc"


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(REQUEST + b"\xc6", id="2.3.3 an index above both tables, indexed"),
        pytest.param(REQUEST + b"\x7f\x07\x04test", id="2.3.3 an index above both tables, literal"),
        pytest.param(REQUEST + b"\x20", id="4.2 a size update at the end"),
        pytest.param(b"\x82\x20" + REQUEST, id="4.2 a size update in the middle"),
        pytest.param(b"\x3f\xe2\x1f" + REQUEST, id="6.3 a size one above SETTINGS_HEADER_TABLE_SIZE"),
        pytest.param(REQUEST + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff", id="5.2 padding above 7 bits"),
        pytest.param(REQUEST + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90", id="5.2 padding of zeros"),
        pytest.param(REQUEST + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\xff\xff\xff\xff", id="5.2 EOS in a string"),
        pytest.param(REQUEST + b"\x80", id="6.1 index 0"),
        pytest.param(REQUEST + b"\x00\x04te", id="a field that ends within its name"),
        pytest.param(REQUEST + b"\x00\x02te\x7f", id="a field that ends within a length"),
        pytest.param(REQUEST + b"\x00\x02te\x7f\xff\xff\xff\xff\xff\x0f", id="an integer of many bytes"),
        pytest.param(REQUEST + b"\xff" + b"\x80" * 100, id="an integer without an end"),
        pytest.param(REQUEST + b"\x40", id="a literal without anything"),
    ],
)
def test_a_block_that_cannot_be_decoded(block: bytes) -> None:
    talk = Talk()
    assert talk.say(frame(HEADERS, END_HEADERS | END_STREAM, 1, block)) == []
    assert talk.closed_with() == ErrorCode.COMPRESSION_ERROR


def test_4_2_a_client_that_lowers_its_table_hears_that_ours_is_gone() -> None:
    talk = Talk()
    talk.say(settings((0x1, 0)))
    talk.heard()
    talk.decoder.max_allowed_table_size = 0
    talk.say(talk.call())
    talk.http.respond(1, b"")
    assert talk.answered_with(1)["grpc-status"] == "0"
    assert talk.decoder.header_table_size == 0


def test_what_a_refused_call_put_into_the_table_is_known_to_the_next() -> None:
    talk = Talk()
    talk.say(talk.headers(("token", "kept"), path="/test/Echo"))
    talk.say(talk.reset(1))
    talk.say(talk.call(b"", ("token", "kept")))
    assert talk.events[-1] != talk.events[0]
    talk.http.respond(3, b"")
    assert talk.answered_with(3)["grpc-status"] == "0"
