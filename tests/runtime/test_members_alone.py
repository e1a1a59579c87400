"""What a client says may not be said in another's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients.servers import coterie_server
from tests.runtime.cluster import Caller

from coterie.engine.protocol import Answer, Failure, FailureCode, Query, ReadMode, Submit
from coterie.machine.kv.auth.protocol import Authorised, AuthorisedQuestion, IssueToken, TouchToken, for_members_alone
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import Put, Range, encoder

PUT = encoder.encode(Put(b"k", b"v"))


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    scratch: Path = tmp_path_factory.mktemp("alone")
    with coterie_server(scratch, 1) as server:
        caller = Caller(server.endpoint)
        yield caller
        caller.socket.close()


@pytest.mark.parametrize(
    "command",
    [Authorised("root", 9, PUT), IssueToken("root", "mine", 1), TouchToken("mine")],
    ids=["authorised", "issue", "touch"],
)
def test_a_command_in_another_ones_name_is_refused_at_the_clients_port(caller: Caller, command: object) -> None:
    answer = caller.answer(Submit(1, 0, 0, 0, encoder.encode(command)))
    assert isinstance(answer, Failure)
    assert (answer.code, "only members" in answer.message) == (FailureCode.INVALID, True)


def test_a_question_in_another_ones_name_is_refused_and_the_connection_goes_on(caller: Caller) -> None:
    question = encoder.encode(AuthorisedQuestion("root", 9, encoder.encode(Range(b"k"))))
    answer = caller.answer(Query(2, ReadMode.LINEARIZABLE, 0, question))
    assert isinstance(answer, Failure)
    assert answer.code == FailureCode.INVALID
    assert isinstance(caller.answer(Submit(3, 0, 0, 0, PUT)), Answer)


@pytest.mark.parametrize("body", [PUT, b"", b"\x90", b"\xc1", encoder.encode(Authorised("root", 1, PUT))])
@pytest.mark.parametrize("header", ["short", "long"])
def test_the_quick_look_says_what_the_decoder_says(body: bytes, header: str) -> None:
    if header == "long" and body[:1] and 0x90 < body[0] < 0xA0:
        body = bytes((0xDC, 0, body[0] & 0x0F)) + body[1:]  # the same array, its length in two bytes
    assert KeyValue().for_members_alone(body) == for_members_alone(body)
